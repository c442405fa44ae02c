// The canary: marked secrets, numbers and texts go through every path, with the log at `trace`, and the
// test searches every output for them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MESSAGES, sendAs, stage } from './lib/stage.js';
import { call, cli, get } from './lib/sidecar.js';

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

test('a secret that a provider echoes is masked on the way back', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], config: { pass_401: true } });
  const secret = playmobile.credential.password;
  playmobile.status(400, { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ 'error-code': 101, 'error-description': `you sent ${encodings(secret).join(' and ')} and ${Buffer.from(`oneport:${secret}`).toString('base64')}` }) });
  const reply = await sendAs(proxy, 'playmobile');
  for (const form of encodings(secret)) assert.ok(!reply.body.includes(form), reply.body);
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
