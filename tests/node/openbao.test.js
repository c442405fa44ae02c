// Credentials from a real OpenBao with storage on disk: every way to log in, and every failure that a
// vault server causes its clients. The last good values stay in use, and each failure has its own result.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';

import { SERVICES } from './fakes/index.js';
import { READS, agent, openbao, slowly } from './lib/openbao.js';
import { BINARY, folder, sidecar } from './lib/sidecar.js';
import { delivered, eventually, sendAs, stage } from './lib/stage.js';
import { testAuthority } from './lib/tls.js';
import { checked, counted, reportedEverywhere } from './lib/trouble.js';

const ENTRY = SERVICES.playmobile[1];
const CANARIES = /playmobile-canary|the-new-one/;

/** A server with one entry, and a sidecar that reads it with `login`. */
async function house(t, { login, vault = {}, before = () => {}, ...more } = {}) {
  const at = folder(t);
  const tls = more.tls && testAuthority(at);
  const bao = await openbao(t, at, { tls, audit: more.audit });
  await bao.mount();
  await bao.put('playmobile', ENTRY);
  const own = login ? await login(bao, at) : { approle: await bao.approle(at) };
  await before(bao, at);
  const openbaoTable = { address: bao.address, poll: '1s', timeout: '2s', ca_file: tls?.caFile, ...own, ...vault };
  const made = await stage(t, { services: ['playmobile'], vault: { local: { openbao: openbaoTable } }, route: { duplicate_window: '0s' }, start: more.start, config: more.config });
  let n = 0;
  const home = { ...made, at, bao };
  home.sends = async () => {
    const answer = await sendAs(home.proxy, 'playmobile', { text: `Kod: ${n += 1}` });
    assert.equal(answer.status, 200, `${answer.body} ${home.proxy.output.slice(-3_000)}`);
    delivered(answer, 'playmobile');
  };
  home.reads = async (result) => await home.proxy.metric('vault_reads_total', { vault: 'local', result }) ?? 0;
  return home;
}

/** A provider whose password changed heals with the vault's current value. */
async function changes({ bao, fakes: { playmobile }, proxy, sends }, password) {
  playmobile.rotate({ password });
  await bao.put('playmobile', { ...ENTRY, password });
  await eventually(async () => await proxy.metric('provider_state', { provider: 'playmobile', state: 'healthy' }) === 1
    && await proxy.metric('credential_version', { provider: 'playmobile' }) >= 2, 30_000);
  await sends();
}

function quiet({ proxy }, ...secrets) {
  assert.doesNotMatch(proxy.output, CANARIES);
  for (const secret of secrets) assert.ok(!proxy.output.includes(secret), 'a secret of the login is in the log');
}

/** A token with the read policy, in a file. */
function tokenFile(options = {}) {
  return async (bao, at) => {
    await bao.policy('sms', READS);
    const { auth } = await bao.api('POST', 'auth/token/create', { policies: ['sms'], ...options });
    const file = path.join(at, 'token');
    writeFileSync(file, `${auth.client_token}\n`, { mode: 0o600 });
    return { token_file: file };
  };
}

const NOW = { iat: Math.floor(Date.now() / 1000) - 60, nbf: Math.floor(Date.now() / 1000) - 60, exp: Math.floor(Date.now() / 1000) + 3_600 };
const base64url = (value) => Buffer.from(value).toString('base64url');
function jwt(key, claims) {
  const head = `${base64url(JSON.stringify({ alg: 'RS256', typ: 'JWT' }))}.${base64url(JSON.stringify(claims))}`;
  return `${head}.${crypto.sign('RSA-SHA256', Buffer.from(head), key).toString('base64url')}`;
}

/** Checks in the server's audit log how tokens of five seconds, renewable up to twenty, were renewed and replaced. */
function lives(bao) {
  const [logins, renewals] = [bao.audited('auth/approle/login'), bao.audited('auth/token/renew-self')];
  assert.ok(logins.length >= 6, `${logins.length} logins in two minutes, with tokens of twenty seconds at the most`);
  const gaps = [];
  for (const [n, { auth: { accessor }, time, error }] of logins.entries()) {
    assert.ok(!error, 'a login failed');
    let [granted, since] = [5, time];
    const own = renewals.filter(({ token, error: failed }) => token === accessor && !failed);
    for (const renewal of own) {
      assert.ok(renewal.time - since >= granted * 600, `renewed ${renewal.time - since} ms after it was given for ${granted} s: not before two thirds, less the dice`);
      gaps.push((renewal.time - since) / granted / 10);
      [granted, since] = [renewal.auth.token_ttl, renewal.time];
    }
    // The last one is still alive; on a machine that stalled for seconds one may have expired.
    const left = granted * 1_000 - ((logins[n + 1]?.time ?? Infinity) - since);
    assert.ok(granted < 2.5 || left <= 0, `login ${n + 2} although the token before, renewed ${own.length} times, had ${left} ms of ${granted} s left`);
  }
  assert.ok(renewals.length > 2 * logins.length, `${renewals.length} renewals for ${logins.length} logins`);
  return `${logins.length} logins and ${renewals.length} renewals, half of them before ${gaps.sort((a, b) => a - b)[gaps.length >> 1].toFixed(0)} % of what was granted`;
}

describe('OpenBao', { concurrency: 4 }, () => {
  // The longest test first: all others run beside it.
  it('tokens of five seconds for two minutes: renewed while they can be, never forbidden, never lost', { timeout: 240_000 }, async (t) => {
    const home = await house(t, { audit: true, login: async (bao, at) => ({ approle: await bao.approle(at, { role: { token_ttl: '5s', token_max_ttl: '20s' } }) }) });
    const end = Date.now() + 120_000;
    let rotations = 0;
    while (Date.now() < end) {
      await home.sends();
      await new Promise((resolve) => setTimeout(resolve, 500));
      if (Date.now() > end - 120_000 + (rotations + 1) * 30_000) await changes(home, `the-new-one-${rotations += 1}`);
    }
    assert.ok(rotations >= 3);
    for (const trouble of ['forbidden', 'unreachable', 'timeout', 'failed', 'not-found']) assert.equal(await home.reads(trouble), 0, trouble);
    assert.ok(await home.reads('unchanged') > 60);
    assert.equal(home.fakes.playmobile.delivered.length, home.fakes.playmobile.received.filter(({ status }) => status === 200).length);
    t.diagnostic(lives(home.bao));
  });

  it('AppRole and KV v2: a credential is read, changes while in use and heals', async (t) => {
    const home = await house(t);
    await home.sends();
    await changes(home, 'the-new-one');
    quiet(home, readFileSync(path.join(home.at, 'sms.secret'), 'utf8'));
  });

  it('nothing is written to disk: the sidecar runs where no file may grow by a byte', async (t) => {
    const home = await house(t, { start: false });
    const wrapper = path.join(home.at, 'limited');
    writeFileSync(wrapper, `#!/bin/sh\nulimit -f 0 || exit 9\n(echo x > ${wrapper}.grown) 2>/dev/null && exit 8\nexec ${BINARY} "$@"\n`, { mode: 0o700 });
    home.proxy = await sidecar(t, home.at, home.config, { binary: wrapper });
    await home.sends();
    await home.bao.seal();
    await counted(home.proxy, 'sealed');
    await home.sends();
    await home.bao.unseal();
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
    assert.equal(home.proxy.child.exitCode ?? home.proxy.child.signalCode, null, 'it lives');
  });

  it('a 401 causes a vault read at once and heals within the request', async (t) => {
    const home = await house(t, { vault: { poll: '10m' } });
    await home.sends();
    home.fakes.playmobile.rotate({ password: 'the-new-one' });
    await home.bao.put('playmobile', { ...ENTRY, password: 'the-new-one' });
    await home.sends();
    assert.deepEqual(home.fakes.playmobile.received.map(({ status }) => status), [200, 401, 200]);
  });

  it('KV v1 is detected, or configured; a namespace is used', async (t) => {
    const at = folder(t);
    const bao = await openbao(t, at);
    await bao.mount(1, 'old');
    await bao.api('POST', 'old/playmobile', ENTRY);
    await bao.policy('sms', 'path "old/*" { capabilities = ["read"] }');
    const inside = { headers: { 'x-vault-namespace': 'team' } };
    await bao.api('POST', 'sys/namespaces/team', {});
    await bao.mount(2, 'secret', inside);
    await bao.put('playmobile', ENTRY, 'secret', inside);
    await bao.policy('sms', READS, inside);
    const tokens = {};
    for (const [name, options] of Object.entries({ root: {}, inside })) {
      tokens[name] = path.join(at, name);
      writeFileSync(tokens[name], (await bao.api('POST', 'auth/token/create', { policies: ['sms'] }, options)).auth.client_token);
    }
    for (const own of [{ mount: 'old', token_file: tokens.root }, { mount: 'old', kv: 1, token_file: tokens.root }, { kv: 2, namespace: 'team', token_file: tokens.inside }]) {
      const { proxy } = await stage(t, { services: ['playmobile'], vault: { local: { openbao: { address: bao.address, ...own } } } });
      delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
    }
  });

  it('an agent\'s sink file: a real agent renews and replaces the token', async (t) => {
    let sink;
    const home = await house(t, { login: async (bao, at) => { sink = await agent(t, at, bao, await bao.approle(at, { role: { token_ttl: '6s', token_max_ttl: '9s' } })); return { token_file: sink }; } });
    const first = readFileSync(sink, 'utf8');
    await home.sends();
    await eventually(() => readFileSync(sink, 'utf8') !== first, 60_000);
    await eventually(async () => (await home.bao.ask('GET', 'auth/token/lookup-self', undefined, { token: first })).status === 403, 60_000);
    await changes(home, 'the-new-one');
    quiet(home, first, readFileSync(sink, 'utf8'));
  });

  it('a change of a token file takes effect', async (t) => {
    const home = await house(t, { login: tokenFile({ ttl: '1h' }) });
    await home.sends();
    const [file, old] = [path.join(home.at, 'token'), readFileSync(path.join(home.at, 'token'), 'utf8').trim()];
    await home.bao.api('POST', 'auth/token/revoke', { token: old });
    await counted(home.proxy, 'forbidden');
    await home.sends();
    checked(home.proxy, /rejects the sidecar's token.*put a fresh one into the file/s);
    const { auth } = await home.bao.api('POST', 'auth/token/create', { policies: ['sms'] });
    writeFileSync(`${file}.new`, auth.client_token, { mode: 0o600 });
    renameSync(`${file}.new`, file);
    await home.proxy.waitForOutput(/can be read again/);
    await changes(home, 'the-new-one');
    quiet(home, old, auth.client_token);
  });

  it('a wrapped secret id is unwrapped once, survives a reload, and a used one has its own error', async (t) => {
    const home = await house(t, { login: async (bao, at) => ({ approle: { ...await bao.approle(at, { wrap: '5m', role: { token_ttl: '2s', token_max_ttl: '4s' } }), wrapped: true } }) });
    await home.sends();
    home.proxy.reload();
    await eventually(async () => await home.proxy.metric('reloads_total', { result: 'ok' }) === 1);
    const before = await home.reads('unchanged');
    await eventually(async () => await home.reads('unchanged') > before + 6, 30_000);
    assert.equal(await home.reads('forbidden'), 0, 'several logins, one unwrapping');
    checked(home.proxy, /wrapped secret id was used already or has run out/);
  });

  it('JWT: a token signed by a key that the server trusts', async (t) => {
    const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    const home = await house(t, {
      login: async (bao, at) => {
        await bao.policy('sms', READS);
        await bao.api('POST', 'sys/auth/jwt', { type: 'jwt' });
        await bao.api('POST', 'auth/jwt/config', { jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })] });
        await bao.api('POST', 'auth/jwt/role/sms', { role_type: 'jwt', user_claim: 'sub', bound_audiences: ['bao'], token_policies: ['sms'] });
        const file = path.join(at, 'jwt');
        writeFileSync(file, jwt(privateKey, { sub: 'sidecar', aud: 'bao', ...NOW }));
        return { jwt: { role: 'sms', jwt_file: file } };
      },
    });
    await home.sends();
    writeFileSync(path.join(home.at, 'jwt'), jwt(privateKey, { sub: 'sidecar', aud: 'elsewhere', ...NOW }));
    checked(home.proxy, /rejects the sidecar's JWT login: status 400/);
  });

  it('Kubernetes: a service account, reviewed by a stand-in for the cluster\'s API', async (t) => {
    const reviewed = [];
    const cluster = http.createServer((req, res) => {
      let body = '';
      req.on('data', (part) => { body += part; }).on('end', () => {
        const { spec } = JSON.parse(body);
        reviewed.push(req.url);
        const user = { username: 'system:serviceaccount:sms:sidecar', uid: '1', groups: [] };
        res.writeHead(201, { 'content-type': 'application/json' });
        res.end(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', status: { authenticated: spec.token === account, audiences: spec.audiences, user } }));
      });
    });
    await new Promise((resolve) => { cluster.listen(0, '127.0.0.1', resolve); });
    t.after(() => { cluster.closeAllConnections(); cluster.close(); });
    const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
    const account = jwt(privateKey, {
      iss: 'kubernetes/serviceaccount', sub: 'system:serviceaccount:sms:sidecar', aud: ['bao'], ...NOW,
      'kubernetes.io': { namespace: 'sms', serviceaccount: { name: 'sidecar', uid: '1' } },
    });
    const home = await house(t, {
      login: async (bao, at) => {
        await bao.policy('sms', READS);
        await bao.api('POST', 'sys/auth/cluster', { type: 'kubernetes' });
        await bao.api('POST', 'auth/cluster/config', { kubernetes_host: `http://127.0.0.1:${cluster.address().port}`, token_reviewer_jwt: account, kubernetes_ca_cert: readFileSync(testAuthority(at, 'cluster').caFile, 'utf8'), disable_local_ca_jwt: true, disable_iss_validation: true });
        await bao.api('POST', 'auth/cluster/role/sms', { bound_service_account_names: ['sidecar'], bound_service_account_namespaces: ['sms'], token_policies: ['sms'] });
        const file = path.join(at, 'account');
        writeFileSync(file, account);
        return { kubernetes: { role: 'sms', jwt_file: file, mount: 'cluster' } };
      },
    });
    await home.sends();
    assert.ok(reviewed.length >= 1 && reviewed.every((url) => url.includes('tokenreviews')), String(reviewed));
  });

  it('sealed: the last good values stay in use, every output reports it, and unsealing recovers it', async (t) => {
    const home = await house(t);
    await home.sends();
    await home.bao.seal();
    await reportedEverywhere(home.proxy, 'sealed', /is sealed; unseal it with `bao operator unseal`/);
    await home.sends();
    await home.bao.unseal();
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
    quiet(home);
  });

  it('down and restarted: nothing is lost, and a sealed server at the start does not prevent one', async (t) => {
    const home = await house(t);
    await home.sends();
    await home.bao.stop();
    await reportedEverywhere(home.proxy, 'unreachable', /cannot be reached: no connection/);
    await home.sends();
    await home.bao.restart();
    await counted(home.proxy, 'sealed');
    await home.sends();
    await home.bao.unseal();
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
  });

  it('a sidecar that starts before its vault is unsealed serves, and sends once it can', async (t) => {
    const home = await house(t, { before: (bao) => bao.seal() });
    const early = await sendAs(home.proxy, 'playmobile');
    assert.equal(early.status, 503);
    assert.equal(early.headers['x-sms-sidecar-cause'], 'vault-unavailable');
    await home.bao.unseal();
    await eventually(async () => await home.proxy.metric('credential_version', { provider: 'playmobile' }) === 1, 30_000);
    await home.sends();
  });

  it('a token that is revoked is replaced by a login, once', async (t) => {
    const home = await house(t);
    await home.sends();
    const { data: { keys } } = await home.bao.api('LIST', 'auth/token/accessors');
    for (const accessor of keys) {
      const { data } = await home.bao.api('POST', 'auth/token/lookup-accessor', { accessor });
      if (data.path === 'auth/approle/login') await home.bao.api('POST', 'auth/token/revoke-accessor', { accessor });
    }
    const before = await home.reads('unchanged');
    await eventually(async () => await home.reads('unchanged') > before + 1);
    assert.equal(await home.reads('forbidden'), 0);
    await changes(home, 'the-new-one');
  });

  it('policy removed: forbidden, the last good values stay in use, and restoring it recovers', async (t) => {
    const home = await house(t);
    await home.sends();
    await home.bao.policy('sms', 'path "other/*" { capabilities = ["read"] }');
    await reportedEverywhere(home.proxy, 'forbidden', /does not let the sidecar's token read `playmobile`; give its policy `read`/);
    await home.sends();
    const logins = async () => (await home.bao.api('LIST', 'auth/token/accessors')).data.keys.length;
    const before = await logins();
    await counted(home.proxy, 'forbidden');
    await counted(home.proxy, 'forbidden');
    assert.ok(await logins() <= before, 'a policy is no reason to log in again');
    await home.bao.policy('sms', READS);
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
  });

  it('path deleted and undeleted, version rolled back', async (t) => {
    const home = await house(t);
    await home.sends();
    await home.bao.api('DELETE', 'secret/data/playmobile');
    await counted(home.proxy, 'not-found');
    await home.sends();
    checked(home.proxy, /newest version was deleted; bring it back \(`bao kv undelete`/);
    await home.bao.api('POST', 'secret/undelete/playmobile', { versions: [1] });
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
    home.fakes.playmobile.rotate({ password: ENTRY.password });
    const { data: { data: first } } = await home.bao.api('GET', 'secret/data/playmobile?version=1');
    await home.bao.put('playmobile', first);
    await eventually(async () => await home.proxy.metric('credential_version', { provider: 'playmobile' }) === 3, 30_000);
    await home.sends();
    await home.bao.api('DELETE', 'secret/metadata/playmobile');
    await counted(home.proxy, 'not-found');
    checked(home.proxy, /nothing was ever written there, or all of it was deleted/);
    await home.sends();
  });

  it('slow by ten seconds: requests do not wait, the read is a timeout, and it recovers', async (t) => {
    let proxy;
    const home = await house(t, { login: async (bao, at) => { proxy = await slowly(t, bao.port); return { address: proxy.address, approle: await bao.approle(at) }; } });
    await home.sends();
    proxy.delay = 10_000;
    await counted(home.proxy, 'timeout');
    const began = Date.now();
    await home.sends();
    assert.ok(Date.now() - began < 2_000, 'a call waits for no vault that is slow');
    await reportedEverywhere(home.proxy, 'timeout', /did not answer within 2s/);
    proxy.delay = 0;
    await home.proxy.waitForOutput(/can be read again/, 40_000);
    await changes(home, 'the-new-one');
  });

  it('TLS: its own CA is trusted; another one is not, with the result tls', async (t) => {
    const home = await house(t, { tls: true });
    await home.sends();
    const own = path.join(home.at, 'upstream-ca.pem');
    const right = readFileSync(own);
    testAuthority(home.at, 'stranger');
    writeFileSync(own, readFileSync(path.join(home.at, 'stranger-ca.pem')));
    await home.sends();
    await reportedEverywhere(home.proxy, 'tls', /is not trusted: its certificate is from an issuer that is not trusted/);
    writeFileSync(own, right);
    await home.proxy.waitForOutput(/can be read again/, 30_000);
    await changes(home, 'the-new-one');
  });

  it('KV v1 with a time to live is read again before it expires', async (t) => {
    const at = folder(t);
    const bao = await openbao(t, at);
    await bao.mount(1);
    await bao.api('POST', 'secret/playmobile', { ...ENTRY, ttl: '3s' });
    const files = await bao.approle(at);
    const { proxy } = await stage(t, { services: ['playmobile'], vault: { local: { openbao: { address: bao.address, approle: files } } } });
    await eventually(async () => await proxy.metric('vault_reads_total', { vault: 'local', result: 'unchanged' }) >= 3, 20_000);
    delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  });

  it('a field that is not text is an error only for the provider that uses it', async (t) => {
    const home = await house(t);
    await home.bao.put('playmobile', { ...ENTRY, port: 5 });
    await home.sends();
    await home.bao.put('playmobile', { username: ENTRY.username, password: { nested: 'the-new-one' } });
    await counted(home.proxy, 'malformed');
    await home.sends();
    checked(home.proxy, /its field `password` is a nested object, not text/);
    quiet(home);
  });
});
