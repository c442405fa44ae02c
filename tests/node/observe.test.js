// Observe mode: nothing is changed, everything is seen. How anyone dares to install this.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SAYS, delivered, say, stage } from './lib/stage.js';
import { call } from './lib/sidecar.js';

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
