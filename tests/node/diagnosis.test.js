// Why a provider refuses, told by the real binary: an ambiguous refusal settled by a free call, and how
// long it takes from the first 401 to its cause in log and metric.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { delivered, eventually, say, stage } from './lib/stage.js';

const SECOND = 1000;

/** When the service wrote its first reply with this status. */
function firstReply(fake, status) {
  let at;
  const respond = fake.respond.bind(fake);
  fake.respond = (request) => {
    const reply = respond(request);
    if (reply.status === status) at ??= performance.now();
    return reply;
  };
  return () => at;
}

/** Waits for `check`, looking every few milliseconds, and says when it came true. */
async function when(check) {
  const until = performance.now() + 10 * SECOND;
  while (!await check()) {
    assert.ok(performance.now() < until, `never came true: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now();
}

const line = (proxy, ...words) => proxy.output.split('\n').find((each) => words.every((word) => each.includes(word)));

test('an ambiguous refusal is settled by a free call: log, metric, standing and remedy say the one cause', async (t) => {
  const { proxy, fakes: { twilio, playmobile } } = await stage(t, { services: ['twilio', 'playmobile'] });
  twilio.accountStatus = 'closed';
  twilio.refuse('credential-rejected', 1);
  delivered(await say(proxy, 'twilio'), 'twilio');
  assert.equal(playmobile.delivered.length, 1, 'the call did not wait for the answer');
  await eventually(async () => await proxy.metric('attempts_total', { provider: 'twilio', kind: 'probe', cause: 'account-suspended' }) === 1);
  await proxy.says(/its account probe reports account-suspended/);
  const settled = line(proxy, 'twilio', 'its account probe reports account-suspended');
  for (const word of ['certain', 'unlocked at the twilio console (https://console.twilio.com)', 'sms-sidecar resume twilio']) assert.ok(settled.includes(word), `${word} in ${settled}`);
  assert.ok(line(proxy, 'provider twilio: quarantined', 'account-suspended'), proxy.output);
  assert.deepEqual(twilio.received.map(({ method }) => method), ['POST', 'GET'], 'the send is not repeated');
  assert.doesNotMatch(proxy.output, /twilio-canary|998901234567/);
});

test('a doubt that nothing settles stays one, and the service is asked once', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: ['twilio', 'playmobile'] });
  twilio.rotate({ auth_token: 'f'.repeat(32) });
  for (const text of ['Kod: 1', 'Kod: 2', 'Kod: 3']) delivered(await say(proxy, 'twilio', { text }), 'twilio');
  await proxy.says(/its account probe reports credential-rejected or/);
  assert.match(line(proxy, 'its account probe reports'), /ambiguous/);
  assert.deepEqual(twilio.received.map(({ method, status }) => [method, status]), [['POST', 401], ['GET', 401]]);
});

test('from the first 401 to the cause in log and metric: under a second, and under one question more where one is asked', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, { services: ['playmobile', 'twilio', 'smsc'] });
  const answered = { playmobile: firstReply(playmobile, 401), twilio: firstReply(twilio, 401) };
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await say(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  const logged = await when(() => line(proxy, 'provider playmobile: quarantined', 'credential-rejected'));
  const counted = await when(async () => await proxy.metric('attempts_total', { provider: 'playmobile', kind: 'send', cause: 'credential-rejected' }) === 1);

  twilio.accountStatus = 'suspended';
  twilio.balance = '0.00';
  const refused = { at: undefined };
  const refusal = twilio.refusal.bind(twilio);
  twilio.refusal = (...args) => { refused.at ??= performance.now(); return refusal(...args); };
  twilio.refuse('credential-rejected', 1);
  delivered(await say(proxy, 'twilio', { text: 'Kod: 2' }), 'twilio');
  const settledLog = await when(() => line(proxy, 'twilio', 'its balance probe reports balance-empty'));
  const settledMetric = await when(async () => await proxy.metric('attempts_total', { provider: 'twilio', kind: 'probe', cause: 'balance-empty' }) === 1);

  const took = {
    'no question, log': logged - answered.playmobile(), 'no question, metric': counted - answered.playmobile(),
    'two questions, log': settledLog - refused.at, 'two questions, metric': settledMetric - refused.at,
  };
  for (const [what, ms] of Object.entries(took)) {
    t.diagnostic(`time to cause, ${what}: ${ms.toFixed(0)} ms`);
    assert.ok(ms < SECOND, `${what}: ${ms} ms`);
  }
});
