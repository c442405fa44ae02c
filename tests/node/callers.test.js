// Who may use a door: the uid behind a loopback socket, or a token that stands where the service's password stood.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { SAYS, delivered, eventually, say, stage } from './lib/stage.js';
import { call } from './lib/sidecar.js';
import { play } from './lib/play.js';

const REFUSED = [401, 403, 407];

test('the uid behind the socket is known and admitted', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { config: { callers: { backend: { uid: process.getuid() } } } });
  delivered(await say(proxy, 'playmobile'), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
});

test('another uid is turned away, and nothing is sent', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { config: { callers: { backend: { uid: process.getuid() + 4711 } } } });
  const reply = await say(proxy, 'playmobile');
  assert.ok(REFUSED.includes(reply.status), `${reply.status} ${reply.body}`);
  assert.equal(playmobile.received.length, 0);
  assert.equal(await proxy.metric('requests_total', { result: 'denied' }), 1);
});

test('a token admits as proxy user info and in place of the password, and never reaches the provider', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], entries: { 'callers/backend': { token: 'caller-canary-token' } }, config: { callers: { backend: { token: { vault: 'local', path: 'callers/backend' } } } } });
  const [place, request] = SAYS.playmobile();
  await eventually(async () => await proxy.metric('vault_reads_total', { vault: 'local' }) >= 2);
  assert.ok(REFUSED.includes((await call(`${proxy.door}/playmobile${place}`, request)).status), 'without a token');
  assert.ok(REFUSED.includes((await call(`${proxy.door}/playmobile${place}`, { ...request, auth: ['sms-sidecar', 'wrong-token'] })).status), 'with a wrong one');
  assert.equal(playmobile.received.length, 0);
  const reply = await call(`${proxy.door}/playmobile${place}`, { ...request, auth: ['sms-sidecar', 'caller-canary-token'] });
  delivered(reply, 'playmobile');
  const env = (token) => ({ HTTP_PROXY: proxy.door.replace('//', `//backend:${token}@`) });
  const order = { client: 'axios-1-7', url: `http://send.smsxabar.uz${place}`, auth: ['sms-sidecar', 'sms-sidecar'], body: request.body.replace('Kod', 'Kod 2'), count: 1 };
  assert.equal((await play({ ...order, env: env('caller-canary-token') }))[0].status, 200);
  assert.ok(REFUSED.includes((await play({ ...order, env: env('wrong-token') }))[0].status));
  assert.equal(playmobile.delivered.length, 2);
  for (const { rawHeaders, body } of playmobile.received) assert.doesNotMatch(JSON.stringify([rawHeaders, body]), /caller-canary|Y2FsbGVyLWNhbmFyeS/);
  assert.doesNotMatch(proxy.output, /caller-canary/);
});

test('a folder of own descriptions: one file, and a service nobody knew is served', async (t) => {
  const made = await stage(t, { start: false, services: ['playmobile'] });
  writeFileSync(path.join(made.at, 'house.toml'), 'dialect = "house"\nextends = "playmobile"\nhosts = ["sms.house.example"]\n');
  const { proxy, fakes: { own } } = await stage(t, { services: ['own'], names: { own: 'playmobile' }, providers: { own: { dialect: 'house', sender: '3700' } }, config: { dialects: made.at } });
  delivered(await say(proxy, 'playmobile', {}, 'house'), 'playmobile');
  assert.equal(own.delivered.length, 1);
  const [result] = await play({ client: 'axios-1-7', url: 'http://sms.house.example/broker-api/send', auth: ['a', 'b'], body: SAYS.playmobile({ text: 'another' })[1].body, env: { HTTP_PROXY: proxy.door }, count: 1 });
  assert.deepEqual([result.status, result.body], [200, 'Request is received']);
});
