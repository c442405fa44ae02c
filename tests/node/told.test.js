// What a new user runs into first, and that it is told where they look: terminal, log line, page.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { delivered, say, stage } from './lib/stage.js';
import { call, cliMeanwhile, get } from './lib/sidecar.js';

const JSON_LOG = { log: { format: 'json' } };
const facts = async (proxy) => JSON.parse((await get(`${proxy.admin}/status.json`)).body);
const status = (proxy) => cliMeanwhile('status', '--config', proxy.file);
/** The log's lines whose message begins so. */
const lines = (proxy, message) => proxy.output.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  .filter((line) => line.message.startsWith(message));

test('send: the same text again within the window is said to be no new message', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], route: { repeat_window: '10m' }, config: JSON_LOG });
  const send = (...more) => cliMeanwhile('send', '--config', proxy.file, '--to', '+998901234567', '--text', 'Kod: 1', ...more);
  assert.match((await send()).stdout, /accepted by route all\n$/);
  const again = await send();
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^not sent again: the same text to this number was accepted by route all \d+ s ago \(`repeat_window`\); change the text to send another\n$/);
  const json = JSON.parse((await send('--json')).stdout);
  assert.deepEqual([json.verdict, json.repeat, json.attempts], ['accepted', true, []]);
  assert.equal(playmobile.delivered.length, 1);
  const calls = (await facts(proxy)).calls.filter(({ operation }) => operation === 'send');
  assert.deepEqual(calls.map(({ repeat }) => repeat), [true, true, false]);
  assert.match((await get(`${proxy.admin}/`)).body, /repeat, not sent again/);
  assert.match((await status(proxy)).stdout, /accepted[^\n]*repeat, not sent again/);
  assert.deepEqual(lines(proxy, 'call accepted').map(({ repeat }) => repeat), [undefined, true, true]);
});

test('a wrong path: the log line has the sentence that the backend gets, and no word of the path', async (t) => {
  const { proxy } = await stage(t, { services: ['playmobile'], config: JSON_LOG });
  const sent = { headers: { 'content-type': 'application/json' }, body: '{}' };
  const wrong = await call(`${proxy.door}/playmobile/send/998907654321?key=hunter22`, sent);
  const typo = await call(`${proxy.door}/playmobil/broker-api/send`, sent);
  assert.deepEqual([wrong.status, typo.status], [403, 404]);
  const [first, second] = lines(proxy, 'call rejected');
  assert.match(first.remedy, /a message is `POST \/broker-api\/send`/);
  assert.ok(wrong.body.includes(JSON.stringify(first.remedy).slice(1, -1)), `${wrong.body}\n${first.remedy}`);
  assert.match(second.remedy, /the providers are playmobile; did the backend mean \/playmobile\/\?/);
  assert.ok(typo.body.includes(second.remedy), typo.body);
  assert.doesNotMatch(proxy.output, /998907654321|hunter22/);
  const far = await call(`${proxy.door}/nothing-like-it/send`, sent);
  assert.doesNotMatch(far.body, /did the backend mean/);
});
