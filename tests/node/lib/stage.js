// A whole stage for one scenario: fakes, a vault, the real binary between them, and a backend that
// calls each service as that service's own clients do, with placeholder credentials.
import assert from 'node:assert/strict';

import { fake } from '../fakes/index.js';
import { Vault, call, folder, provider, sidecar } from './sidecar.js';

export const TO = '998901234567';
export const TEXT = 'Kod: 123456 & 100% "qo‘shtirnoq" + ўзбек 🙂';
export const SENDER = { twilio: '+12025550123', eskiz: '4546', playmobile: '3700', 'aws-sns': '1port' };
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'content-type': 'application/json' };
const form = (fields) => new URLSearchParams(fields).toString();

/**
 * Starts fakes of `services`, a sidecar with one route over them in that order, and returns the stage.
 * `provider` adds to every provider's table, `providers[name]` to one; `route` and `config` to theirs.
 */
export async function stage(t, { services = ['playmobile', 'twilio'], names = {}, provider: common = {}, providers: own = {}, route = {}, config = {}, fakes: options = {}, env, vault: from, entries = {}, start = true } = {}) {
  const at = folder(t);
  const vault = new Vault(at);
  for (const [entry, fields] of Object.entries(entries)) vault.put(entry, fields);
  const fakes = {};
  const providers = {};
  for (const name of services) {
    const service = names[name] ?? name;
    fakes[name] = await fake(service, options[name]);
    t.after(() => fakes[name].close());
    if (service === 'eskiz') fakes[name].approved.push(/^[^]*$/);
    const extra = { sender: SENDER[service] ?? '1port', timeout: '2s', ...common, ...own[name] };
    for (const [key, value] of Object.entries(extra)) if (value === null) extra[key] = undefined;
    providers[name] = provider(vault, service, fakes[name], extra, name);
  }
  const whole = {
    vaults: from ?? { local: { directory: { path: vault.path } } },
    providers,
    routes: [{ name: 'all', providers: services, deadline: '8s', ...route }],
    ...config,
  };
  const made = { at, vault, fakes, config: whole, names };
  if (start) made.proxy = await sidecar(t, at, whole, { env });
  return made;
}

/** How a backend sends one message to each service: [path, request]. */
export const MESSAGES = {
  playmobile: ({ to = TO, text = TEXT, ...over } = {}) => ['/broker-api/send', {
    auth: ['sms-sidecar', 'sms-sidecar'], headers: JSON_TYPE,
    body: JSON.stringify({ messages: [{ recipient: to, 'message-id': 'otp0001', sms: { originator: '3700', content: { text } }, ...over }] }),
  }],
  eskiz: ({ to = TO, text = TEXT, token, ...over } = {}) => ['/api/message/sms/send', {
    headers: { ...FORM, authorization: `Bearer ${token ?? 'placeholder'}` }, body: form({ mobile_phone: to, message: text, from: '4546', ...over }),
  }],
  twilio: ({ to = TO, text = TEXT, ...over } = {}) => [`/2010-04-01/Accounts/AC${'0'.repeat(32)}/Messages.json`, {
    auth: [`AC${'0'.repeat(32)}`, '0'.repeat(32)], headers: FORM, body: form({ To: `+${to}`, From: '+12025550123', Body: text, ...over }),
  }],
  vonage: ({ to = TO, text = TEXT, ...over } = {}) => ['/sms/json', {
    headers: FORM, body: form({ api_key: '00000000', api_secret: '0000000000000000', to, from: 'Acme', text, type: 'unicode', ...over }),
  }],
  infobip: ({ to = TO, text = TEXT } = {}) => ['/sms/3/messages', {
    headers: { ...JSON_TYPE, authorization: 'App 00000000000000000000000000000000-00000000-0000-0000-0000-000000000000' },
    body: JSON.stringify({ messages: [{ sender: 'InfoSMS', destinations: [{ to }], content: { text } }] }),
  }],
  smsc: ({ to = TO, text = TEXT, ...over } = {}) => ['/sys/send.php', {
    headers: FORM, body: form({ login: 'sms-sidecar', psw: 'sms-sidecar', phones: to, mes: text, sender: '1port', fmt: '3', charset: 'utf-8', ...over }),
  }],
  sayqal: ({ to = TO, text = TEXT } = {}) => ['/sms/TransmitSMS', {
    headers: { ...JSON_TYPE, 'x-access-token': '0'.repeat(32) },
    body: JSON.stringify({ utime: 1, username: 'sms-sidecar', service: { service: 1, nickname: '1port' }, message: { smsid: 'otp0001', phone: to, text } }),
  }],
  'aws-sns': ({ to = TO, text = TEXT } = {}) => ['/', {
    headers: { ...FORM, authorization: `AWS4-HMAC-SHA256 Credential=AKIA0000000000000000/20260101/eu-central-1/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=${'0'.repeat(64)}`, 'x-amz-date': '20260101T000000Z' },
    body: form({ Action: 'Publish', Version: '2010-03-31', PhoneNumber: `+${to}`, Message: text }),
  }],
};

/** Whether a reply is the success of that service, as its clients check it. */
export const SUCCESS = {
  playmobile: (reply) => reply.status === 200 && reply.body === 'Request is received',
  eskiz: (reply) => reply.status === 200 && /^[0-9a-f-]{36}$/.test(JSON.parse(reply.body).id),
  twilio: (reply) => reply.status === 201 && /^SM[0-9a-f]{32}$/.test(JSON.parse(reply.body).sid),
  vonage: (reply) => reply.status === 200 && JSON.parse(reply.body).messages[0].status === '0',
  infobip: (reply) => reply.status === 200 && JSON.parse(reply.body).messages[0].status.groupId === 1,
  smsc: (reply) => reply.status === 200 && JSON.parse(reply.body).cnt !== undefined,
  sayqal: (reply) => reply.status === 200 && JSON.parse(reply.body).transactionid !== undefined,
  'aws-sns': (reply) => reply.status === 200 && /<MessageId>[^<]+<\/MessageId>/.test(reply.body),
};

/** Sends one message through the base URL entrypoint, in the dialect of `service`. */
export function sendAs(proxy, service, over = {}, name = service) {
  const [path, request] = MESSAGES[service](over);
  return call(`${proxy.url}/${name}${path}`, request);
}

export function delivered(reply, service) {
  assert.ok(SUCCESS[service](reply), `${service}: ${reply.status} ${reply.body} ${JSON.stringify(reply.headers)}`);
}

/** Polls until `check` holds: for what the sidecar does in its own time. */
export async function eventually(check, within = 15_000) {
  const until = Date.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    assert.ok(Date.now() < until, `never came true: ${check}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
