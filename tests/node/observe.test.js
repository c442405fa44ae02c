// Observe mode: the sidecar changes nothing and reports everything. It is the safe first step of an installation.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MESSAGES, delivered, sendAs, stage } from './lib/stage.js';
import { call, cliMeanwhile, get } from './lib/sidecar.js';

const observed = (t, more = {}) => stage(t, { provider: { sender: null, credential: undefined }, config: { mode: 'observe', ...more.config }, ...more });
const own = (fake) => Object.values(fake.credential);

test('the backend\'s own credentials and bytes pass once, and the reply comes back unchanged', async (t) => {
  const { proxy, fakes: { playmobile } } = await observed(t);
  const [path, request] = MESSAGES.playmobile();
  const reply = await call(`${proxy.url}/playmobile${path}`, { ...request, auth: own(playmobile) });
  delivered(reply, 'playmobile');
  assert.equal(playmobile.received[0].body, request.body);
  assert.equal(playmobile.received[0].headers.authorization, `Basic ${Buffer.from(own(playmobile).join(':')).toString('base64')}`);
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', outcome: 'accepted' }), 1);
});

test('a 401 comes back as a 401; no other provider is tried; the cause, that the backend sent a placeholder, is counted and logged', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await observed(t);
  const reply = await sendAs(proxy, 'playmobile');
  assert.equal(reply.status, 401);
  assert.deepEqual([playmobile.received.length, twilio.received.length], [1, 0]);
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', cause: 'credential-missing' }), 1);
  assert.equal(await proxy.metric('upstream_responses_total', { provider: 'playmobile', status: '401' }), 1);
  await proxy.waitForOutput(/credential-missing/);
});

test('a rejection inside a 200 is counted by its cause although the backend sees a 200', async (t) => {
  const { proxy, fakes: { smsc } } = await observed(t, { services: ['smsc'] });
  smsc.reject('balance-empty');
  const reply = await sendAs(proxy, 'smsc');
  assert.deepEqual([reply.status, JSON.parse(reply.body).error_code], [200, 3]);
  assert.equal(await proxy.metric('attempts_total', { provider: 'smsc', cause: 'balance-empty' }), 1);
});

test('observing one route leaves the others active', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, {
    provider: { sender: null },
    config: { routes: [{ name: 'watched', dialects: ['playmobile'], providers: ['playmobile'], mode: 'observe' }, { name: 'rest', providers: ['twilio', 'playmobile'] }] },
  });
  assert.equal((await sendAs(proxy, 'playmobile')).status, 401);
  delivered(await sendAs(proxy, 'twilio'), 'twilio');
  assert.deepEqual([playmobile.received.length, twilio.delivered.length], [1, 1]);
});

const shown = async (proxy) => (await cliMeanwhile('status', '--config', proxy.file)).stdout;
const facts = async (proxy) => JSON.parse((await get(`${proxy.admin}/status.json`)).body).providers.find(({ provider }) => provider === 'playmobile');

test('the last rejection is shown with cause, certainty, evidence and remedy until a message is accepted', async (t) => {
  const { proxy, fakes: { playmobile } } = await observed(t);
  assert.equal((await sendAs(proxy, 'playmobile')).status, 401);
  const text = await shown(proxy);
  assert.match(text, /^● Only watching[^]*\n  ! The last message to playmobile failed at .{8} UTC \(.+?\): credential-missing\.\n/);
  assert.match(text, /\n  ▲ playmobile +in use, but its last message failed at .{8} UTC \(.+?\)\n +cause +credential-missing \([a-z, -]+\)\n +evidence +\S[^\n]*401[^\n]*\n +to do +\S/);
  const { failed_at: at, state, cause, can_deliver: able } = await facts(proxy);
  assert.deepEqual([Boolean(at), state, cause, able], [true, 'healthy', 'credential-missing', true]);
  assert.match((await get(`${proxy.admin}/`)).body, /provider warn[^]*in use, but its last message failed at/);
  const [path, request] = MESSAGES.playmobile();
  delivered(await call(`${proxy.url}/playmobile${path}`, { ...request, auth: own(playmobile) }), 'playmobile');
  assert.deepEqual([(await facts(proxy)).failed_at, (await facts(proxy)).cause], [null, null]);
  assert.doesNotMatch(await shown(proxy), /failed at/);
});

test('a wrong path is reported as a fault of the backend\'s base URL, not of the config\'s', async (t) => {
  const { proxy } = await observed(t, { services: ['playmobile'] });
  const [, request] = MESSAGES.playmobile();
  assert.equal((await call(`${proxy.url}/playmobile/998907654321/send`, request)).status, 404);
  const { cause, remedy } = await facts(proxy);
  assert.equal(cause, 'endpoint-wrong');
  assert.equal(remedy, "the backend requested POST /…/send; playmobile's message is POST /broker-api/send: correct the backend's base URL");
  assert.match(await shown(proxy), /✕ playmobile +other +passed-through endpoint-wrong/);
  await proxy.waitForOutput(/correct the backend's base URL/);
  assert.doesNotMatch(proxy.output, /998907654321/);
});
