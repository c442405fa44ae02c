// The config on disk and the one in force: `reload`, the outputs that show a difference, and commands that need neither.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { delivered, sendAs, stage } from './lib/stage.js';
import { cliMeanwhile, get } from './lib/sidecar.js';

const edit = ({ file }, from, to) => {
  const text = readFileSync(file, 'utf8');
  assert.ok(text.includes(from), text);
  writeFileSync(file, text.replace(from, to));
};
const facts = async (proxy) => JSON.parse((await get(`${proxy.admin}/status.json`)).body);
const ask = (proxy, command, ...more) => cliMeanwhile(command, '--config', proxy.file, ...more);

test('reload applies the file, and lists what needs a restart', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  edit(proxy, '["playmobile", "twilio"]', '["twilio"]');
  const done = await ask(proxy, 'reload');
  assert.deepEqual([done.code, done.stderr], [0, '']);
  assert.equal(done.stdout, `${proxy.file} was read again and is in force\n`);
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.deepEqual([playmobile.received.length, twilio.delivered.length], [0, 1]);
  assert.equal(await proxy.metric('reloads_total', { result: 'ok' }), 1);
  edit(proxy, '[listen]', '[listen]\nunix = "entrypoint.sock"');
  const waits = await ask(proxy, 'reload', '--json');
  const reply = JSON.parse(waits.stdout);
  assert.deepEqual([waits.code, reply.result, reply.file], [0, 'ok', proxy.file]);
  assert.match(reply.needs_restart, /\[listen\].*next start/);
  assert.match((await ask(proxy, 'reload')).stdout, /in force\nbut \[listen\].*next start/);
});

test('reload shows the errors with carets, and the previous config stays in force', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  edit(proxy, '"dialect"', '"dialekt"');
  const wrong = await ask(proxy, 'reload');
  assert.deepEqual([wrong.code, wrong.stdout], [1, '']);
  assert.match(wrong.stderr, /unknown key `dialekt`[^]*config\.toml:\d+:\d+[^]*\^{3,}[^]*stays in force/);
  const json = await ask(proxy, 'reload', '--json');
  assert.equal(json.code, 1);
  assert.ok(JSON.parse(json.stdout).problems.some(({ message, line }) => /unknown key `dialekt`/.test(message) && line > 0), json.stdout);
  assert.equal(await proxy.metric('reloads_total', { result: 'failed' }), 2);
  assert.match((await facts(proxy)).config.last_reload.problem, /old one stays in force[^]*unknown key `dialekt`/);
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
  await proxy.stop();
  const gone = await ask(proxy, 'reload', '--control', proxy.listen.control);
  assert.deepEqual([gone.code, gone.stdout], [2, '']);
  assert.match(gone.stderr, /no sidecar answers at/);
});

test('status, page and doctor report a config that was edited and not loaded', async (t) => {
  const { proxy } = await stage(t);
  const warning = /config\.toml was changed at \d\d:\d\d:\d\d UTC(?: \(.+?\))? after it was loaded: `sms-sidecar reload --config [^`]+\/config\.toml`/;
  const before = readFileSync(proxy.file, 'utf8');
  assert.doesNotMatch((await ask(proxy, 'status')).stdout, /was changed/);
  edit(proxy, '"8s"', '"7s"');
  const status = await ask(proxy, 'status');
  assert.equal(status.code, 0);
  assert.match(status.stdout, warning);
  assert.ok(status.stdout.includes(`PID ${proxy.child.pid}`), status.stdout);
  const { config, build, headline } = await facts(proxy);
  assert.ok(config.changed_at >= config.loaded_at && build.pid === proxy.child.pid, JSON.stringify({ config, build }));
  assert.ok(headline.warnings.some((line) => warning.test(line)), JSON.stringify(headline));
  assert.match((await get(`${proxy.admin}/`)).body, /was changed at <time [^]+?<\/time> after it was loaded: <code>sms-sidecar reload --config [^<]+\/config\.toml<\/code>/);
  assert.match((await ask(proxy, 'doctor')).stdout, /sidecar[^\n]*does not use this config yet[^]*sms-sidecar reload/);
  writeFileSync(proxy.file, before);
  assert.equal((await facts(proxy)).config.changed_at, null, 'the file has its old content again');
  edit(proxy, '"8s"', '"7s"');
  assert.equal((await ask(proxy, 'reload')).code, 0);
  assert.doesNotMatch((await ask(proxy, 'status')).stdout, /was changed/);
});

test('commands reach the running sidecar although the config on disk is broken', async (t) => {
  const { proxy } = await stage(t);
  edit(proxy, '"dialect"', '"dialekt"');
  for (const [command, ...more] of [['status'], ['pause', 'playmobile'], ['resume', 'playmobile']]) {
    const done = await ask(proxy, command, ...more);
    assert.equal(done.code, 0, `${command}: ${done.stderr}`);
    assert.match(done.stderr, /^warning: .*config\.toml has \d+ error.*sms-sidecar check.*\n$/);
  }
  assert.equal((await ask(proxy, 'reload')).code, 1);
  writeFileSync(proxy.file, '[listen\ncontrol = "control.sock"\n');
  const torn = await ask(proxy, 'status');
  assert.equal(torn.code, 2);
  assert.match(torn.stderr, /config\.toml:1:\d+[^]*--control PATH/);
  assert.equal((await ask(proxy, 'status', '--control', proxy.listen.control)).code, 0);
});
