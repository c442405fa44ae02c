// Observe mode: nothing is changed, everything is seen. How anyone dares to install this.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SAYS, delivered, say, stage } from './lib/stage.js';
import { call, cliMeanwhile, get } from './lib/sidecar.js';

const observed = (t, more = {}) => stage(t, { provider: { sender: null, credential: undefined }, config: { mode: 'observe', ...more.config }, ...more });
const own = (fake) => Object.values(fake.credential);

test('the backend\'s own credentials and bytes pass, once, and the reply comes back as it was', async (t) => {
  const { proxy, fakes: { playmobile } } = await observed(t);
  const [path, request] = SAYS.playmobile();
  const reply = await call(`${proxy.door}/playmobile${path}`, { ...request, auth: own(playmobile) });
  delivered(reply, 'playmobile');
  assert.equal(playmobile.received[0].body, request.body);
  assert.equal(playmobile.received[0].headers.authorization, `Basic ${Buffer.from(own(playmobile).join(':')).toString('base64')}`);
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', outcome: 'accepted' }), 1);
});

test('a 401 comes back as the 401 it was; nobody else is tried; the cause is counted and logged', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await observed(t);
  const reply = await say(proxy, 'playmobile');
  assert.equal(reply.status, 401);
  assert.deepEqual([playmobile.received.length, twilio.received.length], [1, 0]);
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', cause: 'credential-rejected' }), 1);
  assert.equal(await proxy.metric('upstream_responses_total', { provider: 'playmobile', status: '401' }), 1);
  await proxy.says(/credential-rejected/);
});

test('a refusal inside a 200 is counted by its cause though the backend sees a 200', async (t) => {
  const { proxy, fakes: { smsc } } = await observed(t, { services: ['smsc'] });
  smsc.refuse('balance-empty');
  const reply = await say(proxy, 'smsc');
  assert.deepEqual([reply.status, JSON.parse(reply.body).error_code], [200, 3]);
  assert.equal(await proxy.metric('attempts_total', { provider: 'smsc', cause: 'balance-empty' }), 1);
});

test('observing one route leaves the others acting', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, {
    provider: { sender: null },
    config: { routes: [{ name: 'watched', dialects: ['playmobile'], providers: ['playmobile'], mode: 'observe' }, { name: 'rest', providers: ['twilio', 'playmobile'] }] },
  });
  assert.equal((await say(proxy, 'playmobile')).status, 401);
  delivered(await say(proxy, 'twilio'), 'twilio');
  assert.deepEqual([playmobile.received.length, twilio.delivered.length], [1, 1]);
});

const shown = async (proxy) => (await cliMeanwhile('status', '--config', proxy.file)).stdout;
const told = async (proxy) => JSON.parse((await get(`${proxy.admin}/status.json`)).body).providers.find(({ provider }) => provider === 'playmobile');

test('the last refusal is shown with cause, certainty, evidence and what to do, until one is accepted', async (t) => {
  const { proxy, fakes: { playmobile } } = await observed(t);
  assert.equal((await say(proxy, 'playmobile')).status, 401);
  const text = await shown(proxy);
  assert.match(text, /^● Only watching[^]*\n  ! The last message to playmobile failed at .{8} UTC \(credential-rejected\)\.\n/);
  assert.match(text, /\n  ▲ playmobile +in use, but its last message failed at .{8} UTC\n +cause +credential-rejected \([a-z, -]+\)\n +evidence +\S[^\n]*401[^\n]*\n +to do +\S/);
  const { failed_at: at, state, cause, can_deliver: able } = await told(proxy);
  assert.deepEqual([Boolean(at), state, cause, able], [true, 'healthy', 'credential-rejected', true]);
  assert.match((await get(`${proxy.admin}/`)).body, /provider warn[^]*in use, but its last message failed at/);
  const [path, request] = SAYS.playmobile();
  delivered(await call(`${proxy.door}/playmobile${path}`, { ...request, auth: own(playmobile) }), 'playmobile');
  assert.deepEqual([(await told(proxy)).failed_at, (await told(proxy)).cause], [null, null]);
  assert.doesNotMatch(await shown(proxy), /failed at/);
});

test('a path that is not the message\'s is the backend\'s base URL, not the config\'s', async (t) => {
  const { proxy } = await observed(t, { services: ['playmobile'] });
  const [, request] = SAYS.playmobile();
  assert.equal((await call(`${proxy.door}/playmobile/998907654321/send`, request)).status, 404);
  const { cause, remedy } = await told(proxy);
  assert.equal(cause, 'endpoint-wrong');
  assert.equal(remedy, "the backend asked POST /…/send; playmobile's message is POST /broker-api/send: correct the backend's base URL");
  assert.match(await shown(proxy), /✕ playmobile +other +passed-through endpoint-wrong/);
  await proxy.says(/correct the backend's base URL/);
  assert.doesNotMatch(proxy.output, /998907654321/);
});
