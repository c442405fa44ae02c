// An independent check: Prism serves Twilio and Vonage from their official API descriptions and
// must accept every request that the real binary writes and patches. It checks shape (method, path,
// content type, auth scheme, field names and patterns), not error handling; the fakes do that.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { after, before, describe, test } from 'node:test';

import { bodyOf } from './fakes/fake.js';
import { SERVICES } from './fakes/index.js';
import { MESSAGES, TEXT, eventually, sendAs } from './lib/stage.js';
import { Vault, call, cliMeanwhile, folder, freePort, get, provider, sidecar } from './lib/sidecar.js';

const here = (file) => fileURLToPath(new URL(file, import.meta.url));
// The description, the provider's base path, and the part of it that Prism leaves out of its routes (the path of `servers`).
const SPECS = { twilio: ['../openapi/twilio_api_v2010.json', '/2010-04-01', ''], vonage: ['../openapi/vonage_sms.yml', '', '/sms'] };

async function prism(t, service) {
  const [spec, prefix, mounted] = SPECS[service];
  const port = await freePort();
  const child = spawn(process.execPath, [here('node_modules/@stoplight/prism-cli/dist/index.js'), 'mock', '-h', '127.0.0.1', '-p', String(port), here(spec)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const running = { output: '', base: `http://127.0.0.1:${port}${prefix}`, origin: `http://127.0.0.1:${port}`, credential: SERVICES[service][1] };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { running.output += text; });
  t.after(async () => { child.kill('SIGKILL'); await once(child, 'exit'); });
  await eventually(async () => { assert.equal(child.exitCode, null, running.output); return running.output.includes('Prism is listening'); }, 60_000);
  await mount(t, running, mounted);
  running.base = running.origin + prefix;
  return running;
}

/** A proxy before Prism: maps its routes to the service's paths, and keeps its answers. */
async function mount(t, running, prefix) {
  const inner = running.origin;
  running.answers = [];
  const server = http.createServer(async (req, res) => {
    const body = await bodyOf(req);
    if (!req.url.startsWith(prefix)) return res.writeHead(404).end();
    const reply = await call(inner + req.url.slice(prefix.length), { method: req.method, headers: { ...req.headers, host: new URL(inner).host }, ...(body && { body }) });
    running.answers.push({ request: `${req.method} ${req.url}`, body, status: reply.status, answer: reply.body });
    return res.writeHead(reply.status, { 'content-type': reply.headers['content-type'] ?? 'text/plain' }).end(reply.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => { server.closeAllConnections(); server.close(); });
  running.origin = `http://127.0.0.1:${server.address().port}`;
}

describe('Prism accepts what the sidecar writes', { concurrency: false }, () => {
  const cleanups = [];
  const t = { after: (clean) => cleanups.unshift(clean) };
  const referees = {};
  const proxies = {};

  before(async () => {
    for (const service of Object.keys(SPECS)) {
      referees[service] = await prism(t, service);
      const at = folder(t);
      const vault = new Vault(at);
      proxies[service] = await sidecar(t, at, {
        vaults: { local: { directory: { path: vault.path } } },
        providers: { [service]: provider(vault, service, referees[service], { sender: service === 'twilio' ? '+15005550006' : 'Acme' }) },
        routes: [{ name: 'all', providers: [service], duplicate_window: '0s' }],
      });
    }
  });
  after(async () => { for (const clean of cleanups) await clean(); });

  test('Prism rejects a bad request: else its acceptance would prove nothing', async () => {
    const { twilio, vonage } = referees;
    const path = `/Accounts/${twilio.credential.account_sid}/Messages.json`;
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const auth = Object.values(twilio.credential);
    assert.equal((await call(`${twilio.origin}/2010-04-01${path}`, { headers: form, body: 'To=%2B998901234567' })).status, 401);
    assert.equal((await call(`${twilio.origin}/2010-04-01${path}`, { auth, headers: form, body: 'Body=hi' })).status, 422);
    assert.equal((await call(`${twilio.origin}/2010-04-01${path}`, { auth, headers: { 'content-type': 'application/json' }, body: '{}' })).status, 415);
    assert.equal((await call(`${vonage.origin}/sms/json`, { headers: form, body: 'api_key=abcd1234&from=Acme&text=hi' })).status, 422);
  });

  /** The last request was accepted by Prism, and classified as accepted by the sidecar. */
  function accepted(service, reply) {
    const { request, body, status, answer } = referees[service].answers.at(-1) ?? {};
    assert.ok(status < 300, `${request} ${body} was rejected: ${status} ${answer}`);
    assert.ok(reply.status < 300, `${reply.status} ${reply.body}`);
  }

  for (const service of Object.keys(SPECS)) {
    for (const spoken of Object.keys(MESSAGES)) {
      test(`${spoken} → ${service}`, async () => {
        const { answers } = referees[service];
        answers.length = 0;
        const reply = await sendAs(proxies[service], spoken, { text: `${TEXT} ${spoken}` });
        assert.equal(answers.length, 1, `${reply.status} ${reply.body}`);
        accepted(service, reply);
      });
    }
  }

  test('twilio → twilio with every optional field', async () => {
    accepted('twilio', await sendAs(proxies.twilio, 'twilio', { StatusCallback: 'https://example.com/cb', ValidityPeriod: '600', ProvideFeedback: 'true' }));
  });

  test('vonage → vonage with every optional field', async () => {
    accepted('vonage', await sendAs(proxies.vonage, 'vonage', { ttl: '600000', callback: 'https://example.com/cb', 'client-ref': 'otp0001', 'status-report-req': 'true' }));
  });

  test('twilio: the operations that pass through', async () => {
    const at = `${proxies.twilio.url}/twilio/2010-04-01/Accounts/AC${'0'.repeat(32)}`;
    accepted('twilio', await get(`${at}/Balance.json`));
    accepted('twilio', await get(`${at}/Messages/SM${'a'.repeat(32)}.json`));
  });

  test('twilio: the requests of doctor, the list of numbers included', async () => {
    const { answers } = referees.twilio;
    answers.length = 0;
    const { stdout } = await cliMeanwhile('doctor', '--config', proxies.twilio.file, '--json');
    const { checks } = JSON.parse(stdout);
    const sid = referees.twilio.credential.account_sid;
    const paths = [`.json`, '/Balance.json', '/IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006'];
    assert.deepEqual(answers.map(({ request, status }) => [request, status]), paths.map((path) => [`GET /2010-04-01/Accounts/${sid}${path}`, 200]), JSON.stringify(checks, null, 1));
    assert.equal(checks.find(({ check }) => check === 'account').result, 'ok');
  });
});
