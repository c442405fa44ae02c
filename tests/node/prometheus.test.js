// The shipped Prometheus files: they are valid, and every alert has a case in which it fires and one in which it does not.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { promtool } from './lib/prometheus.js';
import { folder } from './lib/sidecar.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DEPLOY = path.join(ROOT, 'deploy/prometheus');
const ALERTS = path.join(DEPLOY, 'alerts.rules.yml');
const CASES = ['alerts.test.yml', 'alerts.days.test.yml'].map((name) => path.join(ROOT, 'tests/prometheus', name));

test('the example config and its rules are valid', async () => {
  const { code, output } = await promtool('check', 'config', '--lint-fatal', path.join(DEPLOY, 'prometheus.yml'));
  assert.equal(code, 0, output);
});

test('each alert fires, or does not, as its cases expect', async () => {
  const { code, output } = await promtool('test', 'rules', ...CASES);
  assert.equal(code, 0, output);
});

test('each alert has a case in which it fires and one in which it does not', () => {
  const alerts = [...readFileSync(ALERTS, 'utf8').matchAll(/^ +- alert: (\w+)$/gm)].map(([, name]) => name);
  const cases = [...CASES.map((file) => readFileSync(file, 'utf8')).join('').matchAll(/alertname: (\w+)\n +exp_alerts:( \[\])?/g)];
  assert.ok(alerts.length >= 11, `${alerts}`);
  for (const alert of alerts) {
    const own = cases.filter(([, name]) => name === alert);
    assert.ok(own.some(([, , none]) => !none), `${alert} never fires in a case`);
    assert.ok(own.some(([, , none]) => none), `${alert} is never silent in a case`);
  }
  assert.equal(new Set(alerts).size, alerts.length, 'an alert is listed twice');
});

test('each condition is needed: without its threshold or its guard a case fails', async (t) => {
  const at = folder(t);
  const rules = readFileSync(ALERTS, 'utf8');
  const recording = path.join(DEPLOY, 'recording.rules.yml');
  CASES.forEach((file, n) => {
    const cases = readFileSync(file, 'utf8').replace(/rule_files:\n.*\n.*\n/, `rule_files:\n  - ${recording}\n  - ${at}/alerts.yml\n`);
    writeFileSync(path.join(at, `${n}.yml`), cases);
  });
  writeFileSync(path.join(at, 'alerts.yml'), rules);
  const { code, output } = await promtool('test', 'rules', path.join(at, '0.yml'), path.join(at, '1.yml'));
  assert.equal(code, 0, `the shipped rules: ${output}`);
  for (const [what, from, to] of [
    ['a budget a hundred times smaller', /14\.4 \* 0\.001/g, '14.4 * 0.00001'],
    ['no short window', / and sms_sidecar:sends_failed:ratio_rate5m > 14\.4 \* 0\.001/, ''],
    ['rejections that healed', /\n +and on \(job, instance, provider\) sms_sidecar_provider_state\{state="quarantined"\} == 1/, ''],
    ['a token that was just issued', /\n +and sms_sidecar_credential_expiry_timestamp_seconds == .*offset 1d/, ''],
    ['a route without healthy providers', /sms_sidecar:route_healthy_providers == 0/, 'sms_sidecar:route_healthy_providers < 0'],
  ]) {
    const broken = rules.replace(from, to);
    assert.notEqual(broken, rules, what);
    writeFileSync(path.join(at, 'alerts.yml'), broken);
    const { code, output } = await promtool('test', 'rules', path.join(at, '0.yml'), path.join(at, '1.yml'));
    assert.notEqual(code, 0, `${what}: no case notices`);
    assert.match(output, /FAILED/, what);
  }
});
