// Dynamic secrets: a real OpenBao creates temporary accounts in a real Redis, and the service accepts exactly the
// accounts that exist in Redis at that moment. A lease is renewed while it can be, a new account is requested
// before one expires, and a revoked one is replaced within the request.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { basic } from './fakes/fake.js';
import { openbao } from './lib/openbao.js';
import { redis } from './lib/redis.js';
import { folder } from './lib/sidecar.js';
import { delivered, eventually, sendAs, stage } from './lib/stage.js';

/** A sidecar whose account at the service is one that OpenBao creates in Redis with these terms. */
async function house(t, { terms, role = {} }) {
  const at = folder(t);
  const [store, bao] = await Promise.all([redis(t, at), openbao(t, at, { audit: true })]);
  await bao.dynamic(store, terms);
  const vault = { local: { openbao: { address: bao.address, mount: 'database', approle: await bao.approle(at, { role }), poll: '1s' } } };
  const credential = { vault: 'local', path: 'creds/sms' };
  const made = await stage(t, { services: ['playmobile'], vault, route: { duplicate_window: '0s' }, providers: { playmobile: { credential } } });
  const { playmobile } = made.fakes;
  const used = [];
  const respond = playmobile.respond.bind(playmobile);
  playmobile.respond = async (request) => {
    const { user, password } = basic(request);
    const known = await store.knows(user, password);
    used.push({ user, known });
    playmobile.rotate({ username: known && user, password: known && password });
    return respond(request);
  };
  let n = 0;
  const sends = async () => delivered(await sendAs(made.proxy, 'playmobile', { text: `Kod: ${n += 1}` }), 'playmobile');
  const during = async (ms) => {
    for (const until = Date.now() + ms; Date.now() < until; await new Promise((resolve) => setTimeout(resolve, 250))) await sends();
  };
  const version = () => made.proxy.metric('credential_version', { provider: 'playmobile' });
  return { ...made, bao, store, used, sends, during, version };
}

const accounts = (used) => [...new Set(used.map(({ user }) => user))];

describe('dynamic secrets', { concurrency: 5 }, () => {
  it('a lease is renewed at two thirds, and its account stays in use', async (t) => {
    const { bao, store, used, during, version } = await house(t, { terms: { default_ttl: '9s', max_ttl: '1h' } });
    await during(16_000);
    assert.deepEqual([accounts(used).length, await version(), await store.accounts()], [1, 1, accounts(used)], 'one account, longer than it was given for');
    assert.ok(used.every(({ known }) => known), 'never rejected');
    const [made] = bao.audited('database/creds/sms');
    const renewed = bao.audited('sys/leases/renew');
    assert.ok(renewed.length >= 2 && renewed.every(({ error }) => !error), JSON.stringify(renewed));
    assert.ok(renewed[0].time - made.time > 5_000, 'not long before two thirds of nine seconds');
    assert.equal(bao.audited('database/creds/sms').length, 1, 'polls make no further accounts');
  });

  it('an account that can no longer be renewed is replaced before it expires', async (t) => {
    const { bao, store, used, during, version } = await house(t, { terms: { default_ttl: '10s', max_ttl: '11s' } });
    await during(18_000);
    assert.ok(used.every(({ known }) => known), 'never rejected');
    assert.ok(await version() >= 2, `${await version()} versions in 18 s of accounts that last 11 s at the most`);
    assert.equal(bao.audited('database/creds/sms').length, await version(), 'one account a version');
    await eventually(async () => (await store.accounts()).length <= 2, 30_000);
  });

  it('a lease ends with the token that requested it: the sidecar requests another account after its next login', async (t) => {
    const { bao, used, during } = await house(t, { terms: { default_ttl: '1h', max_ttl: '2h' }, role: { token_ttl: '10s', token_max_ttl: '11s' } });
    await during(18_000);
    assert.ok(used.every(({ known }) => known), 'never rejected');
    const logins = bao.audited('auth/approle/login').length;
    assert.ok(logins >= 2 && Math.abs(accounts(used).length - logins) <= 1, `${accounts(used).length} accounts of ${logins} logins`);
  });

  it('a revoked account is replaced within the request that meets the rejection', async (t) => {
    const { bao, fakes: { playmobile }, store, used, sends, version } = await house(t, { terms: { default_ttl: '1h', max_ttl: '2h' } });
    await sends();
    await bao.api('PUT', 'sys/leases/revoke-prefix/database/creds/sms', {});
    await eventually(async () => (await store.accounts()).length === 0);
    await sends();
    assert.deepEqual(used.map(({ known }) => known), [true, false, true]);
    assert.deepEqual([accounts(used).length, await version(), playmobile.delivered.length], [2, 2, 2]);
    assert.equal(bao.audited('database/creds/sms').length, 2);
  });

  it('a service that rejects every account does not cause a new one for each message', async (t) => {
    const { bao, fakes: { playmobile }, proxy } = await house(t, { terms: { default_ttl: '1h', max_ttl: '2h' } });
    playmobile.reject('credential-rejected');
    for (let n = 0; n < 20; n += 1) assert.equal((await sendAs(proxy, 'playmobile', { text: `Kod: ${n}` })).status, 503);
    assert.equal(bao.audited('database/creds/sms').length, 2, 'the first, and one in its place');
  });
});
