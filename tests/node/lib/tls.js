// A certificate authority that lives as long as one test, and a leaf for loopback: openssl makes them.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Makes `ca.pem` in `folder`, valid for `days`, and returns what a TLS fake needs: {key, cert, caFile}. */
export function testAuthority(folder, name = 'upstream', days = 2) {
  const at = (file) => path.join(folder, `${name}-${file}`);
  const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-days', String(days), '-subj', `/CN=${name} test authority`, '-keyout', at('ca.key'), '-out', at('ca.pem'));
  openssl('req', ...key, '-subj', '/CN=localhost', '-keyout', at('leaf.key'), '-out', at('leaf.csr'));
  writeFileSync(at('ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:false\n');
  openssl('x509', '-req', '-in', at('leaf.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', String(days), '-extfile', at('ext'), '-out', at('leaf.pem'));
  return { key: readFileSync(at('leaf.key')), cert: readFileSync(at('leaf.pem')), caFile: at('ca.pem') };
}
