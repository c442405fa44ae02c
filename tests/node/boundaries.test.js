// What does not fail over, what is denied, and what the sidecar answers itself: provider-specific requests,
// batches, unknown operations, logins, issued ids, other hosts.
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { TEXT, TO, MESSAGES, delivered, sendAs, stage } from './lib/stage.js';
import { authority, call, cli, get, sidecar } from './lib/sidecar.js';
import { toml } from './lib/toml.js';

const JSON_TYPE = { 'content-type': 'application/json' };
const TWILIO = ['twilio', 'playmobile'];
const sid = `AC${'0'.repeat(32)}`;

function batch(proxy, numbers) {
  const messages = numbers.map((recipient, n) => ({ recipient, 'message-id': `otp${n}`, priority: 'high', sms: { originator: '3700', content: { text: `Kod: ${n}` } } }));
  return call(`${proxy.url}/playmobile/broker-api/send`, { headers: JSON_TYPE, body: JSON.stringify({ messages }) });
}

test('a batch is sent whole, and the provider\'s own reply goes back', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  delivered(await batch(proxy, [TO, '998907654321', '998930000000']), 'playmobile');
  assert.equal(playmobile.received.length, 1);
  assert.deepEqual(playmobile.delivered.map(({ to, text }) => [to, text]), [[TO, 'Kod: 0'], ['998907654321', 'Kod: 1'], ['998930000000', 'Kod: 2']]);
});

test('a rejected batch is neither split nor translated', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  playmobile.reject('account-suspended');
  const reply = await batch(proxy, [TO, '998907654321']);
  assert.ok(![200, 401].includes(reply.status), reply.status);
  assert.deepEqual([playmobile.received.length, twilio.received.length], [1, 0]);
});

test('a rejected batch fails over whole to a second account of the same service', async (t) => {
  const { proxy, fakes } = await stage(t, { services: ['playmobile', 'second'], names: { second: 'playmobile' } });
  fakes.playmobile.reject('account-suspended');
  delivered(await batch(proxy, [TO, '998907654321']), 'playmobile');
  assert.deepEqual(fakes.second.delivered.map(({ text }) => text), ['Kod: 0', 'Kod: 1']);
});

test('a provider-specific request stays with its own service', async (t) => {
  const { proxy, fakes: { twilio, playmobile } } = await stage(t, { services: TWILIO });
  const media = { MediaUrl: 'https://example.com/a.png' };
  delivered(await sendAs(proxy, 'twilio', media), 'twilio');
  assert.equal(twilio.delivered[0].fields.MediaUrl, media.MediaUrl);
  twilio.reject('account-suspended');
  const reply = await sendAs(proxy, 'twilio', { ...media, text: 'another' });
  assert.equal(reply.status, 503);
  assert.equal(playmobile.received.length, 0);
});

test('smsc: a price query passes through with our credentials, its reply is unchanged, and no message is sent', async (t) => {
  const { proxy, fakes: { smsc } } = await stage(t, { services: ['smsc'] });
  const fields = { login: 'sms-sidecar', psw: 'sms-sidecar', phones: TO, mes: 'Kod: 1', fmt: '3', charset: 'utf-8', cost: '1' };
  const form = new URLSearchParams(fields).toString();
  for (const [method, target, body] of [['POST', '/smsc/sys/send.php', form], ['GET', `/smsc/sys/send.php?${form}`, undefined]]) {
    const headers = body ? { 'content-type': 'application/x-www-form-urlencoded' } : {};
    const reply = await call(`${proxy.url}${target}`, { method, headers, body });
    assert.deepEqual([reply.status, JSON.parse(reply.body)], [200, { cost: '1.44', cnt: 1 }], method);
  }
  assert.deepEqual([smsc.delivered.length, smsc.received.length], [0, 2]);
  assert.equal(await proxy.metric('requests_total', { dialect: 'smsc', operation: 'passthrough', result: 'passed-through' }), 2);
  smsc.reject('balance-empty', 1);
  const failed = await call(`${proxy.url}/smsc/sys/send.php`, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: form });
  assert.equal(failed.status, 502, 'an account error is reported as for every passthrough request');
  // The price together with the message is a message, and takes the whole pipeline.
  delivered(await sendAs(proxy, 'smsc', { cost: '3' }), 'smsc');
  assert.equal(smsc.delivered.length, 1);
});

test('only named operations pass: the account resource would expose the token', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: ['twilio'] });
  for (const [method, path] of [['GET', `/2010-04-01/Accounts/${sid}.json`], ['GET', `/2010-04-01/Accounts/${sid}/Messages.json`], ['POST', `/2010-04-01/Accounts/${sid}/Keys.json`], ['DELETE', `/2010-04-01/Accounts/${sid}/Messages/SM${'0'.repeat(32)}.json`], ['GET', '/'], ['GET', `/2010-04-01/Accounts/${sid}/../${sid}.json`]]) {
    const reply = await call(`${proxy.url}/twilio${path}`, { method });
    assert.ok([400, 403, 404].includes(reply.status), `${method} ${path}: ${reply.status}`);
    assert.doesNotMatch(reply.body, /fedcba9876543210/);
  }
  assert.equal((await call(`${proxy.url}/twilio/2010-04-01/Accounts/${sid}.json`, { method: 'GET' })).status, 403);
  assert.equal(twilio.received.length, 0);
  assert.ok(await proxy.metric('requests_total', { result: 'denied' }) >= 1);
});

test('a provider\'s own `operations` adds one more', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: ['twilio'], providers: { twilio: { operations: ['GET /Accounts/{any}/Messages.json'] } } });
  const reply = await call(`${proxy.url}/twilio/2010-04-01/Accounts/${twilio.credential.account_sid}/Messages.json`, { method: 'GET' });
  assert.equal(reply.status, 200, reply.body);
  assert.equal(twilio.received.length, 1);
});

test('a named operation other than a send passes through with our credential', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: TWILIO });
  const reply = await call(`${proxy.url}/twilio/2010-04-01/Accounts/${sid}/Balance.json`, { method: 'GET', auth: [sid, '0'.repeat(32)] });
  assert.deepEqual([reply.status, JSON.parse(reply.body).balance], [200, '12.30']);
  assert.equal(await proxy.metric('requests_total', { dialect: 'twilio', operation: 'passthrough', result: 'passed-through' }), 1);
  twilio.reject('credential-rejected', 1);
  assert.equal((await call(`${proxy.url}/twilio/2010-04-01/Accounts/${sid}/Balance.json`, { method: 'GET' })).status, 502, 'a passthrough request that failed');
});

test('the backend\'s Eskiz login is answered locally with a placeholder token that works afterwards', async (t) => {
  const { proxy, fakes: { eskiz } } = await stage(t, { services: ['eskiz'] });
  const login = await call(`${proxy.url}/eskiz/api/auth/login`, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'email=sms-sidecar%40example.com&password=sms-sidecar' });
  assert.equal(login.status, 200, login.body);
  const { data: { token } } = JSON.parse(login.body);
  assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  assert.ok(claims.exp > Date.now() / 1000, 'a client that reads exp must find time left');
  assert.equal(eskiz.received.filter(({ body }) => body.includes('sms-sidecar')).length, 0);
  delivered(await sendAs(proxy, 'eskiz', { token }), 'eskiz');
  assert.notEqual(token, eskiz.lastToken);
  for (const { headers } of eskiz.received) assert.notEqual(headers.authorization, `Bearer ${token}`);
  const again = await call(`${proxy.url}/eskiz/api/auth/refresh`, { method: 'PATCH', headers: { authorization: `Bearer ${token}` } });
  assert.equal(again.status, 200, again.body);
});

test('a status query for an id that we issued is answered from memory; one for the provider\'s own id passes through', async (t) => {
  const { proxy, fakes: { twilio, playmobile } } = await stage(t, { services: TWILIO });
  const own = JSON.parse((await sendAs(proxy, 'twilio', { text: 'one' })).body).sid;
  const passed = await call(`${proxy.url}/twilio/2010-04-01/Accounts/${sid}/Messages/${own}.json`, { method: 'GET' });
  assert.deepEqual([passed.status, JSON.parse(passed.body).sid], [200, own]);
  assert.ok(twilio.received.some(({ target }) => target.includes(own)), 'its own is');
  twilio.reject('account-suspended', 1);
  const made = JSON.parse((await sendAs(proxy, 'twilio', { text: 'two' })).body).sid;
  assert.equal(playmobile.delivered[0].text, 'two');
  const reply = await call(`${proxy.url}/twilio/2010-04-01/Accounts/${sid}/Messages/${made}.json`, { method: 'GET' });
  assert.equal(reply.status, 200, reply.body);
  assert.equal(JSON.parse(reply.body).sid, made);
  assert.ok(!twilio.received.some(({ target }) => target.includes(made)), 'a made-up id is never forwarded');
});

test('the reply names the backend\'s account, not ours', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: TWILIO });
  twilio.reject('account-suspended', 1);
  const reply = await sendAs(proxy, 'twilio');
  assert.equal(JSON.parse(reply.body).account_sid, sid);
  assert.doesNotMatch(reply.body, new RegExp(twilio.credential.account_sid));
});

/** A forward-proxy request in absolute form. */
function absolute(proxy, url, { method = 'POST', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(proxy.url);
    const request = http.request({ host: hostname, port, path: url, method, headers: { host: new URL(url).host, ...headers }, agent: false }, async (reply) => {
      const chunks = [];
      for await (const chunk of reply) chunks.push(chunk);
      resolve({ status: reply.statusCode, headers: reply.headers, body: Buffer.concat(chunks).toString('utf8') });
    });
    request.on('error', reject).end(body);
  });
}

function connect(proxy, target) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(proxy.url);
    const request = http.request({ host: hostname, port, method: 'CONNECT', path: target, headers: { host: target }, agent: false });
    request.on('connect', (reply, socket, head) => { resolve({ status: reply.statusCode, socket, head }); });
    request.on('response', (reply) => { reply.resume(); resolve({ status: reply.statusCode }); });
    request.on('error', reject).end();
  });
}

async function elsewhere(t) {
  const server = http.createServer((req, res) => res.end(`elsewhere saw ${req.method} ${req.url}`)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  return server.address().port;
}

test('other hosts are tunnelled unchanged, or denied, as configured', async (t) => {
  const port = await elsewhere(t);
  const tunnels = (await stage(t, { config: { intercept: { other_hosts: 'tunnel' } } })).proxy;
  assert.equal((await absolute(tunnels, `http://127.0.0.1:${port}/x?y=1`, { method: 'GET' })).body, 'elsewhere saw GET /x?y=1');
  const { status, socket } = await connect(tunnels, `127.0.0.1:${port}`);
  assert.equal(status, 200);
  socket.end('GET /inside HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  let text = '';
  for await (const part of socket) text += part;
  assert.match(text, /elsewhere saw GET \/inside/);
  const denies = (await stage(t, { config: { intercept: { other_hosts: 'deny' } } })).proxy;
  assert.equal((await absolute(denies, `http://127.0.0.1:${port}/x`, { method: 'GET' })).status, 403);
  assert.equal((await connect(denies, `127.0.0.1:${port}`)).status, 403);
});

test('a host outside the CA\'s name constraints is denied with a remedy', async (t) => {
  const { at, config } = await stage(t, { services: ['twilio'], start: false });
  const ca = authority(at, config);
  const proxy = await sidecar(t, at, { ...config, intercept: { ca } });
  const region = 'api.dublin.ie1.twilio.com';
  const { status, socket, head } = await connect(proxy, `${region}:443`);
  assert.equal(status, 502);
  let body = head.toString();
  for await (const part of socket) body += part;
  for (const word of [region, 'base_url', 'ca renew']) assert.ok(body.includes(word), body);
  const file = path.join(at, 'region.toml');
  writeFileSync(file, toml({ ...config, providers: { twilio: { ...config.providers.twilio, base_url: `https://${region}/2010-04-01` } }, intercept: { ca } }));
  assert.ok(cli('ca', 'renew', '--config', file).stdout.includes(region), 'the remedy does not help');
});

test('metadata addresses and our own listeners are never reached', async (t) => {
  const { proxy } = await stage(t, { config: { intercept: { other_hosts: 'tunnel' } } });
  for (const target of ['169.254.169.254:80', '[fd00:ec2::254]:80', proxy.listen.admin, proxy.listen.proxy]) {
    assert.equal((await connect(proxy, target)).status, 403, target);
    assert.equal((await absolute(proxy, `http://${target}/`, { method: 'GET' })).status, 403, target);
  }
});

test('a request from a browser is denied; Node\'s own fetch is not', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  const [path, request] = MESSAGES.playmobile();
  for (const header of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }]) {
    assert.equal((await call(`${proxy.url}/playmobile${path}`, { ...request, headers: { ...request.headers, ...header } })).status, 403);
  }
  assert.equal(playmobile.received.length, 0);
  delivered(await call(`${proxy.url}/playmobile${path}`, { ...request, headers: { ...request.headers, 'sec-fetch-mode': 'cors' } }), 'playmobile');
});

test('only listed headers pass, in both directions', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  const [path, request] = MESSAGES.playmobile();
  await call(`${proxy.url}/playmobile${path}`, { ...request, headers: { ...request.headers, cookie: 'session=1', 'x-internal': '1', 'x-forwarded-for': '10.0.0.1', te: 'trailers', 'proxy-authorization': 'Basic eA==', 'x-sms-sidecar-cause': 'x' } });
  for (const name of ['cookie', 'x-internal', 'x-forwarded-for', 'te', 'proxy-authorization', 'x-sms-sidecar-cause']) assert.equal(playmobile.received[0].headers[name], undefined, name);
  assert.equal(playmobile.received[0].headers['accept-encoding'], 'identity');
  assert.ok(playmobile.received[0].headers['content-length']);
});

test('the base URL names the backend\'s dialect and never pins a send to a provider', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  playmobile.reject('account-suspended');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(twilio.delivered[0].text, TEXT);
  assert.equal((await get(`${proxy.url}/nobody/broker-api/send`)).status, 404);
});
