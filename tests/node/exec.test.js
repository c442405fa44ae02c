// Credentials from a command: its output is the secret, it runs without a shell, and nothing that it does
// (hang, invalid output, messages on stderr, a megabyte) stops a code or appears in a log.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

import { SERVICES } from './fakes/index.js';
import { cli, folder } from './lib/sidecar.js';
import { delivered, eventually, sendAs, stage } from './lib/stage.js';
import { reportedEverywhere } from './lib/trouble.js';

const ENTRY = SERVICES.playmobile[1];
const printing = (fields) => `cat <<'END'\n${JSON.stringify(fields)}\nEND\n`;

/** Replaces the script, as a deployment does. */
function script(file, body, mode = 0o700) {
  writeFileSync(`${file}.new`, `#!/bin/sh\n${body}`, { mode });
  chmodSync(`${file}.new`, mode);
  renameSync(`${file}.new`, file);
}

/** A sidecar whose vault is a command that runs `body`. */
async function house(t, { service = 'playmobile', body = printing(SERVICES[service][1]), args = ['{path}'], credential = {} } = {}) {
  const at = folder(t);
  const command = path.join(at, 'secret');
  if (body) script(command, body.replaceAll('{at}', at));
  const vault = { local: { exec: { command: [command, ...args.map((arg) => arg.replaceAll('{at}', at))], timeout: '2s' } } };
  const made = await stage(t, { services: [service], vault, route: { duplicate_window: '0s' }, providers: { [service]: { credential: { vault: 'local', path: service, ...credential } } } });
  const sends = async () => delivered(await sendAs(made.proxy, service), service);
  return { ...made, at, command, sends };
}

describe('a command as the vault', { concurrency: 4 }, () => {
  it('its JSON is the credential; a changed one is read after a 401 and heals the request', async (t) => {
    const { command, fakes: { playmobile }, proxy, sends } = await house(t);
    await sends();
    playmobile.rotate({ password: 'the-new-one' });
    script(command, printing({ ...ENTRY, password: 'the-new-one' }));
    await sends();
    assert.deepEqual(playmobile.received.map(({ status }) => status), [200, 401, 200]);
    assert.equal(await proxy.metric('credential_version', { provider: 'playmobile' }), 2);
    assert.doesNotMatch(proxy.output, /canary|the-new-one/);
  });

  it('no shell ever sees an argument or a path', async (t) => {
    const odd = ['a; touch {at}/made', '$(touch {at}/made)', '`touch {at}/made`', '*', 'x{path}'];
    const given = `sms/$(touch made);x`;
    const body = `[ $# = 5 ] && [ "$1" = 'a; touch {at}/made' ] && [ "$2" = '$(touch {at}/made)' ] && [ "$3" = '\`touch {at}/made\`' ] && [ "$4" = '*' ] && [ "$5" = 'x${given}' ] && [ "$SMS_SIDECAR_VAULT_PATH" = '${given}' ] || exit 7\n`;
    const { at, sends } = await house(t, { args: odd, body: body + printing(ENTRY), credential: { path: given } });
    await sends();
    assert.ok(!existsSync(path.join(at, 'made')) && !existsSync('/made'), 'an argument was run');
  });

  const TROUBLES = {
    'hangs': ['timeout', 'sleep 600\n', /did not answer within 2s; it was killed/],
    'prints no JSON': ['malformed', 'echo password=exec-canary\n', /its output is not JSON/],
    'prints a list': ['malformed', 'echo \'["exec-canary"]\'\n', /its output is JSON, but no object/],
    'fails and complains': ['failed', 'echo "curl: bad token exec-canary" >&2; exit 3\n', /ended with exit status: 3; what it wrote to stderr may hold secrets and is not shown; run it by hand/],
    'prints a megabyte': ['malformed', 'head -c 1048576 /dev/zero | tr "\\0" x\n', /its output is larger than 256 KiB/],
    'may not be executed': ['failed', printing(ENTRY), /cannot be started \(Permission denied/, 0o600],
  };
  for (const [what, [result, body, pattern, mode]] of Object.entries(TROUBLES)) {
    it(`one that ${what}: the last good values stay in use, every output reports it, and it recovers`, async (t) => {
      const { command, proxy, sends } = await house(t);
      await sends();
      script(command, body, mode);
      proxy.reload();
      await reportedEverywhere(proxy, result, pattern);
      await sends();
      script(command, printing(ENTRY));
      await proxy.waitForOutput(/can be read again/, 30_000);
    });
  }

  it('a command that hangs delays one request only: the next login uses the last good values', async (t) => {
    const { at, command, fakes: { eskiz }, sends } = await house(t, { service: 'eskiz' });
    await sends();
    script(command, `echo run >> ${at}/runs; sleep 600\n`);
    eskiz.expireTokens();
    await sends();
    assert.equal(readFileSync(path.join(at, 'runs'), 'utf8'), 'run\n');
  });

  it('a command that is missing at the start: nothing can be sent, every output reports it, and it recovers', async (t) => {
    const { command, proxy, sends } = await house(t, { body: null });
    const early = await sendAs(proxy, 'playmobile');
    assert.deepEqual([early.status, early.headers['x-sms-sidecar-cause']], [503, 'vault-unavailable']);
    await reportedEverywhere(proxy, 'failed', /cannot be started \(No such file/);
    script(command, printing(ENTRY));
    await proxy.waitForOutput(/can be read again/, 30_000);
    await sends();
  });

  it('its child processes are killed with it', async (t) => {
    const { at, command, proxy } = await house(t);
    script(command, `sleep 600 & echo $! > ${at}/pid.new; mv ${at}/pid.new ${at}/pid; wait\n`);
    proxy.reload();
    await eventually(() => existsSync(path.join(at, 'pid')));
    const pid = readFileSync(path.join(at, 'pid'), 'utf8').trim();
    // A zombie that is not reaped yet counts as dead.
    await eventually(() => { try { return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z'); } catch { return true; } }, 30_000);
  });

  it('`vault` works on embedded vaults only, and reports that', async (t) => {
    const { proxy } = await house(t);
    const { stderr } = cli('vault', 'list', '--config', proxy.file, { expectCode: null });
    assert.match(stderr, /has no embedded vault/);
  });
});
