// The canary: marked secrets, numbers and texts go through every path, with the log at `trace`, and the
// test searches every output for them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MESSAGES, TO, sendAs, stage } from './lib/stage.js';
import { call, cli, cliMeanwhile, get, sidecar } from './lib/sidecar.js';

const NUMBER = '998935557713';
const CODE = 'CANARYTEXT';
const SECRET = /canary|fedcba9876543210|EXAMPLEKEY|0123456789abcdef0123456789abcdef-|VonageCanary/i;
const encodings = (value) => [value, Buffer.from(value).toString('base64'), encodeURIComponent(value)];

test('no secret, number or text in logs, metrics, pages, headers or errors', async (t) => {
  const services = Object.keys(MESSAGES);
  const { proxy, fakes } = await stage(t, { services, env: { RUST_LOG: 'trace' }, route: { duplicate_window: '0s', deadline: '20s' } });
  const replies = [];
  const speak = async (service) => replies.push(await sendAs(proxy, service, { to: NUMBER, text: `${CODE} 4711` }));
  for (const service of services) await speak(service);
  for (const service of services) {
    fakes[service].reject('credential-rejected', 1);
    await speak(service);
    fakes[service].behave().loseReply(1);
    await speak(service);
    fakes[service].behave().status(200, { body: `not what ${NUMBER} expects: ${Object.values(fakes[service].credential).join(' ')}` });
    await speak(service);
    fakes[service].behave().raw('garbage\r\n\r\n');
    await speak(service);
  }
  for (const [path, request] of [['/playmobile/broker-api/send', { headers: { 'content-type': 'application/json' }, body: `{"messages": [{"recipient": "${NUMBER}", "${CODE}` }], ['/twilio/nowhere', { method: 'GET' }], [`/smsc/sys/send.php?login=canary&psw=canary&phones=${NUMBER}&mes=${CODE}`, { method: 'GET' }]]) replies.push(await call(`${proxy.url}${path}`, request));
  const pages = await Promise.all(['/metrics', '/', '/ready', '/live'].map((path) => get(`${proxy.admin}${path}`)));
  const status = cli('status', '--config', proxy.file, { expectCode: null });
  await proxy.stop();
  const seen = { output: proxy.output, pages: JSON.stringify(pages), status: JSON.stringify(status), replies: JSON.stringify(replies.map(({ status: code, headers, body }) => ({ code, headers, body }))) };
  for (const [where, text] of Object.entries(seen)) {
    const secrets = Object.values(fakes).flatMap(({ credential }) => Object.entries(credential).filter(([field]) => !['username', 'email', 'account_sid', 'access_key_id'].includes(field)).map(([, value]) => value));
    for (const secret of secrets.flatMap(encodings)) if (secret.length >= 8 && secret !== 'abcd1234') assert.ok(!text.includes(secret), `a secret is in ${where}: ${around(text, secret)}`);
    assert.ok(!(where !== 'replies' && SECRET.test(text)), `something secret is in ${where}: ${around(text, SECRET.exec(text)?.[0])}`);
    if (where !== 'replies') for (const mark of [NUMBER, CODE]) assert.ok(!text.includes(mark), `${mark} is in ${where}: ${around(text, mark)}`);
  }
  for (const sign of [/credential-rejected/, /reply-unreadable/, /\+998\*\*\*\*\*13/, /"level":"(DEBUG|TRACE)"/]) assert.match(proxy.output, sign, 'too little was logged for this to be a test');
});

function around(text, what) {
  const at = text.indexOf(what);
  return text.slice(Math.max(0, at - 200), at + 60);
}

const bytes = (text) => [...Buffer.from(text)];
// Every way to write a secret; each returns JSON source text.
const WAYS = {
  'as it is': (secret) => secret,
  'JSON escapes': (secret) => JSON.stringify(secret).slice(1, -1).replaceAll('/', '\\/'),
  'UTF-16 escapes': (secret) => bytes(secret).map((byte) => `\\u${byte.toString(16).padStart(4, '0')}`).join(''),
  entities: (secret) => secret.replaceAll('/', '&#47;').replaceAll('&', '&amp;'),
  'numbered entities': (secret) => bytes(secret).map((byte) => `&#x${byte.toString(16)};`).join(''),
  percent: (secret) => bytes(secret).map((byte) => `%${byte.toString(16).toUpperCase()}`).join(''),
  'lower percent': (secret) => bytes(secret).map((byte) => `%${byte.toString(16)}`).join(''),
  hex: (secret) => Buffer.from(secret).toString('hex'),
  'upper hex': (secret) => Buffer.from(secret).toString('hex').toUpperCase(),
  'base64, first offset': (secret) => Buffer.from(secret).toString('base64').replace(/=*$/, ''),
  'base64, second offset': (secret) => Buffer.from(`us:${secret}`.slice(2)).toString('base64'),
  'base64, third offset': (secret) => Buffer.from(`u:${secret}`).toString('base64'),
  'split by markup': (secret) => `${secret.slice(0, 6)}<b>${secret.slice(6)}</b>`,
};

test('a secret that a provider echoes in any encoding reaches no reply, log, page, status or doctor', async (t) => {
  const { at, vault, config, fakes: { smsc } } = await stage(t, { services: ['smsc'], config: { pass_401: true }, route: { duplicate_window: '0s' }, start: false });
  const secret = 'Kq7/x&Zp"9wLm+4tVb';
  smsc.rotate({ password: secret });
  vault.put('smsc', { password: secret });
  const proxy = await sidecar(t, at, config);
  const price = new URLSearchParams({ login: 'sms-sidecar', psw: 'sms-sidecar', phones: TO, mes: 'Kod: 1', fmt: '3', charset: 'utf-8', cost: '1' }).toString();
  const says = (body) => smsc.behave().status(200, { times: 20, headers: { 'content-type': 'application/json' }, body });
  const outputs = [];
  for (const [way, write] of Object.entries(WAYS)) {
    const echo = write(secret).replace(/(?<!\\)"/g, '\\"');
    says(`{"cost":"1","cnt":1,"psw":"${echo}"}`);
    const passed = await call(`${proxy.url}/smsc/sys/send.php`, { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: price });
    assert.deepEqual([passed.status, JSON.parse(passed.body).cost], [200, '1'], way);
    assert.match(JSON.parse(passed.body).psw, /\*\*\*/, way);
    says(`{"error":"way ${way}: ${echo}","error_code":7}`);
    const sent = await sendAs(proxy, 'smsc', { text: 'Kod: 4711' });
    says(`{"error":"doctor ${way}: ${echo}","error_code":2}`);
    const report = JSON.stringify(await cliMeanwhile('doctor', '--json', '--config', proxy.file, { expectCode: null }));
    assert.match(report, /doctor/, way);
    const page = JSON.stringify(await Promise.all(['/', '/metrics'].map((path) => get(`${proxy.admin}${path}`))));
    outputs.push([way, echo, { passed: passed.body, sent: sent.body, report, page, status: JSON.stringify(cli('status', '--json', '--config', proxy.file, { expectCode: null })) }]);
  }
  await proxy.stop();
  for (const way of Object.keys(WAYS)) assert.match(proxy.output, new RegExp(`way ${way}: [a-z0-9=<>]{0,6}\\*\\*\\*`, 'i'), 'too little was logged for this to be a test');
  for (const [way, echo, shown] of outputs) {
    for (const [where, text] of Object.entries({ ...shown, log: proxy.output })) {
      const plain = text.replaceAll('\\', '');
      for (const mark of [echo, JSON.parse(`"${echo}"`)]) assert.ok(!plain.includes(mark.replaceAll('\\', '')), `${way}: the secret is in ${where}: ${around(plain, mark)}`);
    }
  }
});

for (const mode of ['act', 'observe']) {
  test(`a text or number that a provider repeats in its error stays out of the log (${mode})`, async (t) => {
    const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], config: { mode } });
    const text = `${CODE} - Kod 4711\nў`;
    playmobile.status(400, { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ 'error-code': 406, 'error-description': `no delivery of "${text}" to 998 93 555-77-13` }) });
    assert.equal((await sendAs(proxy, 'playmobile', { to: NUMBER, text })).status, 400);
    await proxy.stop();
    assert.match(proxy.output, /no delivery of/, 'too little was logged for this to be a test');
    for (const mark of [CODE, '4711', '555-77', '998 93']) assert.ok(!proxy.output.includes(mark), `${mark} is in the log: ${around(proxy.output, mark)}`);
  });
}
