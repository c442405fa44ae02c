// The soak: the sidecar under load at every entrypoint, while services fail, backends hang up, credentials
// change and the config is reloaded. Prints its memory, descriptors and threads each minute, and at the end
// whether they stay flat. Run alone: node tests/node/soak.js --minutes 30
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { fault, generator } from './chaos.js';
import { authority, sidecar } from './lib/sidecar.js';
import { MESSAGES, SUCCESS, stage } from './lib/stage.js';
import { toml } from './lib/toml.js';

/** The last one has no faults. */
const SERVICES = ['playmobile', 'eskiz', 'twilio'];
const RELIABLE = 'twilio';
/** The hosts that a backend names in absolute form and in CONNECT. */
const HOSTS = { playmobile: 'send.smsxabar.uz', eskiz: 'notify.eskiz.uz', twilio: 'api.twilio.com' };
export const ENTRYPOINTS = ['base-url', 'absolute', 'connect', 'unix', 'control'];
/** One message in so many is an operator's. Each reads a file on a thread that stays for ten seconds: more would keep the threads of a peak for ever. */
const OPERATOR = 25;

/** Messages a second over all entrypoints, and how many may be open; a slow machine gets fewer, not a queue. */
const RATE = 50;
const AT_ONCE = 100;
/** Seconds between two changes of a credential, two reloads, and two renewals of the backends' connections. */
const EVERY = { credential: 20, reload: 30, connections: 10 };

/** By how much the median of the last third may exceed that of the second: a share and a number, whichever is more. */
export const LIMITS = { memory_kib: [0.05, 1024], descriptors: [0.15, 10], threads: [0, 2] };

/** Runs for `seconds`, takes `samples` of the process, and reports after each of `reports` parts. Returns samples and counts. */
export async function soak(t, { seconds, samples, reports, seed = 1, print = () => {} }) {
  const made = await stage(t, { services: SERVICES, provider: { timeout: '2s' }, start: false, config: { log: { level: 'info' } } });
  const listen = { unix: path.join(made.at, 'unix.sock') };
  const config = { ...made.config, listen, intercept: {} };
  config.intercept.ca = authority(made.at, config);
  const environment = { MALLOC_MMAP_THRESHOLD_: '131072' };
  const proxy = await sidecar(t, made.at, config, { env: environment });
  const random = generator(seed);
  const done = { faults: 0, credentials: 0, reloads: 0 };
  for (const service of SERVICES) {
    made.fakes[service].misbehave(({ path: at }) => {
      const chosen = service === RELIABLE || at.endsWith('/auth/login') ? undefined : fault(random());
      if (chosen) done.faults += 1;
      return chosen;
    });
  }
  const load = begin(proxy, random, config.intercept.ca.cert_file);
  const timers = [
    every(EVERY.credential, (count) => { changeCredential(made, count); done.credentials += 1; }),
    every(EVERY.reload, (count) => { writeFileSync(proxy.file, toml({ ...other(config, count), listen: proxy.listen })); proxy.reload(); done.reloads += 1; }),
    every(EVERY.connections, () => load.renewConnections()),
  ];
  const taken = [];
  print(HEAD);
  for (let part = 1; part <= reports; part += 1) {
    const mine = [];
    for (let n = 0; n < samples / reports; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds / samples));
      assert.equal(proxy.child.exitCode, null, `the sidecar has ended: ${proxy.output}`);
      mine.push(look(proxy.child.pid));
      forget(made.fakes);
    }
    taken.push(...mine);
    print(row(seconds / reports * part, mine, load.counts));
    assert.doesNotMatch(proxy.output, /panicked|canary|Kod: \d|998901234567/, 'a panic, a secret, a text or a number is in the log');
    proxy.output = '';
  }
  timers.forEach(clearInterval);
  await load.end();
  return { samples: taken, counts: load.counts, failures: load.failures, done };
}

function every(seconds, work) {
  let count = 0;
  return setInterval(() => work(count += 1), 1000 * seconds);
}

/** The fakes remember every request. */
function forget(fakes) {
  for (const fake of Object.values(fakes)) { fake.received.length = 0; fake.delivered.length = 0; }
}

function changeCredential({ fakes, vault }, count) {
  const service = SERVICES[count % 2];
  const password = `canary-${count}-password`;
  fakes[service].rotate({ password });
  fakes[service].expireTokens?.();
  vault.put(service, { password });
}

/** The config that is loaded next: every second one has another provider and another deadline. */
function other(config, count) {
  if (count % 2 === 0) return config;
  const providers = { ...config.providers, another: config.providers[RELIABLE] };
  return { ...config, providers, routes: [{ ...config.routes[0], providers: [...SERVICES, 'another'], deadline: '6s' }] };
}

/** What the kernel says of a process. */
function look(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (text, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)[1]);
  return { memory_kib: memory(pid) ?? field(status, 'VmRSS'), descriptors: descriptors(pid), threads: field(status, 'Threads') };
}

/** The proportional set size. The sidecar makes itself undumpable, so only root may read it, and the descriptors. */
function memory(pid) {
  try { return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]); } catch { return undefined; }
}

function descriptors(pid) {
  try { return readdirSync(`/proc/${pid}/fd`).length; } catch { return undefined; }
}

/** A new connection by CONNECT for each socket of the agent, with TLS inside. */
class Tunnels extends http.Agent {
  constructor(proxy, ca, options) {
    super(options);
    this.to = proxy.listen.proxy.split(':');
    this.ca = ca;
  }

  createConnection({ host }, done) {
    const [address, port] = this.to;
    http.request({ host: address, port, method: 'CONNECT', path: `${host}:443`, headers: { host: `${host}:443` }, agent: false })
      .on('connect', (_, socket) => {
        const inside = tls.connect({ socket, servername: host, ca: this.ca });
        inside.once('secureConnect', () => done(null, inside)).once('error', done);
      })
      .on('response', ({ statusCode }) => done(new Error(`CONNECT got ${statusCode}`)))
      .on('error', done).end();
  }
}

/** Sends at `RATE` until ended, at each entrypoint in turn; one in twenty backends hangs up. */
function begin(proxy, random, certificate) {
  const options = { keepAlive: true, maxSockets: AT_ONCE };
  const [direct, tunnels] = [new http.Agent(options), new Tunnels(proxy, readFileSync(certificate), options)];
  const counts = Object.fromEntries(ENTRYPOINTS.map((name) => [name, { accepted: 0, failed: 0, hungUp: 0 }]));
  const failures = {};
  const started = performance.now();
  let [sent, skipped] = [0, 0];
  const open = new Set();
  const one = async (n) => {
    const entrypoint = n % OPERATOR === 0 ? 'control' : ENTRYPOINTS[n % (ENTRYPOINTS.length - 1)];
    const service = SERVICES[Math.floor(random() * SERVICES.length)];
    const hangUp = random();
    const how = way(proxy, entrypoint, service, n);
    const agent = entrypoint === 'connect' ? tunnels : direct;
    const { result, why } = await send({ ...how, agent }, hangUp < 0.05 ? hangUp * 400 : undefined);
    counts[entrypoint][result] += 1;
    if (result === 'failed') failures[why] = (failures[why] ?? 0) + 1;
  };
  const tick = setInterval(() => {
    const due = Math.floor((performance.now() - started) / 1000 * RATE);
    while (sent + skipped < due) {
      if (open.size >= AT_ONCE) { skipped = due - sent; break; }
      const call = one(sent += 1).finally(() => open.delete(call));
      open.add(call);
    }
  }, 10);
  return {
    counts,
    failures,
    renewConnections: () => { for (const agent of [direct, tunnels]) for (const free of Object.values(agent.freeSockets)) for (const socket of free) socket.destroy(); },
    end: async () => { clearInterval(tick); await Promise.all(open); direct.destroy(); tunnels.destroy(); },
  };
}

/** How message `n` is sent to `service` through an entrypoint: what `http.request` needs, and when it counts as accepted. */
function way(proxy, entrypoint, service, n) {
  const [at, { auth, headers, body }] = MESSAGES[service]({ text: `Kod: ${n}` });
  const basic = auth && { authorization: `Basic ${Buffer.from(auth.join(':')).toString('base64')}` };
  const request = { method: 'POST', body, headers: { ...headers, ...basic }, ok: (reply) => reply.status < 300 && SUCCESS[service](reply) };
  const [host, port] = proxy.listen.proxy.split(':');
  switch (entrypoint) {
    case 'base-url': return { ...request, host, port, path: `/${service}${at}` };
    case 'absolute': return { ...request, host, port, path: `http://${HOSTS[service]}${at}`, headers: { ...request.headers, host: HOSTS[service] } };
    case 'connect': return { ...request, host: HOSTS[service], port: 443, path: at };
    case 'unix': return { ...request, socketPath: proxy.listen.unix, path: `/${service}${at}` };
    default: return {
      ...request, socketPath: proxy.listen.control, path: '/send', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ to: '+998901234567', text: `Kod: ${n}` }), ok: ({ body: text }) => JSON.parse(text).result === 'accepted',
    };
  }
}

/** One message; with `hangUp` the backend closes the connection after that many milliseconds. */
function send({ body, ok, ...options }, hangUp) {
  const headers = { ...options.headers, 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve) => {
    const request = http.request({ ...options, headers }, (res) => {
      let whole = '';
      res.setEncoding('utf8').on('data', (part) => { whole += part; }).on('error', ({ code }) => resolve(broken(code))).on('end', () => {
        clearTimeout(timer);
        const { statusCode: status, headers: all } = res;
        resolve(ok({ status, headers: all, body: whole }) ? { result: 'accepted' } : { result: 'failed', why: `status ${status}` });
      });
    });
    const timer = hangUp === undefined ? undefined : setTimeout(() => request.destroy(), hangUp);
    const broken = (code) => (hangUp === undefined ? { result: 'failed', why: code } : { result: 'hungUp' });
    request.on('error', ({ code, message }) => resolve(broken(code ?? message))).end(body);
  });
}

const HEAD = ['minute', 'memory KiB', 'descriptors', 'threads', 'accepted', 'failed', 'hung up'].map((name) => name.padStart(11)).join(' ');

function row(seconds, samples, counts) {
  const sum = (of) => Object.values(counts).reduce((all, count) => all + count[of], 0);
  const process = Object.keys(LIMITS).map((what) => median(samples, what) ?? '-');
  return [(seconds / 60).toFixed(1), ...process, sum('accepted'), sum('failed'), sum('hungUp')].map((value) => String(value).padStart(11)).join(' ');
}

function median(samples, what) {
  const sorted = samples.map((sample) => sample[what]).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/**
 * Whether each figure stays flat; the first third of the samples warms up. A figure grows if the median of the last third is above
 * that of the second by more than its limit, and the last third itself rises: a step that stays, as of a pool after a peak, is no growth.
 */
export function judge(samples) {
  const third = Math.floor(samples.length / 3);
  const middle = samples.slice(third, 2 * third);
  const last = samples.slice(-third);
  const halves = [last.slice(0, Math.floor(third / 2)), last.slice(Math.floor(third / 2))];
  return Object.entries(LIMITS).flatMap(([what, [share, number]]) => {
    const [before, after] = [median(middle, what), median(last, what)];
    if (before === undefined) return [];
    const limit = Math.max(before * share, number);
    const rise = median(halves[1], what) - median(halves[0], what);
    const flat = after - before <= limit || rise <= limit / 4;
    return [{ what, flat, says: `${what}: ${before} in the second third, ${after} in the last, which rises by ${rise}: ${flat ? 'flat' : 'it grows'}` }];
  });
}

const USAGE = `usage: node tests/node/soak.js [--minutes NUMBER] [--seed NUMBER]

Sends ${RATE} messages a second for NUMBER minutes (30) through all entrypoints of the sidecar that SMS_SIDECAR_BIN
names (target/debug/sms-sidecar), while services fail, backends hang up, credentials change and the config is
reloaded. Prints its memory, descriptors and threads each minute. The exit code is 0 if they stay flat and 1 if one
grows. Run it as root: only root may read the descriptors and the proportional memory of the sidecar.`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = { '--minutes': 30, '--seed': 1 };
  const words = process.argv.slice(2);
  for (let at = 0; at < words.length; at += 2) given[words[at] in given ? words[at] : 'wrong'] = Number(words[at + 1]);
  if ('wrong' in given || !Object.values(given).every((value) => Number.isInteger(value) && value > 0)) {
    console.log(USAGE);
    process.exit(words[0] === '--help' ? 0 : 2);
  }
  const [minutes, seed] = Object.values(given);
  test(`${minutes} minutes, seed ${seed}`, async (t) => {
    const { samples, counts, failures, done } = await soak(t, { seconds: 60 * minutes, samples: 30 * minutes, reports: minutes, seed, print: console.log });
    for (const [entrypoint, { accepted, failed, hungUp }] of Object.entries(counts)) console.log(`${entrypoint}: ${accepted} accepted, ${failed} failed, ${hungUp} hung up`);
    console.log(`failed: ${JSON.stringify(failures)}`);
    console.log(`${done.faults} faults, ${done.credentials} credentials changed, ${done.reloads} reloads`);
    const found = judge(samples);
    for (const { says } of found) console.log(says);
    assert.deepEqual(found.filter(({ flat }) => !flat), [], 'a figure grows');
  });
}
