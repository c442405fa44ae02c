// A service that accepts requests from listed addresses only: the cause is named, the remedy names the line of the
// config that sends attempts through another address, and that line works. After a top-up, `resume` works at once.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { cli, folder } from './lib/sidecar.js';
import { SUCCESS, delivered, eventually, sendAs, stage } from './lib/stage.js';
import { testAuthority } from './lib/tls.js';

/** On the service's allow-list; this machine has it besides 127.0.0.1. */
const LISTED = '127.0.0.2';

/** Sends from everywhere else are rejected like a wrong login; the balance is open to all. */
function lists(smsc) {
  const respond = smsc.respond.bind(smsc);
  smsc.respond = (request) => (request.path === '/sys/send.php' && request.from !== LISTED ? smsc.rejection('credential-rejected', request) : respond(request));
}

/** A proxy process; [its URL, the tunnels it opened]. */
async function connectProxy(t, ...args) {
  const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'lib', 'connect-proxy.js');
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  const lines = readline.createInterface({ input: child.stdout });
  const tunnels = [];
  const port = await new Promise((resolve) => { lines.once('line', (line) => { lines.on('line', (each) => tunnels.push(each)); resolve(line); }); });
  return [`http://127.0.0.1:${port}`, tunnels];
}

test('an address that is not listed: the cause, and the line of the config that sends attempts from another', async (t) => {
  const { proxy, fakes: { smsc } } = await stage(t, { services: ['smsc', 'playmobile'] });
  lists(smsc);
  delivered(await sendAs(proxy, 'smsc'), 'smsc');
  const settled = (each) => each.includes('provider smsc: quarantined') && each.includes('"cause":"ip-not-allowed"');
  const line = await eventually(() => proxy.output.split('\n').find(settled));
  assert.match(line, /providers\.smsc\.outbound\.source_address \(or \.proxy\) in [^ ]*config\.toml:\d+/);
  assert.match(line, /sms-sidecar resume smsc/);
});

test('outbound.source_address: attempts leave from it', async (t) => {
  const { proxy, fakes: { smsc } } = await stage(t, { services: ['smsc'], provider: { outbound: { source_address: LISTED } } });
  lists(smsc);
  delivered(await sendAs(proxy, 'smsc'), 'smsc');
  assert.deepEqual(smsc.received.map(({ from }) => from), [LISTED]);
});

test('outbound.source_address that this machine does not have: unreachable, and the setting is named', async (t) => {
  const { proxy } = await stage(t, { services: ['smsc'], provider: { outbound: { source_address: '192.0.2.77' } } });
  assert.ok(!SUCCESS.smsc(await sendAs(proxy, 'smsc').then((reply) => ({ ...reply, body: reply.body || '{}' }))));
  await proxy.waitForOutput(/this machine cannot send from 192\.0\.2\.77.*outbound\.source_address/);
});

test('outbound.proxy: an https and an http service are reached through a CONNECT proxy, from its address', async (t) => {
  const tls = testAuthority(folder(t));
  const [url, tunnels] = await connectProxy(t, LISTED);
  const { proxy, fakes: { smsc, twilio } } = await stage(t, { services: ['smsc', 'twilio'], fakes: { twilio: { tls } }, provider: { outbound: { proxy: url } } });
  lists(smsc);
  delivered(await sendAs(proxy, 'smsc'), 'smsc');
  delivered(await sendAs(proxy, 'twilio', { text: 'Kod: 2' }), 'twilio');
  assert.deepEqual([smsc, twilio].map(({ received }) => received.map(({ from }) => from)), [[LISTED], [LISTED]]);
  await eventually(() => tunnels.length >= 2);
  assert.deepEqual(tunnels.map((line) => line.split(':').at(-1)).toSorted(), [smsc.port, twilio.port].map(String).toSorted());
});

test('outbound.proxy that is down: unreachable, failover, nothing bypasses it', async (t) => {
  const { proxy, fakes: { smsc, playmobile } } = await stage(t, { services: ['smsc', 'playmobile'], providers: { smsc: { outbound: { proxy: 'http://127.0.0.1:9' } } } });
  delivered(await sendAs(proxy, 'smsc'), 'smsc');
  assert.deepEqual([smsc.received.length, playmobile.delivered.length], [0, 1]);
  assert.equal(await proxy.metric('attempts_total', { provider: 'smsc', outcome: 'unsent', cause: 'unreachable' }), 1);
});

test('an empty balance: the log line names `resume`, and after the top-up it works at once', async (t) => {
  const { proxy, fakes: { smsc, playmobile } } = await stage(t, { services: ['smsc', 'playmobile'] });
  smsc.reject('balance-empty', 1);
  delivered(await sendAs(proxy, 'smsc', { text: 'Kod: 1' }), 'smsc');
  await proxy.waitForOutput(/top up the account behind local:smsc at the smsc console \(https:\/\/smsc\.ru\), then `sms-sidecar resume smsc --config [^`]+`/);
  assert.equal(await proxy.metric('provider_state', { provider: 'smsc', state: 'quarantined' }), 1);
  cli('resume', 'smsc', '--config', proxy.file);
  delivered(await sendAs(proxy, 'smsc', { text: 'Kod: 2' }), 'smsc');
  assert.deepEqual([smsc.delivered.length, playmobile.delivered.length], [1, 1]);
});
