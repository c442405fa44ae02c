// The fakes themselves: real clients read their successes, and they reject what their services
// reject. With a fake that accepts everything, every other test here would prove nothing.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';
import aws4 from 'aws4';

import { SERVICES, fake } from './fakes/index.js';
import { folder, call } from './lib/sidecar.js';
import { play } from './lib/play.js';
import { testAuthority } from './lib/tls.js';

const TO = '998901234567';
const credential = (service) => SERVICES[service][1];
const auth = (service) => Object.values(credential(service)).slice(0, 2);
const formBody = (fields) => new URLSearchParams(fields).toString();
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'content-type': 'application/json' };

async function started(t, service, options) {
  const running = await fake(service, options);
  t.after(() => running.close());
  return running;
}

const otp = (over = {}) => ({ recipient: TO, 'message-id': 'otp0001', sms: { originator: '3700', content: { text: 'Kod: 123456' } }, ...over });

test('playmobile: every axios reads its plain-text success', async (t) => {
  const service = await started(t, 'playmobile');
  for (const client of ['axios-0-21', 'axios-1-7', 'axios-1-16', 'axios-latest']) {
    const results = await play({ client, url: service.url, auth: auth('playmobile'), body: JSON.stringify({ messages: [otp()] }), count: 1 });
    assert.deepEqual(results, [{ status: 200, body: 'Request is received' }], client);
  }
  assert.equal(service.delivered.length, 4);
  assert.deepEqual(service.delivered[0], { to: TO, text: 'Kod: 123456', sender: '3700', reference: 'otp0001', id: 'otp0001' });
});

test('playmobile rejects what the service rejects, in both spellings', async (t) => {
  const service = await started(t, 'playmobile');
  const send = (body, more = {}) => call(service.url, { auth: auth('playmobile'), headers: JSON_TYPE, body: typeof body === 'string' ? body : JSON.stringify(body), ...more });
  const code = async (...args) => JSON.parse((await send(...args)).body)['error-code'];
  assert.equal((await send({ messages: [otp()] }, { auth: ['oneport', 'wrong'] })).status, 401);
  assert.equal((await send({ messages: [otp()] }, { auth: undefined })).status, 401);
  assert.equal(await code('{'), 101);
  assert.equal(await code({ messages: [otp()] }, { headers: FORM }), 101);
  assert.equal(await code({ messages: [otp({ recipient: `+${TO}` })] }), 202);
  assert.equal(await code({ messages: [otp({ 'message-id': 'x'.repeat(21) })] }), 205);
  assert.equal(await code({ messages: [otp({ sms: { content: { text: 'a' } } })] }), 401);
  assert.equal(await code({ messages: [otp({ sms: { originator: '3700', content: { text: '' } } })] }), 406);
  assert.equal(await code({ messages: Array.from({ length: 101 }, () => otp()) }), 105);
  service.spelling = 'underscores';
  service.reject('account-suspended', 1);
  assert.equal(JSON.parse((await send({ messages: [otp()] })).body).error_code, '102');
  assert.equal(service.delivered.length, 0);
});

test('eskiz: login, send as multipart and as a form, expiry, templates', async (t) => {
  const service = await started(t, 'eskiz');
  const login = await fetch(`${service.base}/auth/login`, { method: 'POST', body: formData(credential('eskiz')) });
  const { data: { token } } = await login.json();
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  assert.equal(claims.exp - claims.iat, 2_592_000);
  const message = { mobile_phone: TO, message: '1port ilovasiga kirish kodi: 123456', from: '4546' };
  const send = (fields, bearer = token) => fetch(service.url, { method: 'POST', body: formData(fields), headers: bearer ? { authorization: `Bearer ${bearer}` } : {} });
  assert.match((await (await send(message)).json()).id, /^[0-9a-f-]{36}$/);
  assert.equal((await call(service.url, { headers: { ...FORM, authorization: `Bearer ${token}` }, body: formBody(message) })).status, 200);
  assert.deepEqual(service.delivered.map(({ to, text }) => [to, text]), [[TO, message.message], [TO, message.message]]);
  assert.equal((await send({ ...message, mobile_phone: `+${TO}` })).status, 400);
  assert.match((await (await send({ ...message, message: 'Kod: 1234' })).json()).message, /модерац/);
  assert.equal((await send({ ...message, from: 'Elsewhere' })).status, 400);
  assert.equal((await send(message, null)).status, 401);
  service.expireTokens();
  assert.deepEqual(await (await send(message)).json(), { status: 'token-invalid', message: 'Expired' });
  assert.equal((await fetch(`${service.base}/auth/login`, { method: 'POST', body: formData({ ...credential('eskiz'), password: 'wrong' }) })).status, 401);
  assert.equal(service.delivered.length, 2);
});

test('twilio: four SDK generations read its success and its rejections', async (t) => {
  const service = await started(t, 'twilio');
  const order = { sid: credential('twilio').account_sid, token: credential('twilio').auth_token, base: service.origin, message: { to: `+${TO}`, from: '+12025550123', body: 'Kod & 100% ўзбек + 🙂' } };
  for (const client of ['twilio-3', 'twilio-4', 'twilio-5', 'twilio-6']) {
    const [made] = await play({ client, ...order, count: 1 });
    assert.equal(made.error, undefined, `${client}: ${made.error}`);
    assert.deepEqual(made.message, { to: `+${TO}`, from: '+12025550123', text: order.message.body, state: 'queued' }, client);
    assert.equal(service.delivered.at(-1).text, order.message.body);
    const [wrong] = await play({ client, ...order, token: '00000000000000000000000000000000', count: 1 });
    assert.deepEqual([wrong.status, wrong.code], [401, 20003], client);
    const [invalid] = await play({ client, ...order, message: { ...order.message, to: 'abc' }, count: 1 });
    assert.deepEqual([invalid.status, invalid.code], [400, 21211], client);
  }
  assert.equal(service.delivered.length, 4);
});

test('twilio rejects the request shapes that its service rejects', async (t) => {
  const service = await started(t, 'twilio');
  const send = async (fields, more = {}) => { const reply = await call(service.url, { auth: auth('twilio'), headers: FORM, body: formBody(fields), ...more }); return [reply.status, JSON.parse(reply.body).code]; };
  const good = { To: `+${TO}`, From: '+12025550123', Body: 'hi' };
  assert.deepEqual(await send(good), [201, undefined]);
  assert.deepEqual(await send({ ...good, To: '' }), [400, 21604]);
  assert.deepEqual(await send({ To: good.To, Body: 'hi' }), [400, 21603]);
  assert.deepEqual(await send({ ...good, From: '+19999999999' }), [400, 21606]);
  assert.deepEqual(await send({ ...good, Body: '' }), [400, 21602]);
  assert.deepEqual(await send({ ...good, Body: 'x'.repeat(1601) }), [400, 21617]);
  assert.deepEqual(await send({ ...good, ValidityPeriod: '0' }), [400, 21624]);
  assert.deepEqual(await send(good, { headers: JSON_TYPE, body: JSON.stringify(good) }), [400, 21604]);
  assert.deepEqual(await send(good, { body: `To=+${TO}&From=%2B12025550123&Body=hi` }), [400, 21211], 'an unencoded plus is a blank');
  assert.equal((await call(service.url, { method: 'PUT', auth: auth('twilio') })).status, 405);
});

test('vonage: its SDK reads success and every status in a 200', async (t) => {
  const service = await started(t, 'vonage');
  const order = { client: 'vonage', node: 22, sid: credential('vonage').api_key, token: credential('vonage').api_secret, base: service.origin, message: { to: TO, from: 'Acme', text: 'Kod: 123456' }, count: 1 };
  const [made] = await play(order);
  assert.equal(made.error, undefined, made.error);
  assert.equal(service.delivered[0].text, 'Kod: 123456');
  const [wrong] = await play({ ...order, token: 'wrong' });
  assert.match(wrong.error, /failed to send/);
  const send = async (fields) => JSON.parse((await call(service.url, { auth: auth('vonage'), headers: FORM, body: formBody(fields) })).body).messages[0].status;
  assert.equal(await send({ to: TO, from: 'Acme' }), '2');
  assert.equal(await send({ to: `+${TO}`, from: 'Acme', text: 'a' }), '3');
  assert.equal(await send({ to: TO, from: 'Acme', text: 'a', ttl: '5' }), '3');
  assert.equal(await send({ to: TO, from: 'Acme', text: 'Қод 1' }), '0');
  assert.equal(service.delivered.at(-1).text, '??? 1', 'a text that its type cannot express is lost');
});

test('infobip rejects inside a 200, by status and by key', async (t) => {
  const service = await started(t, 'infobip');
  const message = (over = {}) => ({ messages: [{ sender: 'InfoSMS', destinations: [{ to: TO, messageId: crypto.randomUUID(), ...over }], content: { text: 'hi' } }] });
  const send = (body, key = credential('infobip').api_key) => call(service.url, { headers: { ...JSON_TYPE, authorization: `App ${key}` }, body: JSON.stringify(body) });
  const status = async (...args) => JSON.parse((await send(...args)).body).messages[0].status.id;
  assert.equal(await status(message({ messageId: 'same' })), 26);
  assert.equal(await status(message({ messageId: 'same' })), 23);
  assert.equal(await status(message({ to: `+${TO}` })), 52);
  assert.equal((await send(message(), 'wrong')).status, 401);
  assert.equal((await send({ messages: [{ destinations: [{ to: TO }], content: {} }] })).status, 400);
  service.reject('balance-empty', 1);
  assert.equal(await status(message()), 12);
});

test('smsc answers 200 to everything, garbles undeclared UTF-8, and accepts no identical message within a minute', async (t) => {
  const service = await started(t, 'smsc');
  const [login, psw] = auth('smsc');
  const good = { login, psw, phones: TO, mes: 'Код 1', sender: '1port', fmt: '3', charset: 'utf-8' };
  const send = async (fields) => JSON.parse((await call(service.url, { headers: FORM, body: formBody(fields) })).body);
  assert.equal((await send(good)).cnt, 1);
  assert.equal(service.delivered[0].text, 'Код 1');
  assert.equal((await send(good)).error_code, 9);
  assert.equal((await send({ ...good, psw: 'wrong' })).error_code, 2);
  assert.equal((await send({ ...good, psw: crypto.createHash('md5').update(psw).digest('hex'), mes: 'Код 2' })).cnt, 1);
  assert.equal((await send({ ...good, phones: 'abc' })).error_code, 7);
  const { charset, ...undeclared } = good;
  await send({ ...undeclared, mes: 'Код 3' });
  assert.notEqual(service.delivered.at(-1).text, 'Код 3');
  assert.match((await call(`${service.url}?${formBody({ ...good, fmt: '0', mes: 'Код 4' })}`, { method: 'GET' })).body, /^OK - 1 SMS, ID - \d+$/);
  assert.match((await call(`${service.url}?${formBody({ ...good, fmt: '0', psw: 'x' })}`, { method: 'GET' })).body, /^ERROR = 2 /);
});

test('sayqal checks its MD5 and its clock', async (t) => {
  const service = await started(t, 'sayqal');
  const { username, secret } = credential('sayqal');
  const utime = Math.floor(Date.now() / 1000);
  const good = { utime, username, service: { service: 1, nickname: '1port' }, message: { smsid: 'otp0001', phone: TO, text: 'Kod: 1' } };
  const send = (body, key = secret) => call(service.url, { headers: { ...JSON_TYPE, 'x-access-token': crypto.createHash('md5').update(`TransmitSMS ${username} ${key} ${body.utime}`).digest('hex') }, body: JSON.stringify(body) });
  assert.equal(JSON.parse((await send(good)).body).smsid, 'otp0001');
  assert.equal((await send(good, 'wrong')).status, 403);
  assert.equal((await send({ ...good, utime: utime - 3600 })).status, 403);
  assert.equal((await send({ ...good, message: { ...good.message, phone: `+${TO}` } })).status, 400);
  assert.equal(service.delivered.length, 1);
});

test('aws-sns verifies a signature made by another implementation', async (t) => {
  const service = await started(t, 'aws-sns');
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey } = credential('aws-sns');
  const send = (fields, secret = secretAccessKey, tamper = (body) => body) => {
    const body = formBody({ Action: 'Publish', Version: '2010-03-31', ...fields });
    const signed = aws4.sign({ service: 'sns', region: 'eu-central-1', host: `127.0.0.1:${service.port}`, path: '/', method: 'POST', headers: { 'Content-Type': FORM['content-type'] }, body }, { accessKeyId, secretAccessKey: secret });
    return call(service.url, { headers: signed.headers, body: tamper(body) });
  };
  const good = { PhoneNumber: `+${TO}`, Message: 'Kod + 100% & ўзбек' };
  assert.match((await send(good)).body, /<MessageId>[0-9a-f-]{36}</);
  assert.equal(service.delivered[0].text, good.Message);
  assert.match((await send(good, 'wrong')).body, /SignatureDoesNotMatch/);
  assert.match((await send(good, secretAccessKey, (body) => body.replace('Kod', 'Dok'))).body, /SignatureDoesNotMatch/);
  assert.match((await send({ ...good, PhoneNumber: TO })).body, /InvalidParameter/);
  assert.match((await call(service.url, { headers: FORM, body: formBody(good) })).body, /MissingAuthenticationToken/);
  assert.equal(service.delivered.length, 1);
});

test('every fake misbehaves on request, also through its control address', async (t) => {
  const service = await (await started(t, 'playmobile')).listenControl();
  const send = () => call(service.url, { auth: auth('playmobile'), headers: JSON_TYPE, body: JSON.stringify({ messages: [otp()] }) });
  const order = (what, ...args) => call(`http://127.0.0.1:${service.controlPort}/`, { body: JSON.stringify({ do: what, with: args }) });
  await order('loseReply');
  await assert.rejects(send(), /socket hang up|ECONNRESET/);
  assert.equal(service.delivered.length, 1, 'the message was taken all the same');
  await order('status', 500);
  assert.equal((await send()).status, 500);
  await order('reject', 'throttled', 1);
  assert.equal((await send()).headers['retry-after'], '2');
  await order('rotate', { password: 'another' });
  assert.equal((await send()).status, 401);
  assert.equal((await order('explode')).status, 400);
});

test('a fake over TLS is trusted only through its own CA', async (t) => {
  const tls = testAuthority(folder(t));
  const service = await started(t, 'twilio', { tls });
  const order = { client: 'twilio-6', sid: credential('twilio').account_sid, token: credential('twilio').auth_token, base: service.origin, message: { to: `+${TO}`, from: '+12025550123', body: 'hi' }, count: 1 };
  assert.match((await play(order))[0].error, /unable to verify|self-signed/);
  assert.equal((await play({ ...order, env: { NODE_EXTRA_CA_CERTS: tls.caFile } }))[0].status, 201);
});

function formData(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}
