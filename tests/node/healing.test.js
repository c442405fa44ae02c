// Credentials that are wrong, changed or expired: what the backend and the service see, and what is counted.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TEXT, delivered, eventually, sendAs, stage } from './lib/stage.js';

test('a credential that changed at the provider heals within the same request', async (t) => {
  const { proxy, fakes: { playmobile, twilio }, vault } = await stage(t);
  const release = playmobile.hold();
  const answer = sendAs(proxy, 'playmobile');
  await playmobile.seen(1);
  playmobile.rotate({ password: 'the-new-one' });
  vault.put('playmobile', { password: 'the-new-one' });
  release();
  delivered(await answer, 'playmobile');
  assert.deepEqual(playmobile.received.map(({ status }) => status), [401, 200]);
  assert.equal(playmobile.delivered[0].text, TEXT);
  assert.equal(twilio.received.length, 0, 'healing needs no second provider');
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', outcome: 'rejected', cause: 'credential-rejected' }), 1);
  assert.equal(await proxy.metric('upstream_responses_total', { provider: 'playmobile', status: '401' }), 1);
  assert.equal(await proxy.metric('credential_version', { provider: 'playmobile' }), 2);
});

test('many requests that meet one 401 cause one vault read, and each is healed', async (t) => {
  const { proxy, fakes: { playmobile }, vault } = await stage(t, { services: ['playmobile'], route: { duplicate_window: '0s' } });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  const reads = await proxy.metric('vault_reads_total', { vault: 'local' });
  const release = playmobile.hold(10);
  const answers = Array.from({ length: 10 }, (_, n) => sendAs(proxy, 'playmobile', { text: `Kod: ${n}` }));
  await playmobile.seen(11);
  playmobile.rotate({ password: 'the-new-one' });
  vault.put('playmobile', { password: 'the-new-one' });
  release();
  for (const answer of answers) delivered(await answer, 'playmobile');
  assert.equal(playmobile.delivered.length, 11);
  const more = (await proxy.metric('vault_reads_total', { vault: 'local' })) - reads;
  assert.ok(more <= 4, `${more} vault reads for ten callers (one re-read, read twice until stable, and the file's own change)`);
});

test('a dead credential is not sent again, and the provider recovers by itself with a new one', async (t) => {
  const { proxy, fakes: { playmobile, twilio }, vault } = await stage(t);
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 2' }), 'playmobile');
  assert.deepEqual([playmobile.received.length, twilio.delivered.map(({ text }) => text)], [1, ['Kod: 1', 'Kod: 2']]);
  assert.equal(await proxy.metric('provider_state', { provider: 'playmobile', state: 'quarantined' }), 1);
  assert.equal(await proxy.metric('route_first_choice', { route: 'all' }), 0);
  assert.equal(await proxy.metric('failovers_total', { from: 'playmobile', to: 'twilio', cause: 'credential-rejected' }), 1);
  vault.put('playmobile', { password: 'the-new-one' });
  await eventually(async () => await proxy.metric('provider_state', { provider: 'playmobile', state: 'healthy' }) === 1);
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 3' }), 'playmobile');
  assert.deepEqual(playmobile.delivered.map(({ text }) => text), ['Kod: 3']);
});

test('one log line has cause, certainty and remedy, and no secret', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  await proxy.waitForOutput(/credential-rejected/);
  const line = proxy.output.split('\n').find((each) => each.includes('credential-rejected'));
  assert.match(line, /playmobile/);
  assert.doesNotMatch(line, /998901234567|Kod: 123456|playmobile-canary/);
  const logged = proxy.output.split('\n').find((each) => each.includes('provider playmobile: quarantined'));
  for (const part of [/cause.*credential-rejected/, /certainty.*\w+/, /evidence.*answered 401/, /remedy.*playmobile/]) assert.match(logged, part);
  assert.doesNotMatch(logged, /998901234567|Kod: 123456|playmobile-canary/);
});

test('eskiz: one login serves many requests; an expired token causes one new login in the same request', async (t) => {
  const { proxy, fakes: { eskiz } } = await stage(t, { services: ['eskiz'], route: { duplicate_window: '0s' } });
  const answers = Array.from({ length: 5 }, (_, n) => sendAs(proxy, 'eskiz', { text: `Kod: ${n}` }));
  for (const answer of answers) delivered(await answer, 'eskiz');
  assert.equal(eskiz.logins, 1, 'five requests at once, one login');
  eskiz.expireTokens();
  delivered(await sendAs(proxy, 'eskiz', { text: 'Kod: 9' }), 'eskiz');
  assert.equal(eskiz.logins, 2);
  assert.equal(eskiz.delivered.length, 6);
});

test('eskiz: a wrong login is reported as a rejected credential', async (t) => {
  const { proxy, fakes: { eskiz, playmobile } } = await stage(t, { services: ['eskiz', 'playmobile'] });
  eskiz.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'eskiz'), 'eskiz');
  assert.equal(playmobile.delivered[0].text, TEXT);
  assert.ok(await proxy.metric('attempts_total', { provider: 'eskiz', cause: 'credential-rejected' }) >= 1);
});

test('a credential missing from the vault: the provider is skipped, the cause is counted, the sidecar serves', async (t) => {
  const { proxy, fakes: { twilio } } = await stage(t, { providers: { playmobile: { credential: { vault: 'local', path: 'nowhere' } } } });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(twilio.delivered.length, 1);
  assert.ok(await proxy.metric('attempts_total', { provider: 'playmobile', cause: 'credential-missing' }) ?? 0 >= 1);
});

test('every account cause exists at zero before the first request', async (t) => {
  const { proxy } = await stage(t);
  for (const provider of ['playmobile', 'twilio']) {
    for (const cause of ['credential-missing', 'credential-rejected', 'credential-expired', 'permission-denied', 'account-suspended', 'balance-empty', 'ip-not-allowed', 'endpoint-wrong', 'clock-skew', 'sandbox-mismatch', 'tls-untrusted']) {
      assert.equal(await proxy.metric('attempts_total', { provider, cause }), 0, `${provider} ${cause}`);
    }
  }
});
