// The chaos run: thousands of messages through services that fail in every way at once, while backends
// repeat themselves and hang up and credentials change. Afterwards what each service took is compared
// with what each backend was told. Run alone: node tests/node/chaos.js --requests 20000 --seed 1
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import http from 'node:http';

import { MESSAGES, SUCCESS, stage } from './lib/stage.js';

/** The last one has no faults, so that with `failover` no message may be lost. */
const SERVICES = ['playmobile', 'eskiz', 'twilio'];
const RELIABLE = 'twilio';
const AT_ONCE = 50;
const ROTATE_EVERY = 400;

/** Each fault with its share of the requests; the rest are served. `taken` ones deliver the message, and the reply is lost. */
const FAULTS = [
  [0.002, () => ({ reject: 'credential-rejected' })],
  [0.004, () => ({ reject: 'throttled' })],
  [0.01, () => ({ reject: 'provider-fault' })],
  [0.01, () => ({ reply: { status: 503, headers: {}, body: 'Service Unavailable' } })],
  [0.01, () => ({ reply: { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>maintenance</html>' } })],
  [0.01, () => ({ raw: 'HTTP/1.1 2' })],
  [0.01, () => ({ raw: '' })],
  [0.01, () => ({ raw: '\u0016\u0003\u0001garbage\r\n\r\n' })],
  [0.02, () => ({ lose: true })],
  [0.02, () => ({ cut: true })],
  [0.003, () => ({ hang: true })],
];

/** So long that a fake on a busy machine answers in time: an answer that comes late is a doubt of the sidecar's, not of the fake's. */
const TIMEOUT = '20s';

/** Runs `requests` messages over a route with `onUnknown`; returns what every party saw. Everything random comes from `seed`. */
export async function chaos(t, { requests, seed, onUnknown }) {
  const { proxy, fakes, vault } = await stage(t, {
    services: SERVICES, provider: { timeout: TIMEOUT }, route: { on_unknown: onUnknown, deadline: '90s', duplicate_window: '10m' },
  });
  const random = generator(seed);
  const attempts = new Map();
  for (const service of SERVICES) observe(service, fakes[service], attempts, random);
  const rotate = (count) => {
    const service = SERVICES[count % 2];
    const password = `canary-${seed}-${count}`;
    fakes[service].rotate({ password });
    fakes[service].expireTokens?.();
    vault.put(service, { password });
  };
  const calls = await load(proxy, { requests, random, rotate });
  return { proxy, calls, attempts };
}

/** Chooses the faults of a fake, and records each message that reached it: whether it was taken and whether the whole reply left. */
function observe(service, fake, attempts, random) {
  let chosen;
  fake.misbehave(({ path }) => {
    chosen = service === RELIABLE || path.endsWith('/auth/login') ? undefined : fault(random());
    return chosen;
  });
  const respond = fake.respond.bind(fake);
  fake.respond = (request) => {
    const doubtful = Boolean(chosen?.lose || chosen?.cut || chosen?.hang);
    const before = fake.delivered.length;
    const reply = respond(request);
    for (const { text } of fake.delivered.slice(before)) {
      const n = Number(/^Kod: (\d+)$/.exec(text)[1]);
      attempts.set(n, [...attempts.get(n) ?? [], { service, doubtful, at: performance.now() }]);
    }
    return reply;
  };
}

export function fault(at) {
  let below = 0;
  for (const [share, make] of FAULTS) {
    below += share;
    if (at < below) return make();
  }
  return undefined;
}

/** Mulberry32: a small generator whose whole state is the seed. */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `AT_ONCE` backends, one message after another each; one in ten is repeated, during or after its answer, and one in twenty hangs up. */
async function load(proxy, { requests, random, rotate }) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 * AT_ONCE });
  const calls = [];
  let next = 0;
  const backend = async () => {
    while (next < requests) {
      const n = next += 1;
      if (n % ROTATE_EVERY === 0) rotate(n / ROTATE_EVERY);
      const service = SERVICES[Math.floor(random() * SERVICES.length)];
      const [repeat, hangUp] = [random(), random()];
      const first = send(proxy, agent, { n, service, hangUp: hangUp < 0.05 ? hangUp * 400 : undefined });
      if (repeat < 0.05) calls.push(await send(proxy, agent, { n, service }));
      calls.push(await first);
      if (repeat > 0.95) calls.push(await send(proxy, agent, { n, service }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, backend));
  agent.destroy();
  return calls;
}

/** One message; with `hangUp` the backend closes the connection after that many milliseconds. */
function send(proxy, agent, { n, service, hangUp }) {
  const [path, { auth, headers, body }] = MESSAGES[service]({ text: `Kod: ${n}` });
  const basic = auth && { authorization: `Basic ${Buffer.from(auth.join(':')).toString('base64')}` };
  return new Promise((resolve) => {
    const request = http.request(`${proxy.url}/${service}${path}`, { method: 'POST', agent, headers: { ...headers, 'content-length': Buffer.byteLength(body), ...basic } }, (res) => {
      let whole = '';
      res.setEncoding('utf8').on('data', (part) => { whole += part; }).on('end', () => {
        clearTimeout(timer);
        const reply = { status: res.statusCode, headers: res.headers, body: whole };
        resolve({ n, service, ended: performance.now(), status: reply.status, ok: reply.status < 300 && SUCCESS[service](reply), says: `${reply.status} ${whole}` });
      }).on('error', () => resolve({ n, service, hungUp: true }));
    });
    const timer = hangUp === undefined ? undefined : setTimeout(() => request.destroy(), hangUp);
    request.on('error', (error) => resolve(hangUp === undefined ? { n, service, ended: performance.now(), status: 0, ok: false, says: String(error) } : { n, service, hungUp: true }));
    request.end(body);
  });
}

/** Asserts what is promised of every message; `onUnknown` as the run had it. */
export async function judge(t, { proxy, calls, attempts }, { requests, onUnknown }) {
  const answered = calls.filter(({ hungUp }) => !hungUp);
  const none = (violations, what) => assert.deepEqual(violations.slice(0, 3), [], `${violations.length} calls: ${what}`);
  none(answered.filter(({ status, ok }) => !ok && ![503, 504].includes(status)), 'answered by neither success, 503 nor 504');
  none(answered.filter(({ n, ok }) => ok && !attempts.has(n)), 'told that the message is accepted, and no service has it');
  none(answered.filter(({ n, status, ended }) => status === 503 && attempts.get(n)?.some(({ at }) => at < ended)), 'told that nothing was sent, and a service has it');
  const messages = [...attempts].map(([n, taken]) => ({ n, taken }));
  none(messages.filter(({ taken }) => taken.slice(0, -1).some(({ doubtful }) => !doubtful)), 'sent again after a service had confirmed it');
  none(messages.filter(({ taken }) => new Set(taken.map(({ service }) => service)).size < taken.length), 'sent twice to one service');
  const doubled = messages.filter(({ taken }) => taken.length > 1);
  if (onUnknown === 'stop') none(doubled, 'sent again after a doubt, where the route says stop');
  else none(answered.filter(({ ok }) => !ok), 'lost, although one service had no faults');
  const counted = await proxy.metric('possible_duplicates_total') ?? 0;
  assert.ok(counted >= doubled.length, `${doubled.length} messages were sent twice, and ${counted} possible duplicates were counted`);
  assert.doesNotMatch(proxy.output, /canary|Kod: \d|998901234567|panicked/, 'a secret, text or number is in the log, or something panicked');
  const taken = SERVICES.map((name) => `${messages.filter((message) => message.taken.some(({ service }) => service === name)).length} by ${name}`);
  t.diagnostic(`${requests} messages (${taken.join(', ')}), ${calls.length} calls, ${calls.length - answered.length} hung up, ${answered.filter(({ ok }) => !ok).length} told 503 or 504, ${doubled.length} sent twice after a doubt`);
}

const USAGE = `usage: node tests/node/chaos.js [--requests NUMBER] [--seed NUMBER]

Sends NUMBER messages (20000) through services that fail in every way, once with on_unknown = "failover" and once
with "stop", and compares what the services took with what the backends were told.`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = { '--requests': 20_000, '--seed': 1 };
  const words = process.argv.slice(2);
  for (let at = 0; at < words.length; at += 2) given[words[at] in given ? words[at] : 'wrong'] = Number(words[at + 1]);
  if ('wrong' in given || !Object.values(given).every((value) => Number.isInteger(value) && value > 0)) {
    console.log(USAGE);
    process.exit(words[0] === '--help' ? 0 : 2);
  }
  const [requests, seed] = Object.values(given);
  for (const onUnknown of ['failover', 'stop']) {
    test(`${requests} messages, seed ${seed}, on_unknown = "${onUnknown}"`, async (t) => judge(t, await chaos(t, { requests, seed, onUnknown }), { requests, onUnknown }));
  }
}
