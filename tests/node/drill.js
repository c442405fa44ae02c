// The rotation drill: credentials change repeatedly under load, at the service first or in the vault
// first, and no message is lost. One service takes its password with every message, the other a token
// from a login. Run alone: node tests/node/drill.js --rotations 1000
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import http from 'node:http';

import { SERVICES } from './fakes/index.js';
import { openbao, slowly } from './lib/openbao.js';
import { folder } from './lib/sidecar.js';
import { MESSAGES, SUCCESS, eventually, stage } from './lib/stage.js';

const APART = 300;
const RATE = 200;
const AT_ONCE = 100;
const ROTATED = ['playmobile', 'eskiz'];
const BACKUP = 'twilio';
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Rotates each of `services` `rotations` times under load; returns what the requests, the services and the vault saw. */
export async function drill(t, { rotations, services = ROTATED }) {
  const at = folder(t);
  const bao = await openbao(t, at);
  await bao.mount();
  for (const name of [...services, BACKUP]) await bao.put(name, SERVICES[name][1]);
  const between = await slowly(t, bao.port);
  const vault = { local: { openbao: { address: between.address, approle: await bao.approle(at), poll: '10m', timeout: '30s' } } };
  const routes = services.map((name) => ({ name, dialects: [name], providers: [name, BACKUP], deadline: '60s' }));
  const { proxy, fakes } = await stage(t, { services: [...services, BACKUP], vault, provider: { timeout: '20s' }, config: { routes } });
  const accounts = services.map((service) => ({ service, fake: fakes[service], watched: watch(fakes[service]), versions: [] }));
  const load = begin(proxy, services);
  await pause(1_000);
  for (let n = 1; n <= rotations; n += 1) {
    const next = `canary-${n}-${Math.random().toString(36).slice(2)}`;
    const since = performance.now();
    const before = accounts.map(({ service }) => between.reads(service));
    const provider = () => { for (const { fake, watched } of accounts) { watched.changed(); fake.rotate({ password: next }); fake.expireTokens?.(); } };
    const inVault = () => Promise.all(services.map((name) => bao.put(name, { ...SERVICES[name][1], password: next })));
    const order = n % 2 ? [provider, inVault] : [inVault, provider];
    await order[0]();
    await pause(APART);
    await order[1]();
    await Promise.all(accounts.map(async ({ service, watched, versions }, account) => {
      await eventually(async () => watched.state.good > n - 1, 30_000);
      versions.push({ first: n % 2 ? 'provider' : 'vault', reads: between.reads(service) - before[account], life: performance.now() - since });
    }));
  }
  await pause(1_000);
  return { calls: await load.end(), accounts, fakes, proxy };
}

/**
 * Changes the credential of one service, the route's only provider, `rotations` times under load: in the vault first, which the
 * sidecar notices at once, and at the service a moment later. Without a second provider, every rejection that is not healed is a loss.
 */
export async function vaultFirstDrill(t, { rotations, service }) {
  const { proxy, fakes: { [service]: fake }, vault } = await stage(t, { services: [service], provider: { timeout: '20s' }, route: { deadline: '60s' } });
  const watched = watch(fake);
  const load = begin(proxy, [service]);
  await pause(500);
  const early = [];
  for (let n = 1; n <= rotations; n += 1) {
    const next = `canary-${n}-${Math.random().toString(36).slice(2)}`;
    const before = watched.state.rejected.length + watched.state.logins.length;
    vault.put(service, { password: next });
    await eventually(async () => await proxy.metric('credential_version', { provider: service }) === n + 1, 30_000);
    await pause(APART);
    early.push(watched.state.rejected.length + watched.state.logins.length - before);
    watched.changed();
    fake.rotate({ password: next });
    fake.expireTokens?.();
    await eventually(async () => watched.state.good === n, 30_000);
  }
  await pause(500);
  return { calls: await load.end(), fake, early, proxy };
}

/** Asserts that the drill above lost nothing, and that the newest version was not sent again and again while it was wrong. */
export function judgeVaultFirst(t, { calls: { all, rate }, fake, early, proxy }) {
  const lost = all.filter(({ ok }) => !ok);
  assert.deepEqual(lost.slice(0, 3), [], `${lost.length} of ${all.length} calls were lost`);
  const texts = fake.delivered.map(({ text }) => text);
  assert.equal(texts.length, all.length, 'one message a call');
  assert.equal(new Set(texts).size, texts.length, 'a message was sent twice');
  assert.ok(early.every((sends) => sends >= 1 && sends <= AT_ONCE), `a wrong version was sent ${early} times`);
  assert.match(proxy.output, /version 2 of its credential was rejected; version 1 stays in use/);
  assert.ok(!/canary-\d/.test(proxy.output), 'a credential is in the log');
  t.diagnostic(`${all.length} calls at ${rate.toFixed(0)}/s through one provider, none lost, none twice; the newest version was rejected ${early.join(', ')} times before the service followed`);
}

/** Records at the service which message presented which credential or token and was rejected for it, and likewise for logins. */
function watch(fake) {
  const state = { count: 0, good: 0, rejected: [], logins: [] };
  const respond = fake.respond.bind(fake);
  fake.respond = (request) => {
    const reply = respond(request);
    const n = Number(/Kod(?:: |%3A\+|%3A%20)(\d+)/.exec(request.body)?.[1]);
    if (request.path.endsWith('/auth/login')) state.logins.push({ shown: /[\w-]*canary-[\w-]+/.exec(request.body)[0], status: reply.status });
    else if (reply.status === 401 && n) state.rejected.push({ n, shown: request.headers.authorization });
    else if (reply.status < 300 && n) state.good = state.count;
    return reply;
  };
  return { changed: () => { state.count += 1; }, state };
}

/** Sends of a credential that began after another request had already returned from its rejection: timing does not excuse them. */
function repeated(rejected, all) {
  const calls = new Map(all.map((call) => [call.n, call]));
  const known = new Map();
  for (const { n, shown } of rejected) known.set(shown, Math.min(known.get(shown) ?? Infinity, calls.get(n).ended));
  return rejected.filter(({ n, shown }) => calls.get(n).began > known.get(shown)).map(({ n }) => n);
}

/** 200 requests a second at each service, each with a text of its own, until ended; a slow machine gets fewer, not a queue. */
function begin(proxy, services) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 400 });
  const calls = [];
  const started = performance.now();
  let [sent, open, skipped] = [0, 0, 0];
  const one = (n) => new Promise((resolve) => {
    const service = services[n % services.length];
    const [path, { auth, headers, body }] = MESSAGES[service]({ text: `Kod: ${n}` });
    const basic = auth && { authorization: `Basic ${Buffer.from(auth.join(':')).toString('base64')}` };
    const at = performance.now();
    const request = http.request(`${proxy.url}/${service}${path}`, { method: 'POST', agent, headers: { ...headers, 'content-length': Buffer.byteLength(body), ...basic } }, (res) => {
      let whole = '';
      res.setEncoding('utf8').on('data', (part) => { whole += part; }).on('end', () => {
        const reply = { status: res.statusCode, headers: res.headers, body: whole };
        resolve({ n, service, began: at, ended: performance.now(), took: performance.now() - at, ok: SUCCESS[service](reply), by: res.headers['x-sms-sidecar-provider'], attempts: Number(res.headers['x-sms-sidecar-attempts']), says: `${res.statusCode} ${whole}` });
      });
    });
    request.on('error', (error) => resolve({ n, service, began: at, ended: performance.now(), took: performance.now() - at, ok: false, says: String(error) }));
    request.end(body);
  });
  const tick = setInterval(() => {
    const due = Math.floor((performance.now() - started) / 1000 * RATE * services.length);
    while (sent + skipped < due) {
      if (open >= AT_ONCE) { skipped = due - sent; break; }
      open += 1;
      calls.push(one(sent += 1).finally(() => { open -= 1; }));
    }
  }, 5);
  return { end: async () => { clearInterval(tick); const all = await Promise.all(calls); agent.destroy(); return { all, rate: sent / (performance.now() - started) * 1000 }; } };
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

/** Asserts what the drill promises; prints what healing cost. */
export function judge(t, { calls: { all, rate }, accounts, fakes, proxy }) {
  const lost = all.filter(({ ok }) => !ok);
  assert.deepEqual(lost.slice(0, 3), [], `${lost.length} of ${all.length} calls were lost`);
  const texts = Object.values(fakes).flatMap(({ delivered }) => delivered.map(({ text }) => text));
  assert.equal(texts.length, all.length, 'one message a call');
  assert.equal(new Set(texts).size, texts.length, 'a message was sent twice');
  t.diagnostic(`${all.length} calls at ${rate.toFixed(0)}/s, ${fakes[BACKUP].delivered.length} by the backup, none lost, none twice`);
  for (const account of accounts) judgeAccount(t, all.filter(({ service }) => service === account.service), account);
  assert.ok(!/canary-\d/.test(proxy.output), 'a credential is in the log');
}

function judgeAccount(t, calls, { service, watched: { state: { rejected, logins } }, versions }) {
  assert.deepEqual(repeated(rejected, calls).slice(0, 5), [], `${service}: sends repeated a credential that was known to be rejected`);
  judgeLogins(service, logins, versions);
  const excess = versions.filter(({ reads, life }) => reads > 1 + Math.ceil(life / LOOK));
  assert.deepEqual(excess.slice(0, 3), [], `${service}: rejections cause one vault read a version; besides, the entry is read every five seconds`);
  const plain = calls.filter(({ attempts }) => attempts === 1).map(({ took }) => took).sort((a, b) => a - b);
  const healed = calls.filter(({ attempts }) => attempts > 1).map(({ took }) => took - at(plain, 0.5)).sort((a, b) => a - b);
  assert.ok(healed.length > 0 && rejected.length >= versions.length, `${service}: ${rejected.length} rejections, ${healed.length} healed calls`);
  const ms = (value) => `${value.toFixed(1)} ms`;
  t.diagnostic(`${service}: ${versions.length} rotations, ${calls.length} calls, ${rejected.length} rejected sends, ${logins.length} logins, ${logins.filter(({ status }) => status === 401).length} of them rejected, ${healed.length} calls healed; added latency p50 ${ms(at(healed, 0.5))}, p95 ${ms(at(healed, 0.95))}, max ${ms(healed.at(-1))}; a plain call p50 ${ms(at(plain, 0.5))}`);
}

/** One login serves all requests that wait for it: each password yields one token, and an outdated password is presented once, if the vault has no newer one yet. */
function judgeLogins(service, logins, versions) {
  if (!logins.length) return;
  const shown = (granted) => logins.filter(({ status }) => (status === 200) === granted).map(({ shown }) => shown);
  for (const [granted, what] of [[false, 'repeated a password that was rejected'], [true, 'were more than one for a password']]) {
    const all = shown(granted);
    assert.deepEqual(all.filter((password, at) => all.indexOf(password) !== at).slice(0, 3), [], `${service}: logins ${what}`);
  }
  assert.equal(shown(true).length, versions.length + 1, `${service}: one login for the start and for each change`);
  const ahead = versions.filter(({ first }) => first === 'provider').length;
  assert.ok(shown(false).length <= ahead, `${service}: ${shown(false).length} logins were rejected, and ${ahead} times the vault did not know better`);
}

/** While a provider is quarantined its entry is read every five seconds, at most a fifth earlier. */
const LOOK = 4_000;

const USAGE = `usage: node tests/node/drill.js [--rotations NUMBER]

Changes the credential of each of two services NUMBER times (1000) under load, and prints what it cost. One
rotation takes about three seconds: those that the service makes first wait for the next look at the vault.`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [option, number, ...rest] = process.argv.slice(2);
  const rotations = option === undefined ? 1000 : Number(number);
  const understood = [undefined, '--rotations'].includes(option) && rest.length === 0 && Number.isInteger(rotations) && rotations > 0;
  if (!understood) {
    console.log(USAGE);
    process.exit(option === '--help' ? 0 : 2);
  }
  test(`${rotations} rotations`, { timeout: rotations * 30_000 }, async (t) => judge(t, await drill(t, { rotations })));
}
