// The dashboard: its file against the published model, and every panel's query in a real Prometheus that scraped a
// real sidecar under scripted traffic. No Grafana runs here: the test does not see how it looks.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { faults } from './lib/dashboard.js';
import { prometheus } from './lib/prometheus.js';
import { authority, sidecar } from './lib/sidecar.js';
import { delivered, eventually, sendAs, stage } from './lib/stage.js';

const GRAFANA = fileURLToPath(new URL('../../deploy/grafana/', import.meta.url));
const read = (file) => readFileSync(GRAFANA + file, 'utf8');
const dashboard = () => JSON.parse(read('dashboards/sms-sidecar.json'));
/** Seconds of every query window in this test: longer than the test takes. */
const WINDOW = 1_800;

test('the dashboard fits Grafana\'s model and leads with the three questions', () => {
  const shown = dashboard();
  assert.deepEqual(faults(shown), []);
  const rows = shown.panels.filter(({ type }) => type === 'row').map(({ title }) => title);
  assert.deepEqual(rows, ['Do codes arrive?', 'Which provider rejects messages, and why?', 'What will break next?']);
  assert.match(shown.description, /not seen in a Grafana/);
});

test('a dashboard that Grafana would reject is found', () => {
  for (const [what, harm] of [
    ['panel id', (it) => { it.panels[2].id = it.panels[1].id; }],
    ['lies over', (it) => { it.panels[2].gridPos.y -= 1; }],
    ['datasource', (it) => { it.panels[1].datasource.uid = 'prometheus'; }],
    ['used nowhere', (it) => { it.templating.list.push({ ...it.templating.list[2], name: 'spare' }); }],
    ['is no variable', (it) => { it.panels[1].targets[0].expr += '$spare'; }],
    ['refIds', (it) => { it.panels[4].targets[1].refId = 'A'; }],
    ['thresholds', (it) => { it.panels[1].fieldConfig.defaults.thresholds.steps.reverse(); }],
    ['schemaVersion', (it) => { delete it.schemaVersion; }],
    ['options.legend', (it) => { delete it.panels[3].options.legend; }],
  ]) {
    const broken = dashboard();
    harm(broken);
    assert.ok(faults(broken).some((fault) => fault.includes(what)), `${what}: ${faults(broken)}`);
  }
});

test('the provisioning files name the existing folder, data source and kind', () => {
  assert.match(read('provisioning/datasources/prometheus.yml'), /^apiVersion: 1\ndatasources:\n {2}- name: Prometheus\n {4}uid: \w+\n {4}type: prometheus$/m);
  assert.match(read('provisioning/dashboards/sms-sidecar.yml'), /^apiVersion: 1\nproviders:\n {2}- name: sms-sidecar\n {4}folder: \w+\n {4}type: file$/m);
  assert.ok(existsSync(`${GRAFANA}dashboards/sms-sidecar.json`));
  const interval = /scrape_interval: (\w+)/.exec(readFileSync(`${GRAFANA}../prometheus/prometheus.yml`, 'utf8'))[1];
  assert.match(read('provisioning/datasources/prometheus.yml'), new RegExp(`timeInterval: ${interval}$`, 'm'));
});

test('every panel returns the numbers that the traffic implies', async (t) => {
  const played = await traffic(t);
  const { watch, at } = played;
  const filled = (expr) => expr
    .replaceAll('$instance', '.*').replaceAll('$provider', '.*').replace(/\$__(rate_interval|range)/g, `${WINDOW}s`)
    .replace(/\[(1m|6h)\]/g, `[${WINDOW}s]`)   // the fixed windows: longer than this test as well
    .replaceAll('s:15s]', 's:1s]');   // as often as this test scrapes
  const shown = dashboard();
  const panels = shown.panels.filter(({ type }) => type !== 'row');
  const expected = await expectations(played);
  assert.deepEqual(panels.map(({ title }) => title).sort(), Object.keys(expected).sort(), 'each panel has its expectation');
  for (const { title, targets } of panels) {
    for (const [n, { expr }] of targets.entries()) {
      const result = await watch.query(filled(expr), at);
      compare(`${title} ${targets[n].refId}`, result, expected[title][n]);
    }
  }
  for (const { name, expr, builtIn } of shown.annotations.list) {
    if (!builtIn) compare(name, await watch.query(filled(expr), at), ANNOTATIONS[name]);
  }
  for (const { name, type, query } of shown.templating.list.filter(({ type: kind }) => kind === 'query')) {
    const [, selector, label] = /^label_values\((.+), (\w+)\)$/.exec(query.query);
    const found = new Set((await watch.query(filled(selector), at)).map(({ labels }) => labels[label]));
    assert.deepEqual([...found].sort(), name === 'provider' ? ['eskiz', 'playmobile', 'twilio'] : [played.proxy.listen.admin], `variable ${name} (${type})`);
  }
});

/**
 * Playmobile delivers 6 messages; both services reject one as the message's fault; Playmobile fails with 500 once and
 * rejects with an unknown 400 once, and Twilio delivers; then its password changes: one 401, and with the next 2 messages
 * Twilio delivers 3; the vault gets the new password and Playmobile delivers 1. Eskiz logs in, delivers 2, and answers
 * 402 to one; its balance probe brings it back; the same again with 1,000 less. One reload.
 */
async function traffic(t) {
  const made = await stage(t, {
    start: false, services: ['playmobile', 'twilio', 'eskiz'], provider: { timeout: '10s' }, route: { duplicate_window: '0s', deadline: '30s', providers: ['playmobile', 'twilio'], dialects: ['playmobile'] },
  });
  made.config.routes.push({ name: 'texts', providers: ['eskiz'], dialects: ['eskiz'], deadline: '30s', duplicate_window: '0s' });
  const ca = authority(made.at, made.config);
  const proxy = await sidecar(t, made.at, { ...made.config, intercept: { ca } });
  const { playmobile, twilio, eskiz } = made.fakes;
  const watch = await prometheus(t, made.at, { global: { scrape_interval: '1s' }, scrape_configs: [{ job_name: 'sms-sidecar', static_configs: [{ targets: [proxy.listen.admin] }] }] });
  await watch.scraped();

  let n = 0;
  const arrives = async (service = 'playmobile') => delivered(await sendAs(proxy, service, { text: `Kod: ${n++}` }), service);
  const open = (provider) => eventually(async () => await proxy.metric('provider_state', { provider, state: 'healthy' }) === 1, 90_000);
  for (let i = 0; i < 6; i++) await arrives();
  playmobile.reject('recipient-invalid', 1);
  twilio.reject('recipient-invalid', 1);
  assert.equal((await sendAs(proxy, 'playmobile', { text: `Kod: ${n++}` })).status, 400);
  playmobile.status(500);
  await arrives();
  playmobile.status(400);
  await arrives();
  await arrives('eskiz');
  await arrives('eskiz');
  const broke = async (balance) => {
    eskiz.balance = balance;
    eskiz.status(402, { headers: { 'content-type': 'application/json' }, body: '{"message":"no money"}' });
    assert.equal((await sendAs(proxy, 'eskiz', { text: `Kod: ${n++}` })).status, 503);
    await eventually(async () => await proxy.metric('balance', { provider: 'eskiz' }) === balance, 90_000);
    await open('eskiz');
  };
  await broke(125_000);
  playmobile.rotate({ password: 'the-new-one' });
  for (let i = 0; i < 3; i++) await arrives();
  const changed = Date.now() / 1000;
  made.vault.put('playmobile', { password: 'the-new-one' });
  await open('playmobile');
  const seen = Date.now() / 1000;
  await arrives();
  writeFileSync(proxy.file, readFileSync(proxy.file));
  proxy.reload();
  await proxy.waitForOutput(/config reloaded/);
  const reloaded = Date.now() / 1000;
  await broke(124_000);
  // The balance of a provider in use is queried a minute after the start.
  await eventually(async () => await proxy.metric('balance', { provider: 'twilio' }) === 12.3, 90_000);
  const at = await watch.scraped();
  return { proxy, watch, at, changed, seen, reloaded };
}

const from = (low, high) => (value) => value >= low && value <= high;
const per = (count) => count / WINDOW;

const ANNOTATIONS = {
  Reloads: [[{ result: 'ok' }, 1]],
  'Credential changes': [[{ provider: 'playmobile' }, from(1, 2)]],   // 0 → 1 may have been scraped as well
};

/** What each target of each panel returns: [[labels, value or condition], …]. */
async function expectations({ proxy, watch, at, changed, seen, reloaded }) {
  const buckets = await histograms({ proxy, watch, at });
  const [balance] = await watch.samples(`sms_sidecar_balance{provider="eskiz"}[${WINDOW}s]`, at);
  const year = 86_400 * 366;
  const instance = proxy.listen.admin;
  return {
    'Codes that arrived': [[[{}, 14 / 16]]],
    'Codes that did not arrive': [[[{}, 2]]],
    Connections: [['base-url', 'absolute', 'connect', 'unix'].map((entrypoint) => [{ entrypoint, instance }, 0]), [[{ instance }, 1024]], []],
    'Messages by result': [[[{ result: 'accepted' }, per(14)], [{ result: 'not-sent' }, per(2)], [{ result: 'message-rejected' }, per(1)], [{ result: 'in-doubt' }, 0]]],
    'Request duration': [[[{}, quantile(0.5, buckets('request_duration_seconds', { result: 'accepted' }))]], [[{}, quantile(0.95, buckets('request_duration_seconds', { result: 'accepted' }))]]],
    'Healthy providers of each route': [[[{ route: 'all', instance }, 2], [{ route: 'texts', instance }, 1]]],
    'First choice or backup': [[[{ route: 'all' }, 1], [{ route: 'texts' }, 1]]],
    'Duplicates: possible and suppressed': [[[{ provider: 'playmobile' }, 0], [{ provider: 'twilio' }, 1], [{ provider: 'eskiz' }, 0]], [[{ dialect: 'playmobile' }, 0], [{ dialect: 'twilio' }, 0], [{ dialect: 'eskiz' }, 0]]],
    'The 401s by cause': [[[{ provider: 'playmobile', cause: 'credential-rejected' }, 1], [{ provider: 'eskiz', cause: 'balance-empty' }, 2]]],
    'HTTP statuses': [[
      [{ provider: 'playmobile', status: '200' }, 7], [{ provider: 'playmobile', status: '400' }, 2], [{ provider: 'playmobile', status: '401' }, 1], [{ provider: 'playmobile', status: '500' }, 1],
      [{ provider: 'twilio', status: '201' }, 5], [{ provider: 'twilio', status: '400' }, 1], [{ provider: 'twilio', status: '200' }, 1],   // its balance
      [{ provider: 'eskiz', status: '200' }, 5], [{ provider: 'eskiz', status: '402' }, 2],   // a login, two messages, two balances
    ]],
    'Causes in this period': [[
      [{ provider: 'playmobile', kind: 'send', outcome: 'rejected', cause: 'credential-rejected' }, 1],
      [{ provider: 'playmobile', kind: 'send', outcome: 'rejected', cause: 'recipient-invalid' }, 1],
      [{ provider: 'playmobile', kind: 'send', outcome: 'rejected', cause: 'unexplained' }, 1],
      [{ provider: 'playmobile', kind: 'send', outcome: 'unknown', cause: 'provider-fault' }, 1],
      [{ provider: 'twilio', kind: 'send', outcome: 'rejected', cause: 'recipient-invalid' }, 1],
      [{ provider: 'eskiz', kind: 'send', outcome: 'rejected', cause: 'balance-empty' }, 2],
    ]],
    'Failovers since the start of each process': [[
      [{ from: 'playmobile', to: 'twilio', cause: 'credential-rejected' }, 1], [{ from: 'playmobile', to: 'twilio', cause: 'recipient-invalid' }, 1],
      [{ from: 'playmobile', to: 'twilio', cause: 'unexplained' }, 1], [{ from: 'playmobile', to: 'twilio', cause: 'provider-fault' }, 1],
    ]],
    'Send attempts by outcome': [[
      [{ provider: 'playmobile', outcome: 'accepted' }, per(7)], [{ provider: 'playmobile', outcome: 'rejected' }, per(3)], [{ provider: 'playmobile', outcome: 'unknown' }, per(1)],
      [{ provider: 'twilio', outcome: 'accepted' }, per(5)], [{ provider: 'twilio', outcome: 'rejected' }, per(1)],
      [{ provider: 'eskiz', outcome: 'accepted' }, per(2)], [{ provider: 'eskiz', outcome: 'rejected' }, per(2)],
    ]],
    'Send attempt duration, p95': [['playmobile', 'twilio', 'eskiz'].map((provider) => [{ provider }, quantile(0.95, buckets('attempt_duration_seconds', { provider, kind: 'send' }))])],
    State: [['playmobile', 'twilio', 'eskiz'].map((provider) => [{ provider, instance, state: 'healthy' }, 1])],
    'Balance in days': [[[{ provider: 'eskiz' }, 124_000 / (-86_400 * slope(balance))]]],
    Balance: [[[{ provider: 'eskiz' }, 124_000], [{ provider: 'twilio' }, 12.3]]],
    Credentials: [
      [[{ provider: 'playmobile' }, 2], [{ provider: 'twilio' }, 1], [{ provider: 'eskiz' }, 1]],
      [[{ provider: 'playmobile' }, from(at - seen - 1, at - changed + 1)], [{ provider: 'twilio' }, from(at - changed, WINDOW)], [{ provider: 'eskiz' }, from(at - changed, WINDOW)]],
    ],
    'Token expires in': [[[{ provider: 'eskiz' }, from(86_400 * 30 - WINDOW, 86_400 * 30)]]],
    'Local CA expires in': [[[{}, from(86_400 * 7, 10 * year)]]],
    'Vaults: time since the last complete read': [[[{ vault: 'local' }, from(-1, 70)]]],
    'Config and build': [[[{ instance }, 1]], [[{ instance }, from(at - reloaded - 1, at - reloaded + 30)]]],
  };
}

/** Each expected series exists once with its value, and no other exists. */
function compare(what, result, expected) {
  const context = `${what}: ${JSON.stringify(result)}`;
  assert.equal(result.length, expected.length, context);
  for (const [labels, value] of expected) {
    const found = result.filter((series) => Object.entries(labels).every(([key, word]) => series.labels[key] === word));
    assert.equal(found.length, 1, `${JSON.stringify(labels)} in ${context}`);
    const got = found[0].value;
    const holds = typeof value === 'function' ? value(got) : Math.abs(got - value) <= Math.abs(value) * 0.02;
    assert.ok(holds, `${JSON.stringify(labels)} is ${got}, not ${value}, in ${context}`);
  }
}

/**
 * The buckets of the process itself, from its own metrics page, less those of the first scrape: a histogram begins when
 * something happens, and Prometheus sees what is added to it from there.
 */
async function histograms({ proxy, watch, at }) {
  const lines = (await proxy.metricsPage()).split('\n');
  const scraped = await watch.query(`min_over_time({__name__=~"sms_sidecar_.+_bucket"}[${WINDOW}s])`, at);
  return (name, labels) => {
    const matches = (text) => Object.entries(labels).every(([key, value]) => text.includes(`${key}="${value}"`));
    const counts = new Map();
    const add = (le, count) => counts.set(le, (counts.get(le) ?? 0) + count);
    for (const line of lines.filter((it) => it.startsWith(`sms_sidecar_${name}_bucket{`) && matches(it))) {
      add(bound(/le="([^"]+)"/.exec(line)[1]), Number(line.split(' ').at(-1)));
    }
    for (const { labels: first, value } of scraped) {
      if (Object.entries(labels).every(([key, word]) => first[key] === word)) add(bound(first.le), -value);
    }
    return [...counts].sort(([low], [high]) => low - high);
  };
}

const bound = (le) => Number(le.replace('+Inf', 'Infinity'));

/** As Prometheus computes it: linear within the bucket that holds the rank. */
function quantile(q, buckets) {
  const rank = q * buckets.at(-1)[1];
  const n = buckets.findIndex(([, count]) => count >= rank);
  const [low, below] = n === 0 ? [0, 0] : buckets[n - 1];
  if (buckets[n][0] === Infinity) return low;
  return low + (buckets[n][0] - low) * ((rank - below) / (buckets[n][1] - below));
}

/** The slope of the least-squares line, per second. */
function slope(samples) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(samples.map(([at]) => at)), mean(samples.map(([, value]) => value))];
  return samples.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0) / samples.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
}
