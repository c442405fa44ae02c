// The real binary with a config in a folder of its own: started, watched, queried for metrics, stopped.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { SERVICES } from '../fakes/index.js';
import { toml } from './toml.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
export const BINARY = process.env.SMS_SIDECAR_BIN ?? path.join(ROOT, 'target/debug/sms-sidecar');

/** A folder that is deleted with the test. */
export function folder(t) {
  const made = mkdtempSync(path.join(os.tmpdir(), 'sms-sidecar-test-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const issued = new Set();

/** A free port that no other test got: the system may name one twice while the first is not bound yet. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  if (issued.has(port)) return freePort();
  issued.add(port);
  return port;
}

/** A directory vault: one file a field, replaced atomically as a secret manager does. */
export class Vault {
  constructor(at) { this.path = path.join(at, 'vault'); mkdirSync(this.path, { mode: 0o700 }); }
  put(entry, fields) {
    mkdirSync(path.join(this.path, entry), { recursive: true, mode: 0o700 });
    for (const [field, value] of Object.entries(fields)) {
      const file = path.join(this.path, entry, field);
      writeFileSync(`${file}.new`, value, { mode: 0o600 });
      renameSync(`${file}.new`, file);
    }
    return this;
  }
}

/** A provider's table for a fake: credential from the vault, plain HTTP allowed on loopback. */
export function provider(vault, service, fake, extra = {}, name = service) {
  vault?.put(name, fake.credential ?? SERVICES[service][1]);
  return {
    dialect: service,
    credential: vault && { vault: 'local', path: name },
    base_url: fake.base,
    insecure_http: fake.tls ? undefined : true,
    ca_file: fake.tls?.caFile,
    ...extra,
  };
}

/** A CA of our own for the dialects' hosts, made by the binary's own command. */
export function authority(at, config) {
  const ca = { cert_file: path.join(at, 'ca.pem'), key_file: path.join(at, 'ca.key') };
  const file = path.join(at, 'for-ca.toml');
  writeFileSync(file, toml({ ...config, intercept: { ...config.intercept, ca } }));
  cli('ca', 'init', '--config', file);
  assert.ok(existsSync(ca.cert_file) && existsSync(ca.key_file), '`ca init` made no files');
  return ca;
}

/** Runs a subcommand to its end; returns {code, stdout, stderr}. */
export function cli(...args) {
  const options = typeof args.at(-1) === 'object' ? args.pop() : {};
  assert.ok(existsSync(BINARY), `${BINARY} is not built: cargo build, or name it in SMS_SIDECAR_BIN`);
  const { expectCode = 0, ...spawnOptions } = options;
  let done;
  try {
    done = { code: 0, stderr: '', stdout: execFileSync(BINARY, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000, ...spawnOptions }) };
  } catch (error) {
    done = { code: error.status, stdout: error.stdout ?? '', stderr: error.stderr ?? String(error) };
  }
  if (expectCode !== null) assert.equal(done.code, expectCode, `sms-sidecar ${args.join(' ')}: ${done.stderr}${done.stdout}`);
  return done;
}

/** The same for a command that needs an answer from a fake in this process; its exit code is not checked. */
export function cliMeanwhile(...args) {
  return new Promise((resolve) => {
    execFile(BINARY, args, { encoding: 'utf8', timeout: 30_000 }, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
  });
}

/** Starts `run` and waits until it is ready. `config.listen` is filled in where it is left out; `binary` may be a wrapper around the real one. */
export async function sidecar(t, at, config, { env = {}, binary = BINARY } = {}) {
  assert.ok(existsSync(BINARY), `${BINARY} is not built: cargo build, or name it in SMS_SIDECAR_BIN`);
  const [proxy, admin] = [await freePort(), await freePort()];
  const listen = { proxy: `127.0.0.1:${proxy}`, admin: `127.0.0.1:${admin}`, control: path.join(at, 'control.sock'), ...config.listen };
  const file = path.join(at, 'config.toml');
  writeFileSync(file, toml({ ...config, listen }));
  const running = new Sidecar(at, file, listen, env, binary);
  t.after(() => running.stop());
  await running.ready();
  return running;
}

class Sidecar {
  output = '';

  constructor(at, file, listen, env, binary) {
    this.folder = at;
    this.file = file;
    this.listen = listen;
    this.url = `http://${listen.proxy}`;
    this.admin = `http://${listen.admin}`;
    this.child = spawn(binary, ['run', '--config', file], { env: { PATH: process.env.PATH, HOME: at, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', (text) => { this.output += text; });
    this.exited = once(this.child, 'exit');
  }

  async ready() {
    const until = Date.now() + 20_000;
    for (;;) {
      if (this.child.exitCode !== null) assert.fail(`sms-sidecar ended with ${this.child.exitCode}: ${this.output}`);
      const answer = await get(`${this.admin}/ready`).catch(() => undefined);
      if (answer?.status === 200) return;
      assert.ok(Date.now() < until, `not ready after 20 s: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** The value of a metric, summed over every series that has these labels. */
  async metric(name, labels = {}) {
    const page = await get(`${this.admin}/metrics`);
    let sum;
    for (const line of page.body.split('\n')) {
      const match = /^sms_sidecar_(\w+?)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (!match || match[1] !== name) continue;
      const has = Object.fromEntries([...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]));
      if (Object.entries(labels).every(([key, value]) => has[key] === value)) sum = (sum ?? 0) + Number(match[3]);
    }
    return sum;
  }

  async metricsPage() { return (await get(`${this.admin}/metrics`)).body; }

  /** Waits until the output matches `pattern`: a signal instead of a sleep. */
  async waitForOutput(pattern, within = 10_000) {
    const until = Date.now() + within;
    while (!pattern.test(this.output)) {
      assert.ok(Date.now() < until, `the output never matched ${pattern}: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Makes it reload its config. Not by `child.kill`: then `stop` would take it for ended. */
  reload() { process.kill(this.child.pid, 'SIGHUP'); }

  /** Ends it and waits for its end; it is not signalled twice, because that means "at once". */
  async stop(signal = 'SIGTERM') {
    if (this.child.exitCode === null && this.child.signalCode === null && !this.child.killed) this.child.kill(signal);
    const late = setTimeout(() => this.child.kill('SIGKILL'), 20_000);
    await this.exited;
    clearTimeout(late);
    return this.child.exitCode;
  }
}

/** One request with no proxy, no agent, no redirect: {status, headers, body}. */
export function get(url, options = {}) { return call(url, { method: 'GET', ...options }); }

export function call(url, { method = 'POST', headers = {}, body, auth, agent = false, socketPath, signal } = {}) {
  return new Promise((resolve, reject) => {
    const credentials = auth && { authorization: `Basic ${Buffer.from(auth.join(':')).toString('base64')}` };
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const options = { method, headers: { ...length, ...credentials, ...headers }, agent, signal };
    const request = http.request(...(socketPath ? [{ ...options, socketPath, path: url }] : [url, options]), (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('error', reject);
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks).toString('utf8') }));
    });
    request.on('error', reject);
    request.end(body);
  });
}
