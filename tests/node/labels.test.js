// Label values come from enums and the config: whatever a backend sends, the number of series does not grow.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';

import { authority, call, sidecar } from './lib/sidecar.js';
import { sendAs, stage } from './lib/stage.js';

const EACH = 10_000;
/** Through each other entrypoint. */
const SOME = 200;
const AT_ONCE = 16;
/** Recipients in one request of a backend that sends a list. */
const LIST = 100;

/** Runs `one(n)` for 0 … `times` - 1, a few at once. */
async function many(times, one) {
  let next = 0;
  const work = async () => { while (next < times) await one(next++); };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/** CONNECT to `host`; resolves to the status of the answer. */
function connect(proxy, host) {
  return new Promise((resolve, reject) => {
    const [address, port] = proxy.listen.proxy.split(':');
    const socket = net.connect(Number(port), address, () => socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`));
    let text = '';
    socket.setEncoding('latin1').on('data', (part) => { text += part; if (text.includes('\r\n')) socket.destroy(); });
    socket.on('error', reject).on('close', () => resolve(Number(text.split(' ')[1])));
  });
}

test('10,000 paths, 10,000 hosts and 10,000 numbers create no series', async (t) => {
  const made = await stage(t, { start: false, services: ['playmobile', 'twilio'], route: { duplicate_window: '0s' } });
  const ca = authority(made.at, made.config);
  const unix = `${made.at}/proxy.sock`;
  const proxy = await sidecar(t, made.at, { ...made.config, listen: { unix }, log: { level: 'error' }, intercept: { ca, other_hosts: 'deny' } });
  const { playmobile, twilio } = made.fakes;
  const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
  t.after(() => agent.destroy());
  const [host, port] = proxy.listen.proxy.split(':');
  const absolute = (url) => new Promise((resolve, reject) => {
    const headers = { host: new URL(url).host };
    http.get({ host, port, path: url, headers, agent }, (res) => { res.resume().on('end', () => resolve(res.statusCode)); }).on('error', reject);
  });
  const path = async (n) => assert.equal((await call(`${proxy.url}/playmobile/broker-api/x${n}/y?z=${n}`, { body: '{}', agent })).status, 403);
  const pathOfNobody = async (n) => assert.ok((await call(`${proxy.url}/s${n}/x${n}`, { body: '{}', agent })).status >= 400);
  const hostOfNobody = async (n) => assert.equal(await absolute(`http://h${n}.example/p${n}`), 403);
  const tunnel = async (n) => assert.equal(await connect(proxy, `c${n}.example`), 403);
  const to = (n) => `99890${String(n).padStart(7, '0')}`;
  const number = async (n) => {
    const reply = await sendAs(proxy, 'playmobile', { to: to(n), text: `Kod: ${n}` });
    assert.equal(reply.status, 200, reply.body);
  };
  const numbers = async (list) => {
    const messages = Array.from({ length: LIST }, (_, n) => ({ recipient: to(list * LIST + n), 'message-id': `m${list}x${n}`, sms: { originator: '3700', content: { text: 'Kod: 1' } } }));
    const reply = await call(`${proxy.url}/playmobile/broker-api/send`, { auth: ['x', 'y'], headers: { 'content-type': 'application/json' }, body: JSON.stringify({ messages }), agent });
    assert.equal(reply.status, 200, reply.body);
    playmobile.received.length = 0;
  };
  const anybody = async (n) => assert.ok((await call(`/p${n}/x${n}`, { socketPath: unix, headers: { host: `u${n}.example` }, body: '{}' })).status >= 400);
  const series = async () => (await proxy.metricsPage()).split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.slice(0, line.lastIndexOf(' '))).sort();

  // The first of each kind may create its series: results and entrypoints are enums.
  for (const one of [anybody, path, pathOfNobody, hostOfNobody, tunnel, number, numbers]) await one(EACH);
  const before = await series();
  await many(EACH, anybody);   // each with a path and a host of its own, through the cheapest entrypoint
  for (const one of [path, pathOfNobody, hostOfNobody, tunnel]) await many(SOME, one);
  await many(EACH / LIST, numbers);
  await many(SOME, number);
  assert.deepEqual(await series(), before);
  const counted = async (labels) => proxy.metric('requests_total', labels);
  assert.equal(await counted({ operation: 'send', result: 'accepted' }), EACH / LIST + SOME + 2, 'the requests were counted');
  assert.equal(playmobile.delivered.length, EACH + LIST + SOME + 1, 'every number was sent to');
  assert.ok(await counted({ result: 'denied' }) >= EACH + 4 * SOME);
  assert.equal(twilio.received.length, 0);
  const page = before.join('\n');
  assert.doesNotMatch(page, /\.example|99890\d{5}|broker-api/, 'nothing of them is a label');
});
