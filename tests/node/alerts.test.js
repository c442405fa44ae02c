// From a service's 401 to a pager and back, through a real Prometheus and a real Alertmanager.
//
// The rules are the shipped ones with every duration divided by sixty (`for: 1m` is one second here, a window of
// thirty minutes is thirty seconds), scraped and evaluated every second: this file tests the whole chain. The promtool
// cases test the shipped durations.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import { test } from 'node:test';

import { bodyOf } from './fakes/fake.js';
import { alertmanager, prometheus } from './lib/prometheus.js';
import { delivered, eventually, sendAs, stage } from './lib/stage.js';

const SECONDS = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** A shipped rules file with its durations divided by sixty. */
function hurried(name) {
  const shorter = (duration) => duration.replace(/(\d+)([smhd])/g, (_, n, unit) => `${Math.max(1, (n * SECONDS[unit]) / 60)}s`);
  const text = readFileSync(new URL(`../../deploy/prometheus/${name}`, import.meta.url), 'utf8');
  return text.replace(/\[\d+[smhd](?::\d+[smhd])?\]|for: \d+[smhd]|offset \d+[smhd]/g, shorter);
}

/** A pager: keeps the alerts that it received, by name and state. */
async function pager(t) {
  const received = [];
  const server = http.createServer(async (req, res) => {
    const { alerts } = JSON.parse(await bodyOf(req));
    for (const { status, labels, annotations } of alerts) if (received.length < 1_000) received.push({ status, name: labels.alertname, labels, annotations });
    res.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  const last = (name, labels = {}) => received.findLast((alert) => alert.name === name && Object.entries(labels).every(([key, value]) => alert.labels[key] === value));
  return { url: `http://127.0.0.1:${server.address().port}/`, last, received };
}

test('a 401 reaches the pager with its cause and its runbook link, and resolves after the new credential', async (t) => {
  const { at, proxy, fakes: { playmobile }, vault } = await stage(t, { services: ['playmobile'], route: { duplicate_window: '0s' } });
  const bell = await pager(t);
  const manager = await alertmanager(t, at, {
    route: { receiver: 'pager', group_by: ['alertname'], group_wait: '100ms', group_interval: '1s', repeat_interval: '1h' },
    receivers: [{ name: 'pager', webhook_configs: [{ url: bell.url, send_resolved: true }] }],
  });
  const watch = await prometheus(t, at, {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['recording.rules.yml', 'alerts.rules.yml'],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [manager] }] }] },
    scrape_configs: [{ job_name: 'sms-sidecar', static_configs: [{ targets: [proxy.listen.admin] }] }],
  }, { 'recording.rules.yml': hurried('recording.rules.yml'), 'alerts.rules.yml': hurried('alerts.rules.yml') });

  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 1' }), 'playmobile');
  await watch.scraped();
  const firing = async () => (await watch.api('alerts')).alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname);
  await eventually(async () => (await firing()).length === 0);   // before the first scrape there was no target yet

  playmobile.rotate({ password: 'the-new-one' });
  assert.equal((await sendAs(proxy, 'playmobile', { text: 'Kod: 2' })).status, 503, 'no other provider can deliver it');
  const fired = await eventually(() => bell.last('SmsSidecarAccountRejected'), 60_000);
  assert.equal(fired.status, 'firing');
  assert.deepEqual(fired.labels, {
    alertname: 'SmsSidecarAccountRejected', cause: 'credential-rejected', instance: proxy.listen.admin, job: 'sms-sidecar', provider: 'playmobile', severity: 'ticket',
  });
  assert.equal(fired.annotations.summary, 'playmobile rejects our account: credential-rejected');
  assert.match(fired.annotations.runbook_url, /runbook\.md#credential-rejected$/);
  const down = await eventually(() => bell.last('SmsSidecarRouteDown', { route: 'all' }), 60_000);
  assert.deepEqual([down.status, down.labels.severity], ['firing', 'page']);
  for (const name of ['SmsSidecarAccountRejected', 'SmsSidecarRouteDown']) assert.ok((await firing()).includes(name), `${name} fires in Prometheus`);

  vault.put('playmobile', { password: 'the-new-one' });
  await eventually(async () => await proxy.metric('provider_state', { provider: 'playmobile', state: 'healthy' }) === 1);
  delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 3' }), 'playmobile');
  for (const name of ['SmsSidecarAccountRejected', 'SmsSidecarRouteDown']) {
    await eventually(() => bell.last(name)?.status === 'resolved', 60_000);
  }
  const received = JSON.stringify(bell.received);
  assert.doesNotMatch(received, /998901234567|Kod: |the-new-one|playmobile-canary/, 'an alert holds no secret, number or text');
});

test('a sidecar that is down pages', async (t) => {
  const { at, proxy } = await stage(t, { services: ['playmobile'] });
  const watch = await prometheus(t, at, {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['recording.rules.yml', 'alerts.rules.yml'],
    scrape_configs: [{ job_name: 'sms-sidecar', static_configs: [{ targets: [proxy.listen.admin] }] }],
  }, { 'recording.rules.yml': hurried('recording.rules.yml'), 'alerts.rules.yml': hurried('alerts.rules.yml') });
  await watch.scraped();
  await proxy.stop();
  const firing = async () => (await watch.api('alerts')).alerts.find(({ labels, state }) => state === 'firing' && labels.alertname === 'SmsSidecarTargetDown' && labels.instance);
  const down = await eventually(firing, 60_000);
  assert.deepEqual([down.labels.instance, down.labels.severity], [proxy.listen.admin, 'page']);
});
