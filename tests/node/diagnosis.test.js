// Why a provider rejects, as the real binary reports it: a probe settles an ambiguous rejection, and the
// cause appears in log and metric soon after the first 401.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { delivered, eventually, sendAs, stage } from './lib/stage.js';

const SECOND = 1000;

/** The time at which the service wrote its first reply with this status. */
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

/** Waits for `check`, polling every few milliseconds; returns when it came true. */
async function when(check) {
  const until = performance.now() + 10 * SECOND;
  while (!await check()) {
    assert.ok(performance.now() < until, `never came true: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now();
}

const line = (proxy, ...words) => proxy.output.split('\n').find((each) => words.every((word) => each.includes(word)));

test('a probe settles an ambiguous rejection: log, metric, state and remedy name the same cause', async (t) => {
  const { proxy, fakes: { twilio, playmobile } } = await stage(t, { services: ['twilio', 'playmobile'] });
  twilio.accountStatus = 'closed';
  twilio.reject('credential-rejected', 1);
  delivered(await sendAs(proxy, 'twilio'), 'twilio');
  assert.equal(playmobile.delivered.length, 1, 'the call did not wait for the answer');
  await eventually(async () => await proxy.metric('attempts_total', { provider: 'twilio', kind: 'probe', cause: 'account-suspended' }) === 1);
  await proxy.waitForOutput(/its account probe reports account-suspended/);
  const settled = line(proxy, 'twilio', 'its account probe reports account-suspended');
  for (const word of ['certain', 'unlocked at the twilio console (https://console.twilio.com)', 'sms-sidecar resume twilio']) assert.ok(settled.includes(word), `${word} in ${settled}`);
  assert.ok(line(proxy, 'provider twilio: quarantined', 'account-suspended'), proxy.output);
  assert.deepEqual(twilio.received.map(({ method }) => method), ['POST', 'GET'], 'the send is not repeated');
  assert.doesNotMatch(proxy.output, /twilio-canary|998901234567/);
});

test('an ambiguity that no probe settles stays ambiguous, and each probe runs once', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { services: ['twilio', 'playmobile'] });
  twilio.rotate({ auth_token: 'f'.repeat(32) });
  for (const text of ['Kod: 1', 'Kod: 2', 'Kod: 3']) delivered(await sendAs(proxy, 'twilio', { text }), 'twilio');
  await proxy.waitForOutput(/its account probe reports credential-rejected or/);
  assert.match(line(proxy, 'its account probe reports'), /ambiguous/);
  assert.deepEqual(twilio.received.map(({ method, status }) => [method, status]), [['POST', 401], ['GET', 401], ['GET', 401]], 'the account, then the balance');
});

test('the cause is in log and metric within a second of the first 401, plus one probe where one is needed', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, { services: ['playmobile', 'twilio', 'smsc'] });
  const answered = { playmobile: firstReply(playmobile, 401), twilio: firstReply(twilio, 401) };
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  const logged = await when(() => line(proxy, 'provider playmobile: quarantined', 'credential-rejected'));
  const counted = await when(async () => await proxy.metric('attempts_total', { provider: 'playmobile', kind: 'send', cause: 'credential-rejected' }) === 1);

  twilio.accountStatus = 'suspended';
  twilio.balance = '0.00';
  const rejected = { at: undefined };
  const rejection = twilio.rejection.bind(twilio);
  twilio.rejection = (...args) => { rejected.at ??= performance.now(); return rejection(...args); };
  twilio.reject('credential-rejected', 1);
  delivered(await sendAs(proxy, 'twilio', { text: 'Kod: 2' }), 'twilio');
  const settledLog = await when(() => line(proxy, 'twilio', 'its balance probe reports balance-empty'));
  const settledMetric = await when(async () => await proxy.metric('attempts_total', { provider: 'twilio', kind: 'probe', cause: 'balance-empty' }) === 1);

  const took = {
    'no probe, log': logged - answered.playmobile(), 'no probe, metric': counted - answered.playmobile(),
    'with probe, log': settledLog - rejected.at, 'with probe, metric': settledMetric - rejected.at,
  };
  for (const [what, ms] of Object.entries(took)) {
    t.diagnostic(`time to cause, ${what}: ${ms.toFixed(0)} ms`);
    assert.ok(ms < SECOND, `${what}: ${ms} ms`);
  }
});
