// Notifications: what an operator's receiver gets when a provider is quarantined and comes back, that it holds no
// number, text or secret, and that a failing receiver delays neither a message nor the end of the process.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { describe, test } from 'node:test';

import { cli, cliMeanwhile } from './lib/sidecar.js';
import { TEXT, TO, delivered, eventually, sendAs, stage } from './lib/stage.js';
import { toml } from './lib/toml.js';

const PATH = '/hook/CANARY-webhook';

/** A receiver of notifications. `answer`: a status, or 'hang'. */
async function receiver(t) {
  const made = { posts: [], answer: 200, tries: 0 };
  const server = http.createServer(async (request, reply) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    made.tries += 1;
    if (made.answer === 'hang') return;
    if (made.answer === 200) made.posts.push({ path: request.url, type: request.headers['content-type'], body: Buffer.concat(chunks).toString() });
    reply.writeHead(made.answer).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  made.url = `http://127.0.0.1:${server.address().port}${PATH}`;
  /** Waits for the n-th post, and returns its body. */
  made.post = async (n) => { await eventually(() => made.posts.length >= n, 30_000); return JSON.parse(made.posts[n - 1].body); };
  return made;
}

const notified = (to, more = {}) => ({ notify: { webhook: to.url, ...more } });

/** No number, text or credential of the stage is in `shown`. */
function clean(shown, vault) {
  for (const secret of [TO, TO.slice(3), '123456', TEXT, 'CANARY']) assert.ok(!shown.includes(secret), `${secret} in ${shown}`);
  for (const fields of Object.values(vault.entries ?? {})) for (const value of Object.values(fields)) assert.ok(!shown.includes(value), shown);
}

test('a quarantine is one notification, its end another, and neither holds a number, a text or a secret', async (t) => {
  const to = await receiver(t);
  const { proxy, fakes, vault } = await stage(t, { config: notified(to) });
  fakes.playmobile.reject('credential-rejected');
  for (const n of [1, 2, 3]) delivered(await sendAs(proxy, 'playmobile', { text: `${TEXT} ${n}` }), 'playmobile');
  const began = await to.post(1);
  assert.deepEqual([began.event, began.severity, began.name, began.cause], ['provider-quarantined', 'error', 'playmobile', 'credential-rejected']);
  assert.match(began.summary, /^Provider playmobile is quarantined: credential-rejected/);
  assert.deepEqual([to.posts[0].path, to.posts[0].type], [PATH, 'application/json; charset=utf-8']);
  cli('resume', 'playmobile', '--config', proxy.file);
  const ended = await to.post(2);
  assert.deepEqual([ended.event, ended.severity, ended.name], ['provider-recovered', 'info', 'playmobile']);
  assert.equal(to.posts.length, 2);
  assert.equal(await proxy.metric('notifications_total', { result: 'delivered' }), 2);
  for (const { body } of to.posts) clean(body, vault);
  clean(proxy.output, vault);
});

test('a receiver that is down gets the notification later, and no message waits for it', async (t) => {
  const to = await receiver(t);
  to.answer = 503;
  const { proxy, fakes } = await stage(t, { config: notified(to) });
  fakes.playmobile.reject('credential-rejected');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  await eventually(() => to.tries >= 3, 30_000);
  to.answer = 200;
  assert.equal((await to.post(1)).event, 'provider-quarantined');
  await proxy.waitForOutput(/notifications are delivered again/);
  assert.equal(proxy.output.split('notifications are delayed').length, 2, 'it is logged once');
  assert.equal(await proxy.metric('notifications_total', { result: 'failed' }), 0);
});

test('a receiver that hangs delays neither a message nor the end of the process', async (t) => {
  const to = await receiver(t);
  to.answer = 'hang';
  const { proxy, fakes } = await stage(t, { config: notified(to) });
  fakes.playmobile.reject('credential-rejected');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  await eventually(() => to.tries === 1);
  let began = performance.now();
  delivered(await sendAs(proxy, 'twilio'), 'twilio');
  assert.ok(performance.now() - began < 2_000, 'a post may take 5 s');
  began = performance.now();
  assert.equal(await proxy.stop(), 0);
  assert.ok(performance.now() - began < 4_500, `${performance.now() - began} ms`);
});

test('a reload turns notifications on and moves them', async (t) => {
  const [one, two] = [await receiver(t), await receiver(t)];
  const { proxy, fakes, config } = await stage(t);
  const reload = async (more, count) => {
    writeFileSync(proxy.file, toml({ ...config, listen: proxy.listen, ...more }));
    proxy.reload();
    await eventually(async () => await proxy.metric('reloads_total', { result: 'ok' }) === count);
  };
  assert.equal(await proxy.metric('notifications_total'), undefined, 'without a webhook there is no such series');
  fakes.playmobile.reject('credential-rejected');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  await reload(notified(one), 1);
  assert.equal((await one.post(1)).event, 'provider-quarantined', 'what is wrong already is reported');
  await reload(notified(two, { format: 'telegram', chat_id: '-100123' }), 2);
  cli('resume', 'playmobile', '--config', proxy.file);
  const moved = await two.post(1);
  assert.equal(moved.chat_id, '-100123');
  assert.match(moved.text, /^\[sms-sidecar.*\] Provider playmobile is in use again/);
  assert.equal(one.posts.length, 1);
});

describe('doctor', () => {
  test('posts only with --notify-test, and reports a receiver that refuses', async (t) => {
    const to = await receiver(t);
    const { proxy } = await stage(t, { services: ['playmobile'], config: notified(to, { format: 'slack' }) });
    const doctor = (...more) => cliMeanwhile('doctor', '--config', proxy.file, '--json', ...more);
    const webhook = async (...more) => JSON.parse((await doctor(...more)).stdout).checks.find(({ check, name }) => (check ?? name) === 'webhook');
    assert.equal((await webhook()).result, 'ok');
    assert.equal(to.tries, 0);
    assert.equal((await webhook('--notify-test')).result, 'ok');
    assert.match((await to.post(1)).text, /This is a test/);
    to.answer = 404;
    const refused = await webhook('--notify-test');
    assert.equal(refused.result, 'warning');
    assert.match(refused.evidence, /404; the URL is wrong or was revoked/);
    assert.ok(!JSON.stringify(refused).includes('CANARY'));
  });
});
