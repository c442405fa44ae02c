// `sms-sidecar doctor` on one broken host after another: it names what is broken, and nothing else.
// Every service is a strict fake behind the real binary; no run shows a secret or a number.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';

import { SERVICES } from './fakes/index.js';
import { openbao } from './lib/openbao.js';
import { BINARY, authority, call, folder, freePort } from './lib/sidecar.js';
import { TO, delivered, sendAs, stage } from './lib/stage.js';
import { testAuthority } from './lib/tls.js';
import { toml } from './lib/toml.js';

const SECRETS = Object.values(SERVICES).flatMap(([, credential]) => Object.values(credential)).filter((value) => !['oneport', 'partner', 'ops@example.uz'].includes(value));

/** Runs the binary to its end while the fakes of this process serve: {code, out, err}. */
async function run(args, { env = {} } = {}) {
  const child = spawn(BINARY, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => { output.out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { output.err += text; });
  const late = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const [code] = await once(child, 'close');
  clearTimeout(late);
  const text = output.out + output.err;
  for (const secret of SECRETS) assert.ok(!text.includes(secret), `a secret was shown: ${text}`);
  assert.doesNotMatch(text, /canary/i);
  assert.ok(!text.includes(TO) && !text.includes('12025550123'), `a full number was shown: ${text}`);
  return { code, ...output };
}

/** The config of a stage without a running sidecar, as a file. */
function written(made, change = (config) => config) {
  const file = path.join(made.at, 'doctor.toml');
  writeFileSync(file, toml(change(made.config)));
  return file;
}

/** Doctor's JSON report about a stage. */
async function doctor(file, ...args) {
  const { code, out, err } = await run(['doctor', '--config', file, '--json', ...args]);
  let report;
  try { report = JSON.parse(out); } catch { assert.fail(`no JSON (exit code ${code}): ${out}${err}`); }
  assert.equal(report.exit_code, code);
  for (const { about, check, result, evidence, remedy } of report.checks) {
    assert.ok(evidence.length > 5, `${about} ${check} has no evidence`);
    assert.equal(['warning', 'failed'].includes(result), remedy !== null, `${about} ${check} is ${result} with the remedy ${remedy}`);
  }
  return report;
}

const marked = (report, mark) => report.checks.filter((check) => check.result === mark);
const named = (report, name) => report.checks.find(({ check }) => check === name);
const of = (report, about, name) => report.checks.find((one) => one.about === about && one.check === name);

/** What failed. A route without a usable provider fails for a cause that is in the list already, and for no other. */
function failures(report) {
  const failed = marked(report, 'failed').map(({ about, check, cause }) => [about, check, cause]);
  const isRoute = ([about]) => about.startsWith('route ');
  const own = failed.filter((one) => !isRoute(one));
  if (own.length === 0) return failed;
  for (const [about, , cause] of failed.filter(isRoute)) {
    assert.ok(own.some((one) => one[2] === (cause === 'unexplained' ? one[2] : cause)), `${about} names another cause: ${cause}`);
  }
  return own;
}

/** Causes that a test of this file has seen named alone. */
const seen = new Set();

/** Exactly one check failed: this one, for this cause. */
function names(report, about, check, cause) {
  assert.deepEqual(failures(report), [[about, check, cause]], JSON.stringify(report.checks, null, 1));
  assert.equal(report.exit_code, 2);
  assert.ok(named({ checks: marked(report, 'failed') }, check).remedy.length > 10);
  seen.add(cause);
}

/** Every cause, from the table in the product's source. */
const CAUSES = [...readFileSync(path.join(import.meta.dirname, '../../src/sms/cause.rs'), 'utf8').matchAll(/^ {4}\w+ +"([\w-]+)" +(?:Account|Message|Provider|Ours) +"/gm)].map(([, word]) => word);
/** Causes that a host can have and that doctor cannot meet, each with its reason. */
const CANNOT_MEET = {};
/** Causes with a broken host here. */
const hosts = new Set();

/** A test of a broken host; it must see this cause with `names`. */
function broken(cause, what, body) {
  assert.ok(CAUSES.includes(cause), `there is no cause ${cause}`);
  hosts.add(cause);
  test(`${cause}: ${what}`, async (t) => {
    seen.delete(cause);
    await body(t);
    assert.ok(seen.has(cause), `this test never saw ${cause} named`);
  });
}

/** One provider, `service`, without a running sidecar. */
async function alone(t, service, { fake, entry, ...more } = {}) {
  const made = await stage(t, { services: [service], start: false, fakes: { [service]: fake }, ...more });
  if (entry) made.vault.put(service, entry);
  return { ...made, fake: made.fakes[service] };
}

/** The usual entrypoint, and an admin address where nothing listens, so that doctor queries no other sidecar. */
const LISTEN = { proxy: '127.0.0.1:8125', admin: '127.0.0.1:1' };

describe('a healthy host', () => {
  for (const service of Object.keys(SERVICES)) {
    test(`${service}: nothing fails, nothing is sent`, async (t) => {
      const made = await alone(t, service);
      const report = await doctor(written(made));
      assert.deepEqual(failures(report), []);
      assert.equal(report.exit_code, 0, JSON.stringify(report.checks, null, 1));
      for (const check of ['config', 'vault', 'fields', 'age', 'dns', 'tcp', 'clock', 'service']) assert.equal(named(report, check).result, 'ok', check);
      assert.equal(made.fake.delivered.length, 0);
      if (['playmobile', 'sayqal'].includes(service)) return;
      for (const check of ['endpoint', 'credential', 'addresses']) assert.equal(named(report, check).result, 'ok', check);
    });
  }

  test('the checks come in the order in which a request would fail: config, vault, connection, account, backend, message', async (t) => {
    const made = await alone(t, 'twilio', { fake: { tls: testAuthority(folder(t), 'long', 90) } });
    mkdirSync(path.join(made.at, 'backend'));
    writeFileSync(path.join(made.at, 'backend', '.env'), `TWILIO_AUTH_TOKEN=${'0'.repeat(32)}\n`);
    const report = await doctor(written(made), '--backend', path.join(made.at, 'backend'), '--send-to', `+${TO}`);
    assert.deepEqual(report.checks.map(({ about, check }) => `${about}${about && ' '}${check}`), [
      'config', 'sidecar',
      ...['vault', 'fields', 'age', 'dns', 'tcp', 'tls', 'clock', 'endpoint', 'service', 'credential', 'account', 'production', 'balance', 'addresses', 'sender', 'template'].map((check) => `twilio ${check}`),
      'route all delivery', 'backend env-file', 'backend variables', 'backend entrypoint', 'backend seen', 'message send',
    ]);
  });

  test('TLS: the chain is trusted with `ca_file`, and the report has its remaining time', async (t) => {
    const at = folder(t);
    const made = await alone(t, 'twilio', { fake: { tls: testAuthority(at, 'long', 90) } });
    const report = await doctor(written(made));
    assert.equal(report.exit_code, 0);
    assert.match(named(report, 'tls').evidence, /trusted and has 89 days left/);
  });

  test('TLS: a certificate that expires soon is a warning', async (t) => {
    const at = folder(t);
    const made = await alone(t, 'twilio', { fake: { tls: testAuthority(at, 'short', 3) } });
    const report = await doctor(written(made));
    assert.equal(report.exit_code, 1);
    assert.deepEqual(marked(report, 'warning').map(({ check }) => check), ['tls']);
  });

  test('the text output has the same facts under headings, without colours outside a terminal', async (t) => {
    const made = await stage(t, { services: ['twilio', 'vonage'], start: false });
    const { code, out } = await run(['doctor', '--config', written(made)]);
    assert.equal(code, 0);
    assert.match(out, /^twilio\n {2}ok {7}vault /m);
    assert.match(out, /^vonage\n/m);
    assert.match(out, /\d+ checks: 0 failed, 0 with a warning/);
    assert.ok(!out.includes('\x1b'), 'colours on a pipe');
  });

  test('only the provider named on the command line is checked', async (t) => {
    const made = await stage(t, { services: ['twilio', 'vonage'], start: false });
    const report = await doctor(written(made), '--provider', 'vonage');
    assert.equal(made.fakes.twilio.received.length, 0);
    assert.ok(report.checks.every(({ about }) => about !== 'twilio'));
    const unknown = await run(['doctor', '--config', written(made), '--provider', 'nobody']);
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /no provider `nobody`; its providers are twilio, vonage/);
  });

  test('--help documents the exit codes', async () => {
    const { out } = await run(['doctor', '--help']);
    assert.match(out, /Exit code: 0 .*1 .*2 /s);
  });
});

describe('a broken config or vault', () => {
  test('a config with an error: named, and no request is sent', async (t) => {
    const made = await alone(t, 'twilio');
    const report = await doctor(written(made, (config) => ({ ...config, nonsense: true })));
    names(report, '', 'config', null);
    assert.equal(made.fake.received.length, 0);
  });

  broken('credential-missing', 'no such entry', async (t) => {
    const made = await alone(t, 'twilio', { provider: { credential: { vault: 'local', path: 'nowhere' } } });
    names(await doctor(written(made)), 'twilio', 'vault', 'credential-missing');
    assert.ok(made.fake.received.every(({ headers }) => !headers.authorization));
  });

  broken('credential-missing', 'a field is empty', async (t) => {
    const made = await alone(t, 'twilio', { entry: { auth_token: '' } });
    names(await doctor(written(made)), 'twilio', 'fields', 'credential-missing');
  });

  for (const [what, entry, words] of [
    ['the placeholder', { auth_token: '0'.repeat(32) }, /placeholder/],
    ['swapped user and password', { account_sid: 'fedcba9876543210fedcba9876543210', auth_token: 'AC0123456789abcdef0123456789abcdef' }, /swapped/],
  ]) {
    broken('credential-missing', `before any request: ${what}`, async (t) => {
      const made = await alone(t, 'twilio', { entry });
      const report = await doctor(written(made));
      names(report, 'twilio', 'fields', 'credential-missing');
      assert.match(named(report, 'fields').evidence, words);
      assert.match(named(report, 'fields').evidence, /^Nothing was sent: /);
      assert.match(named(report, 'fields').remedy, /^put (account_sid|auth_token|account_sid and auth_token) as the twilio console .* shows (it|them) into local:twilio: write the files/);
      assert.ok(made.fake.received.every(({ headers }) => !headers.authorization), 'it was sent all the same');
    });
  }

  broken('vault-unavailable', 'a newline inside a field', async (t) => {
    const made = await alone(t, 'twilio', { entry: { auth_token: 'fedcba9876543210\nfedcba9876543210' } });
    const report = await doctor(written(made));
    names(report, 'twilio', 'vault', 'vault-unavailable');
    assert.match(named(report, 'vault').evidence, /field `auth_token` of .* contains a newline/);
    assert.ok(made.fake.received.every(({ headers }) => !headers.authorization));
  });

  test('blanks, newlines and a byte order mark around a field are not sent', async (t) => {
    const made = await alone(t, 'twilio', { entry: { auth_token: `\ufeff ${SERVICES.twilio[1].auth_token}\n\n` } });
    const report = await doctor(written(made));
    assert.deepEqual(failures(report), []);
    assert.ok(made.fake.received.some(({ headers }) => headers.authorization));
  });

  test('the same value in two fields is a warning', async (t) => {
    const made = await alone(t, 'playmobile', { entry: { username: 'same-canary', password: 'same-canary' } });
    const report = await doctor(written(made));
    assert.deepEqual(marked(report, 'warning').map(({ check }) => check), ['fields']);
  });

  broken('vault-unavailable', 'the file of the vault cannot be opened', async (t) => {
    const made = await alone(t, 'twilio', { vault: { local: { embedded: { file: 'gone.age', key_file: 'gone.key' } } } });
    const report = await doctor(written(made));
    names(report, 'twilio', 'vault', 'vault-unavailable');
  });
});

describe('a broken vault server (a real OpenBao)', () => {
  async function house(t) {
    const at = folder(t);
    const bao = await openbao(t, at);
    await bao.mount();
    await bao.put('twilio', SERVICES.twilio[1]);
    const vault = { local: { openbao: { address: bao.address, timeout: '2s', approle: await bao.approle(at) } } };
    const made = await alone(t, 'twilio', { vault });
    return { bao, file: written(made), made };
  }
  const unavailable = async (file, words) => {
    const report = await doctor(file);
    names(report, 'twilio', 'vault', 'vault-unavailable');
    assert.match(named(report, 'vault').evidence, words);
    assert.match(named(report, 'vault').remedy, /sms-sidecar check --vault/);
  };

  broken('credential-missing', 'ok while the entry exists, named once its path is deleted', async (t) => {
    const { bao, file } = await house(t);
    const report = await doctor(file);
    assert.deepEqual([named(report, 'vault').result, named(report, 'credential').result, report.exit_code], ['ok', 'ok', 0], JSON.stringify(report.checks, null, 1));
    await bao.api('DELETE', 'secret/metadata/twilio');
    names(await doctor(file), 'twilio', 'vault', 'credential-missing');
  });

  broken('vault-unavailable', 'not authorised, sealed and down have different messages', async (t) => {
    const { bao, file, made } = await house(t);
    await bao.policy('sms', 'path "secret/data/nothing" { capabilities = ["read"] }');
    await unavailable(file, /permission|policy|403/i);
    await bao.seal();
    await unavailable(file, /sealed/i);
    await bao.stop();
    await unavailable(file, /connect|refused|reach/i);
    assert.ok(made.fake.received.every(({ headers }) => !headers.authorization));
  });
});

describe('a broken connection', () => {
  broken('unreachable', 'nothing listens there', async (t) => {
    const port = await freePort();
    const made = await alone(t, 'twilio', { provider: { base_url: `http://127.0.0.1:${port}/2010-04-01` } });
    names(await doctor(written(made)), 'twilio', 'tcp', 'unreachable');
  });

  broken('unreachable', 'the name cannot be resolved', async (t) => {
    const made = await alone(t, 'twilio', { provider: { base_url: 'http://sms.invalid/2010-04-01' } });
    names(await doctor(written(made)), 'twilio', 'dns', 'unreachable');
  });

  broken('tls-untrusted', 'an untrusted issuer', async (t) => {
    const made = await alone(t, 'twilio', { fake: { tls: testAuthority(folder(t)) }, provider: { ca_file: null } });
    names(await doctor(written(made)), 'twilio', 'tls', 'tls-untrusted');
    assert.equal(made.fake.received.length, 0);
  });

  broken('timeout', 'a probe that hangs is ended after the provider\'s timeout', async (t) => {
    const made = await alone(t, 'twilio', { provider: { timeout: '1s' } });
    const release = made.fake.hold(10);
    t.after(release);
    names(await doctor(written(made)), 'twilio', 'service', 'timeout');
    assert.equal(made.fake.received.length, 1, 'a service that hangs gets no second request');
  });

  broken('timeout', 'a service without a probe hangs', async (t) => {
    const made = await alone(t, 'playmobile', { provider: { timeout: '1s' } });
    t.after(made.fake.hold(10));
    names(await doctor(written(made)), 'playmobile', 'service', 'timeout');
  });

  broken('reply-unreadable', 'the answer is not HTTP', async (t) => {
    const made = await alone(t, 'twilio');
    made.fake.raw('220 mail.example ESMTP\r\n', 10);
    names(await doctor(written(made)), 'twilio', 'service', 'reply-unreadable');
  });

  broken('reply-unreadable', 'an HTML page instead of an API reply', async (t) => {
    const made = await alone(t, 'twilio');
    made.fake.status(200, { times: 10, headers: { 'content-type': 'text/html' }, body: '<h1>Welcome</h1>' });
    names(await doctor(written(made)), 'twilio', 'service', 'reply-unreadable');
  });

  broken('clock-skew', 'our clock differs from the service\'s', async (t) => {
    const made = await alone(t, 'aws-sns', { fake: { ahead: 900 } });
    names(await doctor(written(made)), 'aws-sns', 'clock', 'clock-skew');
  });

  broken('clock-skew', 'also where the service accepts it', async (t) => {
    const made = await alone(t, 'twilio', { fake: { ahead: -900 } });
    const report = await doctor(written(made));
    names(report, 'twilio', 'clock', 'clock-skew');
    assert.match(named(report, 'clock').evidence, /15 min ahead/);
  });

  broken('endpoint-wrong', 'an older version of the API', async (t) => {
    const made = await alone(t, 'twilio');
    made.config.providers.twilio.base_url = `${made.fake.origin}/2008-08-01`;
    names(await doctor(written(made)), 'twilio', 'endpoint', 'endpoint-wrong');
  });

  broken('endpoint-wrong', 'a retired host that no longer answers', async (t) => {
    const made = await alone(t, 'playmobile', { provider: { base_url: 'http://sms.invalid:8083/broker-api' } });
    const report = await doctor(written(made));
    names(report, 'playmobile', 'endpoint', 'endpoint-wrong');
    assert.match(named(report, 'endpoint').remedy, /https:\/\/send\.smsxabar\.uz\/broker-api/);
  });

  test('a retired host that still answers is a warning', async (t) => {
    const made = await alone(t, 'twilio');
    const own = path.join(made.at, 'own');
    mkdirSync(own);
    writeFileSync(path.join(own, 'twilio.toml'), `dialect = "twilio"\nextends = "twilio"\nevidence = "vendor"\nretired_hosts = ["127.0.0.1:${made.fake.port}/2010-04-01"]\n`);
    const report = await doctor(written(made, (config) => ({ dialects: own, ...config })));
    assert.deepEqual(failures(report), []);
    assert.deepEqual(marked(report, 'warning').map(({ check }) => check), ['config', 'endpoint']);
    assert.match(named(report, 'endpoint').evidence, /is an old address; twilio is now at https:\/\/api\.twilio\.com/);
  });

  broken('endpoint-wrong', 'an unverified probe finds it, with the user\'s consent', async (t) => {
    const made = await alone(t, 'playmobile');
    made.config.providers.playmobile.base_url = `${made.fake.origin}/broker`;
    names(await doctor(written(made), '--yes'), 'playmobile', 'endpoint', 'endpoint-wrong');
  });
});

describe('a broken account', () => {
  const rejectedAt = (service, cause, check, more = {}) => broken(cause, `at ${service}`, async (t) => {
    const made = await alone(t, service, more);
    (more.order ?? ((fake) => fake.reject(cause)))(made.fake);
    const report = await doctor(written(made), ...(more.args ?? []));
    names(report, service, check, cause);
    assert.equal(made.fake.delivered.length, 0);
  });

  for (const service of ['twilio', 'eskiz', 'vonage', 'infobip', 'smsc', 'aws-sns']) {
    rejectedAt(service, 'credential-rejected', 'credential', { order: (fake) => fake.rotate(Object.fromEntries(Object.entries(fake.credential).map(([name, value]) => [name, ['account_sid', 'email', 'username', 'access_key_id'].includes(name) || service === 'vonage' && name === 'api_key' ? value : `${value.slice(0, -1)}${value.endsWith('0') ? '1' : '0'}`]))) });
  }
  rejectedAt('playmobile', 'credential-rejected', 'credential', { args: ['--yes'], order: (fake) => fake.rotate({ password: 'another' }) });
  rejectedAt('aws-sns', 'credential-expired', 'credential');
  // Its token is a moment old, so it has not expired, whatever the service says.
  rejectedAt('eskiz', 'credential-rejected', 'credential', { order: (fake) => { fake.grantsDead = true; } });
  rejectedAt('aws-sns', 'permission-denied', 'account');
  rejectedAt('playmobile', 'account-suspended', 'account', { args: ['--yes'] });
  rejectedAt('twilio', 'account-suspended', 'account', { order: (fake) => { fake.accountStatus = 'suspended'; } });
  rejectedAt('twilio', 'balance-empty', 'balance', { order: (fake) => { fake.balance = '0.00'; } });
  rejectedAt('eskiz', 'balance-empty', 'balance', { order: (fake) => { fake.balance = 0; } });
  rejectedAt('vonage', 'balance-empty', 'balance', { order: (fake) => { fake.balance = -0.5; } });
  rejectedAt('smsc', 'balance-empty', 'balance', { order: (fake) => { fake.balance = '0'; } });
  rejectedAt('eskiz', 'sandbox-mismatch', 'production', { order: (fake) => { fake.role = 'test'; } });
  rejectedAt('twilio', 'sandbox-mismatch', 'production');
  rejectedAt('aws-sns', 'sandbox-mismatch', 'production', { order: (fake) => { fake.sandbox = true; } });
  rejectedAt('playmobile', 'ip-not-allowed', 'addresses', { args: ['--yes'], order: (fake) => fake.status(403, { times: 10 }) });
  rejectedAt('twilio', 'throttled', 'service');
  rejectedAt('twilio', 'provider-fault', 'service');
  rejectedAt('twilio', 'unexplained', 'service', { order: (fake) => fake.status(400, { times: 10, headers: { 'content-type': 'application/json' }, body: '{"code":99999,"message":"of tomorrow","status":400}' }) });

  test('a credential that the service echoes is masked', async (t) => {
    const made = await alone(t, 'twilio');
    const { account_sid: sid, auth_token: token } = made.fake.credential;
    const basic = Buffer.from(`${sid}:${token}`).toString('base64');
    made.fake.status(401, { times: 10, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ code: 20003, message: `no such token ${token} nor ${basic} for +${TO}`, status: 401 }) });
    const report = await doctor(written(made));
    names(report, 'twilio', 'credential', 'credential-rejected');
    assert.match(named(report, 'credential').evidence, /no such token \*\*\*/);
  });

  test('a rejected credential is sent once more, to read the balance', async (t) => {
    const made = await alone(t, 'twilio');
    made.fake.rotate({ auth_token: 'another' });
    await doctor(written(made));
    assert.equal(made.fake.received.length, 2);
    assert.match(made.fake.received[1].path, /Balance\.json$/);
  });

  broken('sandbox-mismatch', 'a sender of the sandbox', async (t) => {
    const made = await alone(t, 'twilio', { provider: { sender: '+15005550006' } });
    const report = await doctor(written(made));
    names(report, 'twilio', 'sender', 'sandbox-mismatch');
    assert.match(named(report, 'sender').remedy, /^set providers\.twilio\.sender in /);
  });

  broken('sender-not-allowed', 'the service lists the senders of the account', async (t) => {
    const made = await alone(t, 'eskiz', { provider: { sender: '1port' } });
    made.fake.nicks.push('Another');
    const report = await doctor(written(made));
    names(report, 'eskiz', 'sender', 'sender-not-allowed');
    assert.deepEqual(['sender', 'delivery'].map((name) => named(report, name).certainty), ['likely', 'likely'], 'a route is no surer than what it follows from');
    assert.equal(named(report, 'sender').certainty, 'likely');
    made.fake.nicks.push('1port');
    const mended = await doctor(written(made));
    assert.equal(named(mended, 'sender').result, 'ok');
    assert.equal(mended.exit_code, 0);
  });

  for (const service of ['twilio', 'smsc']) {
    broken('sender-not-allowed', `${service} lists another sender for the account`, async (t) => {
      const made = await alone(t, service);
      const listed = await doctor(written(made));
      assert.deepEqual([named(listed, 'sender').result, listed.exit_code], ['ok', 0], named(listed, 'sender').evidence);
      made.fake.senders = ['+12025550199', 'Another'];
      const report = await doctor(written(made));
      names(report, service, 'sender', 'sender-not-allowed');
      assert.equal(named(report, 'sender').certainty, 'likely');
      assert.equal(made.fake.delivered.length, 0);
    });
  }

  test('a number is searched by name, so that paging cannot miss it', async (t) => {
    const made = await alone(t, 'twilio');
    made.fake.senders = [...Array.from({ length: 60 }, (_, n) => `+120255502${String(n).padStart(2, '0')}`), '+12025550123'];
    assert.equal(named(await doctor(written(made)), 'sender').result, 'ok');
  });

  test('a name or a messaging service is on no list of numbers: not known, and reported as such', async (t) => {
    for (const sender of ['1port', 'MG00000000000000000000000000000001']) {
      const report = await doctor(written(await alone(t, 'twilio', { provider: { sender } })));
      assert.equal(named(report, 'sender').result, 'skipped');
      assert.match(named(report, 'sender').evidence, /twilio lists only numbers/);
    }
  });

  test('an account that may send but not list: not known, and not a failure', async (t) => {
    const made = await alone(t, 'twilio');
    made.fake.rejectPath(`/2010-04-01/Accounts/${made.fake.credential.account_sid}/IncomingPhoneNumbers.json`, 'permission-denied');
    const report = await doctor(written(made));
    assert.equal(report.exit_code, 0, JSON.stringify(report.checks, null, 1));
    assert.match(named(report, 'sender').evidence, /IncomingPhoneNumbers\.json does not show/);
  });

  for (const service of Object.keys(SERVICES)) {
    test(`doctor and \`dialects show\` agree on what ${service} does not report`, async (t) => {
      const { not_reported: untold, probes } = JSON.parse((await run(['dialects', '--json', 'show', service])).out);
      const sheet = (await run(['dialects', 'show', service])).out;
      assert.ok(!untold.length || sheet.includes(`not probed  ${untold.join(', ')}`), sheet);
      const report = await doctor(written(await alone(t, service)), '--yes');
      for (const [ask, check] of [['sender', 'sender'], ['template', 'template']]) {
        const says = /does not report/.test(named(report, check).evidence);
        assert.equal(says, untold.includes(ask), `${check}: ${named(report, check).evidence}`);
        assert.equal(untold.includes(ask), !probes.some(({ about }) => about === ask));
      }
    });
  }

  const loginAs = (status, text = '1port ilovasiga kirish kodi: %d') => [{ id: 1, template: text, original_text: text.replace('%d', '4711'), status }];
  const LOGIN = { login: { text: '1port: kod {code}', texts: { eskiz: '1port ilovasiga kirish kodi: {code}' } } };
  for (const [status, words, certainty] of [
    ['moderation', /login waits for approval/, 'certain'], ['inproccess', /login waits for approval/, 'certain'], ['rejected', /login was rejected/, 'certain'],
    [undefined, /login is not among the listed texts/, 'likely'],
  ]) {
    broken('template-not-approved', `the service lists the text as ${status ?? 'nothing at all'}`, async (t) => {
      const made = await alone(t, 'eskiz', { config: { templates: LOGIN } });
      made.fake.templates = status ? loginAs(status) : loginAs('service', '1port ilovasiga kirish kodi: %d.');
      const report = await doctor(written(made));
      names(report, 'eskiz', 'template', 'template-not-approved');
      assert.match(named(report, 'template').evidence, words);
      assert.equal(named(report, 'template').certainty, certainty);
    });
  }

  test('approved texts, in every notation of their variable part', async (t) => {
    const made = await alone(t, 'eskiz', { config: { templates: LOGIN } });
    for (const listed of [loginAs('service'), loginAs('reklama'), [...loginAs('rejected'), ...loginAs('service')]]) {
      made.fake.templates = listed;
      const report = await doctor(written(made));
      assert.deepEqual([named(report, 'template').result, report.exit_code], ['ok', 0], named(report, 'template').evidence);
      assert.match(named(report, 'template').evidence, /by GET \/user\/templates, approved: login/);
    }
    for (const listed of [[{ id: 1, original_text: '1port  ilovasiga kirish kodi: 12345 ', status: 'service' }], loginAs('service', '%w ilovasiga kirish kodi: %d').map((one) => ({ ...one, original_text: '1port ilovasiga kirish kodi: 4711' }))]) {
      made.fake.templates = listed;
      const report = await doctor(written(made));
      assert.deepEqual([named(report, 'template').result, report.exit_code], ['skipped', 0], 'an example says nothing of other words');
      assert.match(named(report, 'template').evidence, /login is similar to an approved text/);
    }
  });

  broken('template-not-approved', 'the backend\'s own text, which is sent unchanged, is not on the list', async (t) => {
    const made = await alone(t, 'eskiz', { config: { templates: { login: { text: '1port: kod {code}' } } } });
    names(await doctor(written(made)), 'eskiz', 'template', 'template-not-approved');
  });

  test('an unreadable list: not known, and not a failure', async (t) => {
    const made = await alone(t, 'eskiz', { config: { templates: LOGIN } });
    made.fake.templates = undefined;
    const report = await doctor(written(made));
    assert.equal(report.exit_code, 0);
    assert.match(named(report, 'template').evidence, /GET \/user\/templates does not show whether they are approved/);
  });

  broken('template-not-approved', 'a provider with `templates = "only"` without templates', async (t) => {
    const made = await alone(t, 'eskiz', { provider: { templates: 'only' } });
    const report = await doctor(written(made));
    names(report, 'eskiz', 'template', 'template-not-approved');
    assert.equal(named(report, 'delivery').evidence, 'no provider is left to deliver: eskiz (template-not-approved)');
  });

  test('a text without its approved form is a warning; with all of them the check is ok', async (t) => {
    const templates = { login: { text: '1port: kod {code}', texts: { eskiz: '1port ilovasiga kirish kodi: {code}' } }, reset: { text: '1port: parol {code}' } };
    const made = await alone(t, 'eskiz', { provider: { templates: 'only' }, config: { templates } });
    const report = await doctor(written(made));
    assert.equal(report.exit_code, 1);
    assert.match(named(report, 'template').evidence, /^reset have no approved text/);
    delete templates.reset;
    assert.equal((await doctor(written(made))).exit_code, 0);
  });

  test('the report has the balance', async (t) => {
    const report = await doctor(written(await alone(t, 'twilio')));
    assert.match(named(report, 'balance').evidence, /^12.3 USD left; how long it lasts is not known/);
  });

  test('two broken accounts at once: each has its own cause', async (t) => {
    const made = await stage(t, { services: ['twilio', 'vonage', 'eskiz'], start: false });
    made.fakes.twilio.accountStatus = 'closed';
    made.fakes.vonage.balance = 0;
    assert.deepEqual(failures(await doctor(written(made))), [['twilio', 'account', 'account-suspended'], ['vonage', 'balance', 'balance-empty']]);
  });
});

describe('an unverified probe', () => {
  test('is skipped, and the report says so', async (t) => {
    const made = await alone(t, 'playmobile');
    const report = await doctor(written(made));
    assert.match(named(report, 'credential').evidence, /skipped: POST \/send .*--yes/);
    assert.ok(made.fake.received.every(({ method }) => method === 'GET'));
  });

  test('an account lock that no probe shows is reported as not known, never as ok, in every line', async (t) => {
    const made = await alone(t, 'playmobile');
    made.fake.lockedSends = true;
    for (const args of [[], ['--yes']]) {
      const report = await doctor(written(made), ...args);
      assert.equal(named(report, 'account').result, 'skipped');
      assert.match(args.length ? named(report, 'account').evidence : named(report, 'credential').evidence, args.length ? /no probe of playmobile shows whether the account is locked or suspended; only a send does/ : /never tried against this service/);
      assert.match(named(report, 'delivery').evidence, /playmobile \(not known: credential, account, balance, addresses; only a send shows it\)/);
      assert.ok(report.checks.every(({ evidence }) => !/in order/.test(evidence)), 'a check claims more than the probe shows');
    }
    const sent = await doctor(written(made), '--send-to', `+${TO}`);
    names(sent, 'message', 'send', 'account-suspended');
    assert.equal(made.fake.delivered.length, 0);
  });

  test('runs with --yes, and sends nothing', async (t) => {
    const made = await alone(t, 'playmobile');
    const report = await doctor(written(made), '--yes');
    for (const check of ['credential', 'addresses']) {
      assert.equal(named(report, check).result, 'skipped', check);
      assert.match(named(report, check).evidence, /the service answered POST \/send, but it is not documented that this proves/);
    }
    assert.match(named(report, 'delivery').evidence, /not known: credential, .*addresses/);
    assert.equal(made.fake.delivered.length, 0);
    assert.deepEqual(JSON.parse(made.fake.received[0].body), { messages: [] });
  });

  for (const [answer, requests] of [['y', 1], ['n', 0]]) {
    test(`at a terminal doctor asks first: ${answer}`, async (t) => {
      const made = await alone(t, 'playmobile');
      const child = spawn('script', ['-qec', `${BINARY} doctor --config ${written(made)}`, '/dev/null'], { stdio: ['pipe', 'pipe', 'pipe'] });
      let out = '';
      child.stdout.setEncoding('utf8').on('data', (text) => {
        out += text;
        if (text.includes('[y/N]')) child.stdin.write(`${answer}\n`);
      });
      await once(child, 'close');
      assert.match(out, /playmobile: send POST \/send with its credential\?/);
      assert.ok(out.includes('\x1b['), 'no colours on a terminal');
      assert.equal(made.fake.received.filter(({ method }) => method === 'POST').length, requests, out);
    });
  }
});

describe('--send-to', () => {
  const send = (file, ...args) => doctor(file, '--send-to', `+${TO}`, ...args);

  test('sends one message and shows each attempt', async (t) => {
    const made = await stage(t, { services: ['playmobile', 'twilio'], start: false });
    made.fakes.playmobile.reject('account-suspended');
    const file = written(made);
    const report = await send(file);
    assert.equal(made.fakes.twilio.delivered.length, 1);
    assert.deepEqual(report.send.attempts.map(({ provider, outcome, cause }) => [provider, outcome, cause]), [['playmobile', 'rejected', 'account-suspended'], ['twilio', 'accepted', null]]);
    assert.deepEqual([named(report, 'send').result, named(report, 'send').cause], ['warning', 'account-suspended']);
    const { out } = await run(['doctor', '--config', file, '--send-to', `+${TO}`]);
    assert.match(out, /playmobile: rejected account-suspended 400 in \d+ ms\n {2}twilio: accepted 201 in/);
  });

  for (const [service, cause] of [
    ['twilio', 'sender-not-allowed'], ['twilio', 'recipient-invalid'], ['twilio', 'recipient-blocked'], ['twilio', 'message-invalid'],
    ['infobip', 'duplicate'], ['eskiz', 'template-not-approved'], ['sayqal', 'credential-rejected'], ['infobip', 'sandbox-mismatch'],
  ]) {
    broken(cause, `at ${service} appears in the send`, async (t) => {
      const made = await alone(t, service, { route: { attempts: 1 } });
      if (['sayqal'].includes(service)) made.fake.reject(cause);
      else made.fake.rejectPath(made.fake.path, cause);
      names(await send(written(made)), 'message', 'send', cause);
    });
  }

  test('the backend\'s own text is sent in its approved form', async (t) => {
    const templates = { login: { text: '1port: kod {code}', texts: { eskiz: '1port ilovasiga kirish kodi: {code}' } } };
    const made = await alone(t, 'eskiz', { provider: { templates: 'only' }, config: { templates } });
    assert.equal((await send(written(made))).exit_code, 0);
    assert.equal(made.fake.delivered[0].text, '1port ilovasiga kirish kodi: 123456');
    await send(written(made), '--text', '1port: kod 7777');
    assert.equal(made.fake.delivered[1].text, '1port ilovasiga kirish kodi: 7777');
  });

  for (const started of [false, true]) {
    test(`--provider P sends through P alone, ${started ? 'by the running sidecar' : 'without one'}, and the report says so`, async (t) => {
      const made = await stage(t, { services: ['playmobile', 'twilio', 'vonage'], start: started });
      const file = started ? made.proxy.file : written(made);
      for (const name of ['twilio', 'vonage', 'playmobile']) {
        const report = await send(file, '--provider', name, '--text', 'Kod: 4711');
        assert.deepEqual([named(report, 'send').result, report.exit_code], ['ok', 0], named(report, 'send').evidence);
        assert.match(named(report, 'send').evidence, new RegExp(`^${name} accepted the message .*; no other provider was allowed$`));
        assert.deepEqual(report.send.attempts.map(({ provider }) => provider), [name]);
        assert.equal(report.send.route, null, 'no route was taken');
      }
      // The same text to the same number, one after the other: P sent each of them.
      for (const [name, fake] of Object.entries(made.fakes)) assert.equal(fake.delivered.length, 1, name);
    });
  }

  broken('sender-not-allowed', 'at P, with --provider P, without failover', async (t) => {
    const made = await stage(t, { services: ['playmobile', 'twilio'], start: false });
    made.fakes.twilio.rejectPath(made.fakes.twilio.path, 'sender-not-allowed');
    const report = await send(written(made), '--provider', 'twilio');
    names(report, 'message', 'send', 'sender-not-allowed');
    assert.match(named(report, 'send').evidence, /^the result of the message through twilio alone is not-sent/);
    assert.equal(made.fakes.playmobile.received.length, 0);
  });

  test('`send --provider` does the same, and an unknown provider is an error', async (t) => {
    const { proxy, fakes } = await stage(t, { services: ['playmobile', 'twilio'] });
    const ask = (...more) => run(['send', '--config', proxy.file, '--to', `+${TO}`, '--text', 'Kod: 1', ...more]);
    assert.equal((await ask('--provider', 'twilio')).code, 0);
    assert.deepEqual([fakes.playmobile.delivered.length, fakes.twilio.delivered.length], [0, 1]);
    assert.equal(await proxy.metric('route_first_choice', { route: 'all' }), 1, 'a send by hand does not make the route run on its backup');
    const unknown = await ask('--provider', 'nobody');
    assert.equal(unknown.code, 2);
    assert.match(unknown.err, /no provider `nobody`; the providers are playmobile, twilio/);
  });

  test('an invalid number is an error, and the message does not show it', async (t) => {
    const made = await alone(t, 'twilio');
    const report = await doctor(written(made), '--send-to', 'nobody');
    assert.equal(report.exit_code, 2);
    assert.equal(made.fake.delivered.length, 0);
  });

  test('without it no message is sent', async (t) => {
    const made = await stage(t, { services: Object.keys(SERVICES), start: false });
    await doctor(written(made), '--yes');
    for (const [service, fake] of Object.entries(made.fakes)) assert.equal(fake.delivered.length, 0, service);
  });
});

describe('the report for people', () => {
  test('what failed is repeated at the end with its steps, and --quiet shows nothing else', async (t) => {
    const made = await alone(t, 'twilio', { entry: { auth_token: '' } });
    const args = ['doctor', '--config', written(made)];
    const report = await doctor(args[2]);
    const { steps } = named(report, 'fields');
    assert.match(steps[0].text, /^put auth_token /);
    const whole = await run(args);
    const [, repeated] = whole.out.split('Failed, and what to do');
    assert.match(repeated, /twilio: fields: credential-missing/);
    assert.equal(repeated.split(steps[0].text).length, 2, whole.out);
    const quiet = await run([...args, '--quiet']);
    assert.deepEqual([quiet.code, whole.code], [report.exit_code, report.exit_code]);
    assert.match(quiet.out, /^twilio\n {2}failed /);
    assert.doesNotMatch(quiet.out, /\b(?:ok|skipped) {2}/);
    assert.match(quiet.out, /\d+ checks: \d+ failed/);
  });

  test('--quiet prints nothing where nothing is wrong', async (t) => {
    const { code, out, err } = await run(['doctor', '--config', written(await alone(t, 'twilio')), '--quiet']);
    assert.deepEqual([code, out, err], [0, '', '']);
  });
});

describe('the setup of this host', () => {
  const uz = { name: 'uz', recipients: ['+998'] };
  const send = (file, to = TO) => doctor(file, '--send-to', `+${to}`);

  broken('no-provider', 'a recipient whom no route and no provider serves, with --send-to', async (t) => {
    const made = await alone(t, 'twilio', { route: uz });
    const report = await send(written(made), '12025550123');
    names(report, 'message', 'send', 'no-provider');
    assert.match(named(report, 'send').remedy, /\[\[routes\]\]/);
    assert.equal(made.fake.delivered.length, 0);
  });

  broken('no-provider', 'the backend sends to recipients whom no provider serves', async (t) => {
    const { proxy } = await stage(t, { services: ['playmobile'], route: uz });
    assert.equal((await sendAs(proxy, 'twilio', { to: '12025550123' })).status, 503);
    const report = await doctor(proxy.file);
    names(report, 'backend', 'requests', 'no-provider');
    assert.match(named(report, 'requests').evidence, /in twilio's API went to recipients that no route and no provider serves/);
  });

  broken('recipient-invalid', 'a recipient whom the service does not deliver to, with --send-to', async (t) => {
    const made = await alone(t, 'playmobile');
    const report = await send(written(made), '12025550123');
    names(report, 'message', 'send', 'recipient-invalid');
    assert.equal(made.fake.received.filter(({ method }) => method === 'POST').length, 0);
  });

  broken('not-translatable', 'a route for recipients whom its only provider does not reach', async (t) => {
    const made = await alone(t, 'playmobile', { route: { name: 'us', recipients: ['+1'] } });
    const report = await doctor(written(made));
    names(report, 'route us', 'delivery', 'not-translatable');
    assert.deepEqual(marked(report, 'warning').map(({ check }) => check), ['config'], '`check` says it too');
  });

  broken('not-translatable', 'the backend sends fields that no provider of its route can express', async (t) => {
    const { proxy } = await stage(t, { services: ['playmobile'] });
    const reply = await sendAs(proxy, 'twilio', { MediaUrl: 'https://example.com/a.png' });
    assert.equal(reply.status, 503, reply.body);
    const report = await doctor(proxy.file);
    names(report, 'backend', 'requests', 'not-translatable');
    assert.match(named(report, 'requests').evidence, /1 of the last requests in twilio's API needed something that no provider of their route can send/);
  });

  broken('denied-by-policy', 'the backend sends a request that the sidecar denies', async (t) => {
    const { proxy } = await stage(t, { services: ['twilio'] });
    const keys = `${proxy.url}/twilio/2010-04-01/Accounts/AC${'0'.repeat(32)}/Keys.json`;
    assert.equal((await call(keys, {})).status, 403);
    await proxy.waitForOutput(/"remedy":"[^"]*`sms-sidecar reload --config \//);
    const report = await doctor(proxy.file);
    names(report, 'backend', 'requests', 'denied-by-policy');
    assert.match(named(report, 'requests').remedy, /dialects show twilio.*`operations` of the provider/);
  });

  broken('denied-by-policy', 'every provider of a route is paused', async (t) => {
    const { proxy } = await stage(t, { services: ['twilio', 'playmobile'] });
    for (const name of ['twilio', 'playmobile']) assert.equal((await run(['pause', '--config', proxy.file, name])).code, 0);
    const report = await doctor(proxy.file);
    names(report, 'route all', 'delivery', 'denied-by-policy');
    assert.match(named(report, 'delivery').remedy, /sms-sidecar resume twilio/);
    assert.deepEqual(marked(report, 'warning').map(({ about, check, cause }) => [about, check, cause]), ['twilio', 'playmobile'].map((name) => [name, 'state', 'denied-by-policy']));
    await run(['resume', '--config', proxy.file, 'playmobile']);
    const backup = await doctor(proxy.file);
    assert.deepEqual([backup.exit_code, named(backup, 'delivery').result], [1, 'ok']);
    assert.match(named(backup, 'delivery').evidence, /no problems found with playmobile.*; not by twilio \(denied-by-policy\)$/);
  });

  test('a route with a provider left is ok, and the report names the provider', async (t) => {
    const made = await stage(t, { services: ['twilio', 'vonage'], start: false });
    assert.match(named(await doctor(written(made)), 'delivery').evidence, /no problems found with twilio, then vonage/);
    made.fakes.twilio.accountStatus = 'closed';
    const report = await doctor(written(made));
    assert.deepEqual(marked(report, 'failed').map(({ about }) => about), ['twilio']);
    assert.match(of(report, 'route all', 'delivery').evidence, /no problems found with vonage.*; not by twilio \(account-suspended\)$/);
    made.fakes.vonage.balance = 0;
    const unusable = of(await doctor(written(made)), 'route all', 'delivery');
    assert.deepEqual([unusable.result, unusable.cause], ['failed', 'account-suspended']);
    assert.match(unusable.evidence, /twilio \(account-suspended\), vonage \(balance-empty\)/);
  });
});

describe('beside a running sidecar', () => {
  test('doctor reads it without disturbing it; the report has its uptime and states; it sends', async (t) => {
    const { proxy, fakes: { playmobile, twilio } } = await stage(t);
    delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
    const report = await doctor(proxy.file, '--send-to', `+${TO}`, '--text', 'Kod: 777');
    assert.deepEqual(failures(report), []);
    assert.equal(named(report, 'sidecar').result, 'ok');
    assert.match(named(report, 'age').evidence, /the running sidecar has used this version for/);
    assert.equal(named(report, 'state').result, 'ok');
    assert.deepEqual(playmobile.delivered.map(({ text }) => text).slice(1), ['Kod: 777']);
    assert.equal(await proxy.metric('requests_total', { entrypoint: 'control', result: 'accepted' }), 1, 'it was not the sidecar that sent');
    assert.equal(twilio.delivered.length, 0);
    delivered(await sendAs(proxy, 'playmobile', { text: 'Kod: 3' }), 'playmobile');
  });

  test('the days that the balance lasts, from the spending that the sidecar has seen', async (t) => {
    const made = await alone(t, 'twilio');
    const control = path.join(made.at, 'control.sock');
    // Stands in for a sidecar that has run for hours; its reply has the form that a test of the pipeline checks.
    const status = { providers: [{ provider: 'twilio', state: 'healthy', cause: null, balance: { value: 12.6, unit: 'USD', daily_spend: 2.5 } }], routes: [] };
    const server = http.createServer((_, res) => res.end(JSON.stringify(status))).listen(control);
    await once(server, 'listening');
    t.after(() => server.close());
    const report = await doctor(written(made, (config) => ({ ...config, listen: { ...LISTEN, control } })));
    assert.match(named(report, 'balance').evidence, /^12\.3 USD left, about 4\.9 days at 2\.50 a day$/);
    assert.deepEqual(marked(report, 'warning').map(({ check }) => check), ['balance']);
  });

  test('a quarantined provider is reported with its cause, even if no probe shows it', async (t) => {
    const { proxy, fakes: { playmobile } } = await stage(t);
    playmobile.reject('account-suspended', 1);
    delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
    const report = await doctor(proxy.file);
    assert.deepEqual(failures(report), []);
    const state = report.checks.find(({ about, check }) => about === 'playmobile' && check === 'state');
    assert.deepEqual([state.result, state.cause], ['warning', 'account-suspended']);
    assert.match(state.remedy, /sms-sidecar resume playmobile/);
  });
});

describe('the backend\'s environment', () => {
  /** A backend's folder with this `.env` and these versions of axios. */
  function backend(made, env, { axios = ['axios-1-7'], packages = [] } = {}) {
    const at = path.join(made.at, 'backend');
    mkdirSync(path.join(at, 'node_modules'), { recursive: true });
    if (env !== undefined) writeFileSync(path.join(at, '.env'), env);
    axios.forEach((name, n) => {
      const to = n === 0 ? 'node_modules/axios' : `node_modules/dependent-${n}/node_modules/axios`;
      mkdirSync(path.join(at, to), { recursive: true });
      cpSync(path.join(import.meta.dirname, 'node_modules', name, 'package.json'), path.join(at, to, 'package.json'));
    });
    for (const name of packages) {
      mkdirSync(path.join(at, 'node_modules', name), { recursive: true });
      writeFileSync(path.join(at, 'node_modules', name, 'package.json'), '{"version":"1.0.0"}');
    }
    return at;
  }

  async function judged(t, env, { more, config = {}, ...options } = {}) {
    const made = await alone(t, 'twilio', { config: { listen: LISTEN, ...config }, ...more });
    const report = await doctor(written(made), '--backend', backend(made, env(made), options));
    return { report, of: (name) => report.checks.find(({ about, check }) => about === 'backend' && check === name) };
  }

  const PLACEHOLDERS = `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN=${'0'.repeat(32)}\n`;
  const PROXIED = 'HTTP_PROXY=http://127.0.0.1:8125\nHTTPS_PROXY=http://127.0.0.1:8125\n';

  test('placeholders and both proxy variables: ok, and the entrypoint is named', async (t) => {
    const { report, of } = await judged(t, () => PLACEHOLDERS + PROXIED);
    assert.deepEqual(failures(report), []);
    assert.equal(report.exit_code, 0, JSON.stringify(report.checks, null, 1));
    assert.match(of('entrypoint').evidence, /axios 1\.7\.9 uses the absolute form/);
    assert.match(of('variables').evidence, /TWILIO_AUTH_TOKEN has a placeholder/);
    assert.equal(of('seen').result, 'skipped');
  });

  test('a newer axios tunnels, and then the CA must be there', async (t) => {
    const { of } = await judged(t, () => PLACEHOLDERS + PROXIED, { axios: ['axios-latest', 'axios-0-21'] });
    assert.match(of('entrypoint').evidence, /axios 0\.21\.4 uses the absolute form.*axios 1\.21\.1 uses CONNECT/);
    assert.equal(of('ca').result, 'failed');
  });

  test('with the CA in place; in the `.env` alone it is too late for dotenv', async (t) => {
    const made = await alone(t, 'twilio', { config: { listen: LISTEN } });
    const ca = authority(made.at, made.config);
    const file = written(made, (config) => ({ ...config, intercept: { ca } }));
    const env = `${PLACEHOLDERS}${PROXIED}NODE_EXTRA_CA_CERTS=${ca.cert_file}\n`;
    const ok = await doctor(file, '--backend', backend(made, env, { axios: ['axios-latest'] }));
    assert.equal(named(ok, 'ca').result, 'ok', JSON.stringify(ok.checks, null, 1));
    const late = await doctor(file, '--backend', backend(made, env, { axios: ['axios-latest'], packages: ['dotenv'] }));
    assert.equal(named(late, 'ca').result, 'warning');
    const other = testAuthority(made.at, 'other').caFile;
    const wrong = await doctor(file, '--backend', backend(made, env.replace(ca.cert_file, other), { axios: ['axios-latest'] }));
    assert.deepEqual(failures(wrong), [['backend', 'ca', null]]);
  });

  test('real values that equal the vault\'s are a warning, others too, and none is shown', async (t) => {
    const real = ({ fake }) => `TWILIO_ACCOUNT_SID=${fake.credential.account_sid}\nTWILIO_AUTH_TOKEN=${fake.credential.auth_token}\n${PROXIED}`;
    const { report, of } = await judged(t, real);
    assert.equal(report.exit_code, 1);
    assert.match(of('variables').evidence, /TWILIO_AUTH_TOKEN has the vault's real value/);
    const { of: other } = await judged(t, () => `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN=${'canary01'.repeat(4)}\n`);
    assert.match(other('variables').evidence, /TWILIO_AUTH_TOKEN has neither a placeholder nor the vault's value/);
  });

  for (const [what, env, check, words] of [
    ['BOM', `\ufeff${PLACEHOLDERS}${PROXIED}`, 'env-file', /byte order mark/],
    ['CRLF', (PLACEHOLDERS + PROXIED).replaceAll('\n', '\r\n'), 'env-file', /CR LF/],
    ['export', `export ${PLACEHOLDERS}${PROXIED}`, 'env-file', /`export`/],
    ['a quote that swallows the lines below', `TWILIO_ACCOUNT_SID="AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN=${'0'.repeat(32)}\nX=1"\n${PROXIED}`, 'variables', /not closed, so it includes the lines below/],
    ['a value of several lines', `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN="canary\ncanary"\n${PROXIED}`, 'variables', /TWILIO_AUTH_TOKEN contains a line break/],
    ['interpolation', `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN=\${SECRET_CANARY}\n${PROXIED}`, 'variables', /TWILIO_AUTH_TOKEN contains a `\$`/],
    ['a cut at #', `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\nTWILIO_AUTH_TOKEN=canary#canary\n${PROXIED}`, 'variables', /cut off at a `#`/],
    ['twice', `${PLACEHOLDERS}TWILIO_AUTH_TOKEN=${'0'.repeat(32)}\n${PROXIED}`, 'variables', /assigned more than once/],
    ['unset', `TWILIO_ACCOUNT_SID=AC${'0'.repeat(32)}\n${PROXIED}`, 'variables', /`auth_token` is not set/],
    ['NO_PROXY', `${PLACEHOLDERS}${PROXIED}NO_PROXY=localhost,.twilio.com\n`, 'no-proxy', /keeps api\.twilio\.com, verify\.twilio\.com away/],
    ['another proxy', `${PLACEHOLDERS}HTTPS_PROXY=http://user:canary@proxy.example:3128\n`, 'entrypoint', /a proxy that is not the sidecar/],
    ['no route here', PLACEHOLDERS, 'entrypoint', /nothing in the file points to the sidecar/],
  ]) {
    test(`${what}: named, and nothing else`, async (t) => {
      const { report, of } = await judged(t, () => env);
      assert.match(of(check).evidence, words);
      assert.deepEqual(report.checks.filter(({ result }) => ['warning', 'failed'].includes(result)).map((one) => one.check), [check], JSON.stringify(report.checks, null, 1));
    });
  }

  test('doctor reads a `.env` as npm\'s dotenv does', async () => {
    const { parse } = (await import('dotenv')).default;
    assert.equal(parse('PASS=abc#def').PASS, 'abc');
    assert.equal(parse('PASS="abc\nB=2\nC=3"').B, undefined);
    assert.equal(parse('PASS="abc\nB=2').B, '2');
    assert.equal(parse('PASS=${OTHER}').PASS, '${OTHER}');
    assert.deepEqual(parse('\ufeffexport PASS=\'a\'\r\nB=2\r\n'), { PASS: 'a', B: '2' });
  });

  test('NODE_USE_ENV_PROXY and an old axios', async (t) => {
    const made = await alone(t, 'twilio', { config: { listen: LISTEN } });
    const at = backend(made, `${PLACEHOLDERS}${PROXIED}NODE_USE_ENV_PROXY=1\n`);
    const node24 = path.join(import.meta.dirname, 'node_modules/node24/bin');
    const { out } = await run(['doctor', '--config', written(made), '--json', '--backend', at], { env: { PATH: `${node24}:${process.env.PATH}` } });
    assert.deepEqual(failures(JSON.parse(out)), [['backend', 'node-env-proxy', null]]);
  });

  test('in observe mode the backend\'s own value is sent: a truncated one fails', async (t) => {
    const made = await alone(t, 'twilio', { provider: { credential: null, sender: null }, config: { mode: 'observe' } });
    const report = await doctor(written(made), '--backend', backend(made, `TWILIO_ACCOUNT_SID=AC${'1'.repeat(32)}\nTWILIO_AUTH_TOKEN=abc#def\n`));
    assert.deepEqual(failures(report), [['backend', 'variables', null]]);
  });

  test('a `.env` that is itself the vault holds real values, by the names that the config gives them', async (t) => {
    const made = await alone(t, 'twilio');
    const { account_sid: sid, auth_token: token } = made.fake.credential;
    const at = backend(made, `OUR_SID=${sid}\nOUR_TOKEN=${token}\n${PROXIED}`);
    made.config.vaults.local = { env: { file: path.join(at, '.env') } };
    made.config.providers.twilio.credential = { vault: 'local', fields: { account_sid: 'OUR_SID', auth_token: 'OUR_TOKEN' } };
    made.config.listen = { proxy: '127.0.0.1:8125' };
    const report = await doctor(written(made), '--backend', at);
    assert.equal(report.exit_code, 0, JSON.stringify(report.checks, null, 1));
    assert.match(named(report, 'variables').evidence, /OUR_TOKEN is the value that the vault reads/);
  });

  test('a missing folder', async (t) => {
    const made = await alone(t, 'twilio');
    assert.deepEqual(failures(await doctor(written(made), '--backend', path.join(made.at, 'none'))), [['backend', 'env-file', null]]);
  });

  test('without a `.env` the other checks still run', async (t) => {
    const { report, of } = await judged(t, () => undefined);
    assert.deepEqual(failures(report), []);
    assert.equal(of('env-file').result, 'skipped');
  });

  test('a running sidecar reports whether the backend ever called it', async (t) => {
    const made = await stage(t);
    const at = backend(made, undefined);
    const before = await doctor(made.proxy.file, '--backend', at);
    assert.equal(named(before, 'seen').result, 'warning');
    delivered(await sendAs(made.proxy, 'playmobile'), 'playmobile');
    const after = await doctor(made.proxy.file, '--backend', at);
    assert.equal(named(after, 'seen').result, 'ok');
    assert.equal(named(after, 'entrypoint').result, 'ok');
  });
});

test('every cause has a broken host here, or a reason why doctor cannot meet it', () => {
  assert.ok(CAUSES.length > 20, 'the table of causes was not found');
  assert.deepEqual(CAUSES.filter((cause) => !hosts.has(cause) && !(cause in CANNOT_MEET)), []);
  assert.deepEqual(Object.keys(CANNOT_MEET).filter((cause) => hosts.has(cause) || !CAUSES.includes(cause)), [], 'a reason that is not needed');
});
