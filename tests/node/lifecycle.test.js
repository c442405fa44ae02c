// Starting, pausing, resuming, ending.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { once } from 'node:events';
import { chmodSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { MESSAGES, delivered, eventually, sendAs, stage } from './lib/stage.js';
import { authority, cli, cliMeanwhile, folder, freePort, get, sidecar } from './lib/sidecar.js';
import { toml } from './lib/toml.js';

test('pause takes a provider out of rotation, resume puts it back', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  cli('pause', 'playmobile', '--config', proxy.file);
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  assert.deepEqual([playmobile.received.length, twilio.delivered.length], [0, 1]);
  assert.equal(await proxy.metric('provider_state', { provider: 'playmobile', state: 'paused' }), 1);
  const who = new RegExp(`paused by (.+ \\()?uid ${process.getuid()}\\)? at`);
  assert.match(cli('status', '--config', proxy.file, { expectCode: null }).stdout, who);
  await proxy.waitForOutput(new RegExp(`"uid":${process.getuid()}`));
  cli('resume', 'playmobile', '--config', proxy.file);
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 2' }), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
  assert.notEqual(cli('pause', 'nobody', '--config', proxy.file, { expectCode: null }).code, 0);
});

test('send uses the running pipeline, and prints the result or what to do', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, { route: { recipients: ['+998'] } });
  const send = (to, text, ...more) => cliMeanwhile('send', '--config', proxy.file, '--to', to, '--text', text, ...more);
  playmobile.reject('account-suspended', 1);
  const sent = await send('+998901234567', 'Kod: 123456');
  assert.deepEqual([sent.code, twilio.delivered.length], [0, 1], sent.stderr);
  assert.match(sent.stdout, /playmobile: rejected account-suspended 400[^]*twilio: accepted 201[^]*\+998\*{5}67: accepted by route all/);
  assert.equal(JSON.parse((await send('998901234567', 'Kod: 1', '--json')).stdout).result, 'accepted');
  const abroad = await send('+12025550199', 'Kod: 2');
  assert.equal(abroad.code, 1);
  assert.ok(abroad.stdout.includes(proxy.file) && !abroad.stdout.includes('/etc/sms-sidecar'), `the remedy names another file: ${abroad.stdout}`);
  for (const [to, text, option] of [['nobody', 'Kod: 3', '--to'], ['+998901234567', ' ', '--text']]) {
    const wrong = await send(to, text);
    assert.deepEqual([wrong.code, wrong.stdout], [2, ''], wrong.stderr);
    assert.match(wrong.stderr, new RegExp(option));
  }
});

/** Writes one send as raw HTTP to a fresh connection; `received` resolves with all that comes back. */
function rawSend(target, text) {
  const [at, { auth, headers, body }] = MESSAGES.playmobile({ text });
  const socket = net.connect({ ...target, allowHalfOpen: true });
  const lines = [`POST /playmobile${at} HTTP/1.1`, 'Host: 127.0.0.1', `Authorization: Basic ${Buffer.from(auth.join(':')).toString('base64')}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), `Content-Length: ${Buffer.byteLength(body)}`];
  socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  const received = (async () => { let text = ''; for await (const part of socket) text += part; return text; })();
  received.catch(() => {});
  return { socket, received };
}

for (const kind of ['TCP', 'unix']) {
  test(`${kind}: a backend that has ended its side gets its answer, and none is sent for one that has gone`, async (t) => {
    const made = await stage(t, { start: false });
    const proxy = await sidecar(t, made.at, { ...made.config, listen: { unix: path.join(made.at, 'entrypoint.sock') } });
    const { playmobile, twilio } = made.fakes;
    const target = kind === 'TCP' ? { host: '127.0.0.1', port: new URL(proxy.url).port } : { path: proxy.listen.unix };
    const sockets = () => readdirSync(`/proc/${proxy.child.pid}/fd`).length;
    for (const leaves of [false, true]) {
      let release;
      const gate = new Promise((resolve) => { release = resolve; });
      playmobile.reset().misbehave(() => ({ gate, reject: 'account-suspended' }));
      twilio.reset();
      cli('resume', 'playmobile', '--config', proxy.file);
      const { socket, received } = rawSend(target, `Kod: ${leaves}`);
      await playmobile.seen(1);
      const before = sockets();
      socket.end();
      if (leaves) socket.destroy();
      // The sidecar closes its end when it has seen that the backend has gone.
      if (leaves) await eventually(() => sockets() < before);
      release();
      if (leaves) await eventually(async () => await proxy.metric('requests_total', { result: 'not-sent' }) === 1);
      else assert.match(await received, /^HTTP\/1\.1 200 /);
      assert.equal(twilio.delivered.length, leaves ? 0 : 1);
    }
  });
}

/** Waits until answers carry `Connection: close`: the first sign of a drain. */
async function draining(proxy) {
  await eventually(async () => (await get(`${proxy.url}/playmobile/x`, { agent: new http.Agent({ keepAlive: true }) })).headers.connection === 'close');
}

test('SIGTERM: the request in flight finishes, new ones are answered until then, and the process exits with 0', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  const release = playmobile.hold(1);
  const answer = sendAs(proxy, 'playmobile');
  await playmobile.seen(1);
  proxy.child.kill('SIGTERM');
  await draining(proxy);
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: another' }), 'playmobile');
  release();
  delivered(await answer, 'playmobile');
  assert.equal(await proxy.stop(), 0);
  assert.ok(await refusesConnections(proxy.listen.proxy));
  assert.equal(playmobile.delivered.length, 2);
});

test('SIGTERM: a request that never ends does not hold the process longer than `drain`', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { provider: { timeout: '30s' }, route: { deadline: '40s' }, config: { limits: { drain: '2s' } } });
  const release = playmobile.hold();
  t.after(release);
  const answer = sendAs(proxy, 'playmobile').catch((error) => error);
  await playmobile.seen(1);
  const began = Date.now();
  proxy.child.kill('SIGTERM');
  await proxy.stop();
  await answer;
  assert.ok(Date.now() - began < 6_000, `${Date.now() - began} ms`);
});

test('SIGTERM at the moment an answer is due: the answer still arrives', async (t) => {
  for (let n = 0; n < 8; n += 1) {
    const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'] });
    const release = playmobile.hold();
    const answer = sendAs(proxy, 'playmobile');
    await playmobile.seen(1);
    release();
    proxy.child.kill('SIGTERM');
    delivered(await answer, 'playmobile');
    assert.equal(await proxy.stop(), 0);
  }
});

test('SIGTERM: a wait between attempts is cut short and answered', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], route: { deadline: '30s' } });
  playmobile.status(429, { times: Infinity, headers: { 'retry-after': '20' } });
  const began = Date.now();
  const answer = sendAs(proxy, 'playmobile');
  await playmobile.seen(1);
  proxy.child.kill('SIGTERM');
  assert.equal((await answer).status, 503);
  assert.equal(await proxy.stop(), 0);
  assert.ok(Date.now() - began < 12_000, `${Date.now() - began} ms`);
});

test('SIGTERM: a tunnel gets a limited grace period', async (t) => {
  const elsewhere = net.createServer((socket) => { socket.on('error', () => {}); socket.pipe(socket); }).listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  t.after(() => elsewhere.close());
  const { proxy } = await stage(t, { config: { intercept: { other_hosts: 'tunnel' }, limits: { drain: '3s' } } });
  const [host, port] = proxy.listen.proxy.split(':');
  const socket = net.connect(Number(port), host);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  const target = `127.0.0.1:${elsewhere.address().port}`;
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1\.1 200/);
  const cut = once(socket, 'close').then(() => ['cut']);
  proxy.child.kill('SIGTERM');
  await draining(proxy);
  socket.write('still here');
  assert.equal(String((await Promise.race([once(socket, 'data').catch(() => cut), cut]))[0]), 'still here');
  assert.equal(await proxy.stop(), 0);
});

async function refusesConnections(address) {
  const [host, port] = address.split(':');
  const socket = net.connect(Number(port), host);
  try {
    await once(socket, 'connect');
    socket.destroy();
    return false;
  } catch {
    return true;
  }
}

test('it is live and ready without any provider reachable or vault entry present', async (t) => {
  const { proxy } = await stage(t, { providers: { playmobile: { credential: { vault: 'local', path: 'nowhere' } } }, services: ['playmobile'] });
  assert.equal((await get(`${proxy.admin}/live`)).status, 200);
  assert.equal((await get(`${proxy.admin}/ready`)).status, 200);
  assert.equal((await sendAs(proxy, 'playmobile')).status, 503);
});

test('a credential can come from the environment of the process', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, {
    services: ['playmobile'], vault: { local: { env: {} } }, env: { PLAYMOBILE_LOGIN: 'oneport', PLAYMOBILE_PASSWORD: 'playmobile-canary-Passw0rd' },
    providers: { playmobile: { credential: { vault: 'local' } } },
  });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
});

test('a .env file is a vault, and a change in it takes effect without a restart', async (t) => {
  const made = await stage(t, { services: ['playmobile'], start: false });
  const file = path.join(made.at, '.env');
  writeFileSync(file, 'export PLAYMOBILE_LOGIN=oneport\nPLAYMOBILE_PASSWORD="playmobile-canary-Passw0rd" # the old one\n', { mode: 0o600 });
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], vault: { local: { env: { file } } }, providers: { playmobile: { credential: { vault: 'local' } } } });
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  playmobile.rotate({ password: "it's # new" });
  writeFileSync(file, 'PLAYMOBILE_LOGIN=oneport\nPLAYMOBILE_PASSWORD="it\'s # new"\n', { mode: 0o600 });
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 2' }), 'playmobile');
});

/** `run` with a config that cannot work: its exit code and output. */
function fails(t, change, { at = folder(t) } = {}) {
  const config = change({
    listen: { proxy: '127.0.0.1:1', admin: '127.0.0.1:1' },
    vaults: { local: { directory: { path: at } } },
    providers: { playmobile: { dialect: 'playmobile', credential: { vault: 'local', path: 'playmobile' } } },
  }, at);
  const file = path.join(at, 'config.toml');
  writeFileSync(file, typeof config === 'string' ? config : toml(config));
  const done = cli('run', '--config', file, { expectCode: null });
  assert.notEqual(done.code, 0, 'it ran all the same');
  assert.ok(done.code !== null && done.code !== undefined, `it did not end by itself: ${done.stderr}`);
  return done.stderr + done.stdout;
}

test('a port in use is reported at once, with its address', async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.after(() => taken.close());
  const admin = await freePort();
  const began = Date.now();
  const printed = fails(t, (config) => ({ ...config, listen: { proxy: `127.0.0.1:${taken.address().port}`, admin: `127.0.0.1:${admin}` } }));
  assert.match(printed, new RegExp(`127\\.0\\.0\\.1:${taken.address().port}`));
  assert.ok(Date.now() - began < 5_000);
});

test('every mistake in the file is reported at once, with line and expected keys, values masked', (t) => {
  const printed = fails(t, () => '[listen]\nproxi = "127.0.0.1:8125"\n[providers.a]\ndialect = "playmobile"\npassword = "canary-in-the-wrong-place"\ntimeout = 3\n[providers.b]\ndialect = "nosuch"\n');
  for (const word of ['proxi', 'proxy', 'password', 'timeout', 'nosuch', 'config.toml']) assert.match(printed, new RegExp(word));
  assert.doesNotMatch(printed, /canary/);
});

test('an entrypoint off loopback without callers is an error', (t) => {
  assert.match(fails(t, (config) => ({ ...config, listen: { proxy: '0.0.0.0:0', admin: '127.0.0.1:0' } })), /caller/);
});

test('a missing config is named', (t) => {
  const file = path.join(folder(t), 'nowhere.toml');
  assert.match(cli('run', '--config', file, { expectCode: 2 }).stderr, /nowhere\.toml/);
});

test('a CA key that others can read is an error', (t) => {
  const at = folder(t);
  const base = { vaults: { local: { directory: { path: at } } }, providers: { playmobile: { dialect: 'playmobile', credential: { vault: 'local', path: 'playmobile' } } } };
  const ca = authority(at, base);
  assert.match(readFileSync(ca.cert_file, 'utf8'), /BEGIN CERTIFICATE/);
  chmodSync(ca.key_file, 0o644);
  assert.match(fails(t, () => ({ ...base, intercept: { ca } }), { at }), /ca\.key/);
});

test('an embedded vault with a wrong key: the process serves and reports the cause', async (t) => {
  const at = folder(t);
  const [file, key_file, other] = ['vault.age', 'vault.key', 'other.key'].map((name) => path.join(at, name));
  cli('vault', 'init', '--vault-file', file, '--key-file', key_file);
  cli('vault', 'init', '--vault-file', path.join(at, 'other.age'), '--key-file', other);
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], vault: { local: { embedded: { file, key_file: other } } } });
  const reply = await sendAs(proxy, 'playmobile');
  assert.equal(reply.status, 503);
  assert.equal(reply.headers['x-sms-sidecar-cause'], 'vault-unavailable');
  assert.equal(playmobile.received.length, 0);
});
