// Who may use an entrypoint: the uid that owns a loopback socket, or a token in place of the service's password.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { MESSAGES, delivered, eventually, sendAs, stage } from './lib/stage.js';
import { call } from './lib/sidecar.js';
import { play } from './lib/play.js';

const DENIED = [401, 403, 407];

test('the uid that owns the socket is identified and admitted', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { config: { callers: { backend: { uid: process.getuid() } } } });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
});

test('another uid is denied, and nothing is sent', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { config: { callers: { backend: { uid: process.getuid() + 4711 } } } });
  const reply = await sendAs(proxy, 'playmobile');
  assert.ok(DENIED.includes(reply.status), `${reply.status} ${reply.body}`);
  assert.equal(playmobile.received.length, 0);
  assert.equal(await proxy.metric('requests_total', { result: 'denied' }), 1);
});

test('a token is accepted as proxy user info and in place of the password, and never reaches the provider', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], entries: { 'callers/backend': { token: 'caller-canary-token' } }, config: { callers: { backend: { token: { vault: 'local', path: 'callers/backend' } } } } });
  const [place, request] = MESSAGES.playmobile();
  await eventually(async () => await proxy.metric('vault_reads_total', { vault: 'local' }) >= 2);
  assert.ok(DENIED.includes((await call(`${proxy.url}/playmobile${place}`, request)).status), 'without a token');
  assert.ok(DENIED.includes((await call(`${proxy.url}/playmobile${place}`, { ...request, auth: ['sms-sidecar', 'wrong-token'] })).status), 'with a wrong one');
  assert.equal(playmobile.received.length, 0);
  const reply = await call(`${proxy.url}/playmobile${place}`, { ...request, auth: ['sms-sidecar', 'caller-canary-token'] });
  delivered(reply, 'playmobile');
  const env = (token) => ({ HTTP_PROXY: proxy.url.replace('//', `//backend:${token}@`) });
  const order = { client: 'axios-1-7', url: `http://send.smsxabar.uz${place}`, auth: ['sms-sidecar', 'sms-sidecar'], body: request.body.replace('Kod', 'Kod 2'), count: 1 };
  assert.equal((await play({ ...order, env: env('caller-canary-token') }))[0].status, 200);
  assert.ok(DENIED.includes((await play({ ...order, env: env('wrong-token') }))[0].status));
  assert.equal(playmobile.delivered.length, 2);
  for (const { rawHeaders, body } of playmobile.received) assert.doesNotMatch(JSON.stringify([rawHeaders, body]), /caller-canary|Y2FsbGVyLWNhbmFyeS/);
  assert.doesNotMatch(proxy.output, /caller-canary/);
});

test('a folder of own descriptions: one file adds a new service', async (t) => {
  const made = await stage(t, { start: false, services: ['playmobile'] });
  writeFileSync(path.join(made.at, 'house.toml'), 'dialect = "house"\nextends = "playmobile"\nhosts = ["sms.house.example"]\n');
  const { proxy, fakes: { own } } = await stage(t, { services: ['own'], names: { own: 'playmobile' }, providers: { own: { dialect: 'house', sender: '3700' } }, config: { dialects: made.at } });
  delivered(await sendAs(proxy, 'playmobile', {}, 'house'), 'playmobile');
  assert.equal(own.delivered.length, 1);
  const [result] = await play({ client: 'axios-1-7', url: 'http://sms.house.example/broker-api/send', auth: ['a', 'b'], body: MESSAGES.playmobile({ text: 'another' })[1].body, env: { HTTP_PROXY: proxy.url }, count: 1 });
  assert.deepEqual([result.status, result.body], [200, 'Request is received']);
});
