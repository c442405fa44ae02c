// A real OpenBao server with storage on disk: started, initialised, unsealed, queried, sealed, stopped and
// started again. Nothing of it outlives the test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { freePort } from './sidecar.js';

const BAO = path.join(fileURLToPath(new URL('../../..', import.meta.url)), 'target/tools/bin/bao');

/** Starts a server in `at` and unseals it; `tls` comes from `testAuthority`, `audit` turns its audit log on. */
export async function openbao(t, at, { tls, audit } = {}) {
  assert.ok(existsSync(BAO), `${BAO} is missing: tests/setup installs it`);
  const server = new OpenBao(at, { tls, audit }, await freePort(), await freePort());
  t.after(() => server.stop());
  await server.start();
  const { keys_base64: [key], root_token: root } = await server.api('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 }, { token: null });
  Object.assign(server, { key, root });
  await server.unseal();
  return server;
}

class OpenBao {
  output = '';

  constructor(at, { tls, audit }, port, cluster) {
    this.folder = path.join(at, `openbao-${port}`);
    Object.assign(this, { tls, port, address: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`, agent: new (tls ? https : http).Agent({ keepAlive: true }) });
    mkdirSync(path.join(this.folder, 'data'), { recursive: true });
    this.config = path.join(this.folder, 'server.json');
    for (const [name, text] of Object.entries(tls ? { 'key.pem': tls.key, 'cert.pem': tls.cert } : {})) writeFileSync(path.join(this.folder, name), text, { mode: 0o600 });
    const listener = tls
      ? { address: `127.0.0.1:${port}`, tls_cert_file: path.join(this.folder, 'cert.pem'), tls_key_file: path.join(this.folder, 'key.pem') }
      : { address: `127.0.0.1:${port}`, tls_disable: true };
    writeFileSync(this.config, JSON.stringify({
      storage: { raft: { path: path.join(this.folder, 'data'), node_id: 'one' } },
      listener: { tcp: listener }, api_addr: this.address, cluster_addr: `https://127.0.0.1:${cluster}`,
      audit: audit && [{ type: 'file', path: 'audit', options: { file_path: this.#audit } }],
    }));
  }

  get #audit() { return path.join(this.folder, 'audit.log'); }

  /** Every answer to `at` so far, from the audit log: {at, status…}; secrets are hashed there. */
  audited(at) {
    const lines = readFileSync(this.#audit, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
    return lines.filter(({ type, request }) => type === 'response' && request.path === at)
      .map(({ time, error, request, response }) => ({ time: Date.parse(time), error, auth: response?.auth, data: response?.data, lease: response?.secret?.lease_id, token: request.client_token_accessor }));
  }

  async start() {
    this.child = spawn(BAO, ['server', `-config=${this.config}`], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: this.folder } });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', (text) => { this.output = (this.output + text).slice(-20_000); });
    this.exited = once(this.child, 'exit');
    await this.until(async () => (await this.ask('GET', 'sys/seal-status', undefined, { token: null })).status === 200, 'up');
  }

  async stop() {
    this.agent.destroy();
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.exited;
  }

  async restart() {
    await this.stop();
    this.agent = new (this.tls ? https : http).Agent({ keepAlive: true });
    await this.start();
  }

  async seal() { await this.api('PUT', 'sys/seal', {}); }

  /** Unseals it and waits until it serves as the active node. */
  async unseal() {
    await this.api('PUT', 'sys/unseal', { key: this.key }, { token: null });
    await this.until(async () => (await this.ask('GET', 'sys/health', undefined, { token: null })).status === 200, 'active');
  }

  async until(check, what) {
    const end = Date.now() + 30_000;
    for (;;) {
      assert.equal(this.child.exitCode, null, `bao ended: ${this.output}`);
      if (await check().catch(() => false)) return;
      assert.ok(Date.now() < end, `bao was not ${what} after 30 s: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** One request: {status, body}. */
  ask(method, at, body, { token = this.root, headers = {} } = {}) {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const request = (this.tls ? https : http).request(`${this.address}/v1/${at}`, {
        method, agent: this.agent, ca: this.tls && readFileSync(this.tls.caFile),
        headers: { ...(token && { 'x-vault-token': token }), ...(text && { 'content-length': Buffer.byteLength(text) }), ...headers },
      }, (res) => {
        let whole = '';
        res.setEncoding('utf8').on('data', (part) => { whole += part; }).on('error', reject).on('end', () => resolve({ status: res.statusCode, body: whole && JSON.parse(whole) }));
      });
      request.on('error', reject).end(text);
    });
  }

  /** The same; it must succeed. */
  async api(method, at, body, options) {
    const { status, body: reply } = await this.ask(method, at, body, options);
    assert.ok(status < 300, `bao answered ${method} ${at} with ${status}: ${JSON.stringify(reply)}`);
    return reply;
  }

  async mount(kv = 2, at = 'secret', options = {}) {
    await this.api('POST', `sys/mounts/${at}`, { type: 'kv', options: { version: String(kv) } }, options);
    // A new mount of version 2 upgrades itself before it accepts writes.
    await this.until(async () => (await this.ask('GET', kv === 2 ? `${at}/config` : `${at}/none`, undefined, options)).status !== 400, 'mounted');
  }

  /** A database engine over `redis` whose accounts last `default_ttl`, renewable up to `max_ttl`; a token with the policy may request them. */
  async dynamic({ port, admin: [username, password] }, terms) {
    await this.api('POST', 'sys/mounts/database', { type: 'database' });
    const account = { host: '127.0.0.1', port, username, password };
    await this.api('POST', 'database/config/accounts', { plugin_name: 'valkey-database-plugin', allowed_roles: ['sms'], ...account });
    await this.api('POST', 'database/roles/sms', { db_name: 'accounts', creation_statements: ['["+@read"]'], ...terms });
  }

  put(entry, fields, at = 'secret', options = {}) { return this.api('POST', `${at}/data/${entry}`, { data: fields }, options); }

  policy(name, rules, options = {}) { return this.api('PUT', `sys/policies/acl/${name}`, { policy: rules }, options); }

  /** A policy that may read everything below `secret`, an AppRole with it, and the two files of its login. */
  async approle(at, { role = {}, wrap, name = 'sms' } = {}) {
    await this.policy('sms', READS);
    if ((await this.ask('POST', 'sys/auth/approle', { type: 'approle' })).status === 400) assert.ok(wrap !== undefined || name, 'mounted before');
    await this.api('POST', `auth/approle/role/${name}`, { token_policies: 'sms', ...role });
    const files = { role_id_file: path.join(at, `${name}.role`), secret_id_file: path.join(at, `${name}.secret`) };
    writeFileSync(files.role_id_file, `${(await this.api('GET', `auth/approle/role/${name}/role-id`)).data.role_id}\n`);
    await this.secretId(files, name, wrap);
    return files;
  }

  async secretId(files, name = 'sms', wrap = undefined) {
    const made = await this.api('POST', `auth/approle/role/${name}/secret-id`, {}, wrap && { headers: { 'x-vault-wrap-ttl': wrap } });
    writeFileSync(files.secret_id_file, wrap ? made.wrap_info.token : made.data.secret_id);
  }
}

/** The real agent: logs in with the files of an AppRole and keeps a valid token in `sink`. */
export async function agent(t, at, bao, files) {
  const [config, sink] = [path.join(at, 'agent.hcl'), path.join(at, 'sink')];
  writeFileSync(config, `vault { address = "${bao.address}" }
auto_auth {
  method "approle" { config = { role_id_file_path = "${files.role_id_file}", secret_id_file_path = "${files.secret_id_file}", remove_secret_id_file_after_reading = false } }
  sink "file" { config = { path = "${sink}", mode = 384 } }
}\n`);
  const child = spawn(BAO, ['agent', `-config=${config}`], { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: at } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output = (output + text).slice(-5_000); });
  const exited = once(child, 'exit');
  t.after(async () => { child.kill('SIGKILL'); await exited; });
  for (const until = Date.now() + 30_000; !existsSync(sink); await new Promise((resolve) => setTimeout(resolve, 50))) assert.ok(Date.now() < until && child.exitCode === null, `the agent wrote no token: ${output}`);
  return sink;
}

export const READS = 'path "secret/*" { capabilities = ["read"] } path "database/creds/*" { capabilities = ["read"] }';

/** A TCP proxy before a server: it delays answers by `delay` ms and counts reads of an entry by their request line. */
export async function slowly(t, port) {
  const counts = new Map();
  const proxy = { delay: 0, reads: (entry) => counts.get(entry) ?? 0, sockets: new Set() };
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) { proxy.sockets.add(socket); socket.on('error', () => {}).on('close', () => { proxy.sockets.delete(socket); client.destroy(); upstream.destroy(); }); }
    client.on('data', (data) => {
      const entry = /^GET \/v1\/secret\/data\/(\S+) /.exec(data.toString('latin1'))?.[1];
      if (entry) counts.set(entry, proxy.reads(entry) + 1);
      upstream.write(data);
    });
    upstream.on('data', (data) => { const wait = proxy.delay; if (wait) setTimeout(() => client.writable && client.write(data), wait).unref(); else client.write(data); });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy.address = `http://127.0.0.1:${server.address().port}`;
  t.after(() => { for (const socket of proxy.sockets) socket.destroy(); server.close(); });
  return proxy;
}
