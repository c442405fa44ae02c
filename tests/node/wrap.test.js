// `sms-sidecar wrap -- command`: the backend's code, start script and settings stay as they are.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'node:test';

import { NODES } from './lib/play.js';
import { BINARY, authority, freePort } from './lib/sidecar.js';
import { MESSAGES, TO, stage } from './lib/stage.js';
import { toml } from './lib/toml.js';

const PLAY = fileURLToPath(new URL('clients/play.js', import.meta.url));
const TWILIO = { sid: `AC${'0'.repeat(32)}`, token: '0'.repeat(32), message: { to: `+${TO}`, from: '+12025550123', body: 'Kod: 1' } };

/** A stage whose sidecar is started by `wrap`. */
async function wrapped(t) {
  const made = await stage(t, { start: false });
  const listen = { proxy: `127.0.0.1:${await freePort()}`, admin: `127.0.0.1:${await freePort()}` };
  const config = { ...made.config, listen };
  config.intercept = { ca: authority(made.at, config) };
  const file = path.join(made.at, 'config.toml');
  writeFileSync(file, toml(config));
  return { ...made, file, listen };
}

function wrap(file, command, { node = 20, cwd } = {}) {
  const child = spawn(BINARY, ['wrap', '--config', file, '--', ...command], { cwd, env: { PATH: `${path.dirname(NODES[node])}:${process.env.PATH}`, HOME: process.env.HOME }, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => { output.out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { output.err += text; });
  return { child, output, ended: once(child, 'close').then(([code]) => code) };
}

describe('wrap', () => {
  for (const [client, node] of [['axios-0-21', 20], ['axios-1-7', 22], ['axios-latest', 20], ['axios-latest', 24], ['fetch', 24], ['http', 22]]) {
    test(`${client} under Node ${node}, its URL and credentials unchanged`, async (t) => {
      const { file, fakes: { playmobile }, at } = await wrapped(t);
      const [route, request] = MESSAGES.playmobile({ text: 'Kod: 1' });
      const order = { client, url: `https://send.smsxabar.uz${route}`, auth: request.auth, body: request.body, count: 1 };
      const run = wrap(file, ['node', PLAY, JSON.stringify(order)], { node, cwd: at });
      assert.equal(await run.ended, 0, run.output.err);
      const { results } = JSON.parse(run.output.out.trim().split('\n').at(-1));
      assert.deepEqual(results, [{ status: 200, body: 'Request is received' }], run.output.err);
      assert.equal(playmobile.delivered[0].text, 'Kod: 1');
    });
  }

  test('the Twilio SDK, which reads only HTTP_PROXY', async (t) => {
    const { file, fakes: { twilio }, at } = await wrapped(t);
    const run = wrap(file, ['node', PLAY, JSON.stringify({ client: 'twilio-6', ...TWILIO, count: 1 })], { cwd: at });
    assert.equal(await run.ended, 0, run.output.err);
    assert.equal(JSON.parse(run.output.out.trim().split('\n').at(-1)).results[0].status, 201, run.output.out);
    assert.equal(twilio.delivered.length, 1);
  });

  test('the exit code comes back, and the sidecar that `wrap` started has ended', async (t) => {
    const { file, listen, at } = await wrapped(t);
    const run = wrap(file, ['sh', '-c', 'exit 7'], { cwd: at });
    assert.equal(await run.ended, 7, run.output.err);
    await assert.rejects(fetch(`http://${listen.admin}/live`));
  });

  test('SIGTERM reaches the command, and its exit code comes back', async (t) => {
    const { file, at } = await wrapped(t);
    const run = wrap(file, ['node', '-e', 'process.on("SIGTERM", () => { console.log("ended by SIGTERM"); process.exit(3); }); console.log("up"); setInterval(() => {}, 1000);'], { cwd: at });
    while (!run.output.out.includes('up')) await once(run.child.stdout, 'data');
    run.child.kill('SIGTERM');
    assert.equal(await run.ended, 3, run.output.err);
    assert.match(run.output.out, /ended by SIGTERM/);
  });

  test('a missing command is named', async (t) => {
    const { file, at } = await wrapped(t);
    const run = wrap(file, ['no-such-command-here'], { cwd: at });
    assert.notEqual(await run.ended, 0);
    assert.match(run.output.err, /no-such-command-here/);
  });
});
