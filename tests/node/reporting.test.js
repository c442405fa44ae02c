// The problems a new user meets first, reported where they look: terminal, log line, page.
import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';
import tls from 'node:tls';

import { delivered, eventually, sendAs, stage } from './lib/stage.js';
import { authority, call, cliMeanwhile, get, sidecar } from './lib/sidecar.js';

const JSON_LOG = { log: { format: 'json' } };
const facts = async (proxy) => JSON.parse((await get(`${proxy.admin}/status.json`)).body);
const status = (proxy) => cliMeanwhile('status', '--config', proxy.file);
/** The log lines whose message begins with `message`, once there are `count`: a line may come after its answer. */
const lines = (proxy, message, count) => eventually(() => {
  const all = proxy.output.split('\n').slice(0, -1).filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const found = all.filter((line) => line.message.startsWith(message));
  return found.length >= count && found;
});

test('send: the same text again within the duplicate window is reported as a duplicate', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], route: { duplicate_window: '10m' }, config: JSON_LOG });
  const send = (...more) => cliMeanwhile('send', '--config', proxy.file, '--to', '+998901234567', '--text', 'Kod: 1', ...more);
  assert.match((await send()).stdout, /accepted by route all\n$/);
  const again = await send();
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^not sent again: the same text to this number was accepted by route all \d+ s ago \(`duplicate_window`\); change the text to send another\n$/);
  const json = JSON.parse((await send('--json')).stdout);
  assert.deepEqual([json.result, json.duplicate, json.attempts], ['accepted', true, []]);
  assert.equal(playmobile.delivered.length, 1);
  const calls = (await facts(proxy)).requests.filter(({ operation }) => operation === 'send');
  assert.deepEqual(calls.map(({ duplicate }) => duplicate), [true, true, false]);
  assert.match((await get(`${proxy.admin}/`)).body, /duplicate, not sent again/);
  assert.match((await status(proxy)).stdout, /accepted[^\n]*duplicate, not sent again/);
  assert.deepEqual((await lines(proxy, 'request accepted', 3)).map(({ duplicate }) => duplicate), [undefined, true, true]);
});

/** A CONNECT as a client makes it: the proxy's status, and how the TLS handshake inside ended. */
async function connect(proxy, host, ca) {
  const [address, port] = proxy.listen.proxy.split(':');
  const request = http.request({ host: address, port, method: 'CONNECT', path: `${host}:443`, agent: false }).end();
  const [reply, socket] = await once(request, 'connect');
  if (reply.statusCode !== 200) { socket.destroy(); return [reply.statusCode]; }
  const inside = tls.connect({ socket, servername: host, ca });
  const ended = await new Promise((resolve) => inside.once('secureConnect', () => resolve('open')).once('error', ({ code }) => resolve(code)));
  inside.destroy();
  return [reply.statusCode, ended];
}

test('a denied CONNECT to a provider\'s host is a warning in the log and the headline', async (t) => {
  const { proxy } = await stage(t, { services: ['twilio'], config: { ...JSON_LOG, intercept: { other_hosts: 'deny' } } });
  assert.deepEqual(await connect(proxy, 'elsewhere.example'), [403]);
  assert.deepEqual((await facts(proxy)).headline.warnings, [], 'a denied host that is no provider\'s is not a warning');
  assert.deepEqual(await connect(proxy, 'api.twilio.com'), [502]);
  const [other, ours] = await lines(proxy, 'turned away', 2);
  assert.deepEqual([other.level, ours.level], ['INFO', 'WARN']);
  assert.match(ours.why, /needs a local CA/);
  const { deliverability, summary, details } = (await facts(proxy)).headline;
  assert.deepEqual([deliverability, summary], ['unavailable', 'No: the sidecar denied the last request of the backend.']);
  assert.match(details, /^1 request was denied at entrypoint connect \(ca-missing\), at \d\d:\d\d:\d\d UTC: CONNECT to api\.twilio\.com needs a local CA[^]*run `sms-sidecar ca init/);
  const shown = await status(proxy);
  assert.equal(shown.code, 1);
  assert.match(shown.stdout.replace(/\s+/g, ' '), /No: the sidecar denied the last request of the backend\. .*CONNECT to api\.twilio\.com needs a local CA/);
  assert.match((await get(`${proxy.admin}/`)).body, /1 request was denied at entrypoint connect[^]+?<code>sms-sidecar ca init/);
  assert.equal(await proxy.metric('denied_requests_total', { reason: 'ca-missing', client: 'backend' }), 1);
  assert.equal(await proxy.metric('denied_requests_total', { reason: 'other-host', client: 'stranger' }), 1);
});

test('a client that does not trust our CA is reported the same way', async (t) => {
  const made = await stage(t, { services: ['twilio'], start: false });
  const config = { ...made.config, ...JSON_LOG };
  const proxy = await sidecar(t, made.at, { ...config, intercept: { ca: authority(made.at, config) } });
  const [code, broken] = await connect(proxy, 'api.twilio.com', []);
  assert.deepEqual([code, broken === 'open'], [200, false]);
  assert.deepEqual((await lines(proxy, 'turned away', 1)).map(({ level }) => level), ['WARN']);
  assert.match((await status(proxy)).stdout.replace(/\s+/g, ' '), /1 request was denied at entrypoint connect \(ca-untrusted\), at .*NODE_EXTRA_CA_CERTS/);
});

test('a wrong path: the log line has the remedy that the backend gets, with the config, and not the path', async (t) => {
  const { proxy } = await stage(t, { services: ['playmobile'], config: JSON_LOG });
  const sent = { headers: { 'content-type': 'application/json' }, body: '{}' };
  const wrong = await call(`${proxy.url}/playmobile/send/998907654321?key=hunter22`, sent);
  const typo = await call(`${proxy.url}/playmobil/broker-api/send`, sent);
  assert.deepEqual([wrong.status, typo.status], [403, 404]);
  const [first, second] = await lines(proxy, 'request denied', 2);
  assert.match(first.remedy, /a message is `POST \/broker-api\/send`/);
  assert.ok(first.remedy.includes(`\`sms-sidecar reload --config ${proxy.file}\``), first.remedy);
  const withoutConfig = first.remedy.replaceAll(` --config ${proxy.file}`, '').replaceAll(proxy.file, "the sidecar's config");
  assert.ok(wrong.body.includes(JSON.stringify(withoutConfig).slice(1, -1)), `${wrong.body}\n${first.remedy}`);
  assert.match(second.remedy, /the providers are playmobile; did you mean \/playmobile\/\?/);
  assert.ok(typo.body.includes(second.remedy), typo.body);
  assert.doesNotMatch(proxy.output, /998907654321|hunter22/);
  const far = await call(`${proxy.url}/nothing-like-it/send`, sent);
  assert.doesNotMatch(far.body, /did you mean/);
});
