// One client, one target, N requests one after the other: prints how the client read each answer.
// Started by lib/play.js under the Node version under test, since trust and proxies are read at start.
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const order = JSON.parse(process.argv[2]);
const { url, body = '', contentType = 'application/json', auth, proxy, socketPath, count = 2 } = order;
const authorization = auth && `Basic ${Buffer.from(auth.join(':')).toString('base64')}`;
const headers = { 'Content-Type': contentType, ...(authorization && { Authorization: authorization }), ...order.headers };

const load = async (name) => { const module = await import(name); return module.default ?? module; };
const https7 = async (name = 'https-proxy-agent-7') => { const { HttpsProxyAgent } = await import(name); return new HttpsProxyAgent(proxy); };
const fetched = async (reply) => ({ status: reply.status, body: await reply.text() });

/** http or https, with any agent. */
function plain(agent) {
  return () => new Promise((resolve, reject) => {
    const options = { method: 'POST', headers: { ...headers, 'Content-Length': Buffer.byteLength(body) }, agent };
    const place = socketPath ? [{ ...options, socketPath, path: url }] : [url, options];
    const request = (url.startsWith('https:') ? https : http).request(...place, (reply) => {
      let text = '';
      reply.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => resolve({ status: reply.statusCode, body: text }));
    });
    request.on('error', reject).end(body);
  });
}

function axios(name) {
  return async () => {
    const client = await load(name);
    const options = { headers: order.headers ?? {}, auth: auth && { username: auth[0], password: auth[1] }, socketPath, transformResponse: (text) => text };
    options.headers['Content-Type'] = contentType;
    if (order.variant === 'proxy-option') { const at = new URL(proxy); options.proxy = { protocol: 'http', host: at.hostname, port: Number(at.port) }; }
    if (order.variant === 'proxy-false') options.proxy = false;
    if (order.variant === 'hpa') Object.assign(options, { proxy: false, httpsAgent: await https7() });
    if (order.variant === 'fetch-adapter') options.adapter = 'fetch';
    return async () => { const reply = await client.post(url, body, options); return { status: reply.status, body: String(reply.data) }; };
  };
}

function undici(name) {
  return async () => {
    const { request, ProxyAgent, EnvHttpProxyAgent, Agent } = await import(name);
    const kinds = { 'proxy-agent': () => new ProxyAgent(proxy), 'env-agent': () => new EnvHttpProxyAgent(), socket: () => new Agent({ connect: { socketPath } }) };
    const dispatcher = kinds[order.variant]?.();
    return async () => { const reply = await request(url, { method: 'POST', headers, body, ...(dispatcher && { dispatcher }) }); return { status: reply.statusCode, body: await reply.body.text() }; };
  };
}

function got(name) {
  return async () => {
    const client = await load(name);
    const agent = order.variant === 'agent' ? { https: await https7(), http: await https7() } : undefined;
    const target = socketPath ? `http://unix:${socketPath}:${url}` : url;
    return async () => { const reply = await (client.got ?? client)(target, { method: 'POST', headers, body, agent, retry: { limit: 0 }, enableUnixSockets: true, throwHttpErrors: true }); return { status: reply.statusCode, body: reply.body }; };
  };
}

function nodeFetch(name) {
  return async () => {
    const client = await load(name);
    const agent = order.variant === 'agent' ? await https7() : undefined;
    return async () => fetched(await client(url, { method: 'POST', headers, body, agent }));
  };
}

function globalAgent(name) {
  return async () => {
    const { bootstrap } = await import(name);
    bootstrap();
    return plain(undefined);
  };
}

function twilio(name) {
  return async () => {
    const client = (await load(name))(order.sid, order.token, order.options);
    if (order.base) client.api.baseUrl = order.base;
    return async () => { const made = await client.messages.create(order.message); return { status: 201, body: made.sid, message: { to: made.to, from: made.from, text: made.body, state: made.status } }; };
  };
}

async function vonage() {
  const { Vonage } = require('@vonage/server-sdk');
  const { Auth } = require('@vonage/auth');
  const client = new Vonage(new Auth({ apiKey: order.sid, apiSecret: order.token }), order.base ? { restHost: order.base } : {});
  return async () => { const made = await client.sms.send(order.message); return { status: 200, body: made.messages[0]['message-id'] ?? made.messages[0].messageId, message: made.messages[0] }; };
}

const CLIENTS = {
  'axios-0-21': axios('axios-0-21'), 'axios-1-7': axios('axios-1-7'), 'axios-1-16': axios('axios-1-16'), 'axios-latest': axios('axios-latest'),
  'undici-5': undici('undici-5'), 'undici-6': undici('undici-6'), 'undici-7': undici('undici-7'),
  'got-11': got('got-11'), 'got-14': got('got-14'),
  'node-fetch-2': nodeFetch('node-fetch-2'), 'node-fetch-3': nodeFetch('node-fetch-3'),
  'global-agent-3': globalAgent('global-agent-3'), 'global-agent-4': globalAgent('global-agent-4'),
  'twilio-3': twilio('twilio-3'), 'twilio-4': twilio('twilio-4'), 'twilio-5': twilio('twilio-5'), 'twilio-6': twilio('twilio-6'),
  vonage,
  fetch: async () => async () => fetched(await fetch(url, { method: 'POST', headers, body })),
  'fetch-stream': async () => async () => fetched(await fetch(url, { method: 'POST', headers, duplex: 'half', body: new Blob([body]).stream() })),
  http: async () => plain(undefined),
  'http-own-agent': async () => plain(new (url.startsWith('https:') ? https : http).Agent({ keepAlive: true })),
  'https-proxy-agent-5': async () => { const { HttpsProxyAgent } = (await import('https-proxy-agent-5')).default; return plain(new HttpsProxyAgent(proxy)); },
  'https-proxy-agent-7': async () => plain(await https7()),
  'proxy-agent': async () => { const { ProxyAgent } = await import('proxy-agent'); return plain(new ProxyAgent()); },
  request: async () => { const request = require('request'); return () => new Promise((resolve, reject) => request.post({ url, headers, body }, (error, reply, text) => (error ? reject(error) : resolve({ status: reply.statusCode, body: text })))); },
  needle: async () => { const needle = require('needle'); return async () => { const reply = await needle('post', url, body, { headers, parse: false }); return { status: reply.statusCode, body: reply.body.toString() }; }; },
  superagent: async () => { const superagent = require('superagent'); return async () => { const reply = await superagent.post(url).set(headers).buffer(true).send(body); return { status: reply.status, body: reply.text }; }; },
};

const results = [];
try {
  const send = await CLIENTS[order.client]();
  for (let n = 0; n < count; n += 1) results.push(await send().catch(failure));
} catch (error) {
  results.push(failure(error));
}
console.log(JSON.stringify({ results }));
process.exit(0);

function failure(error) {
  const reply = error.response ?? {};
  return { error: `${error.message}${error.cause ? ` (${error.cause.message ?? error.cause})` : ''}`, code: error.code, status: reply.status ?? reply.statusCode ?? error.status, body: typeof reply.data === 'string' ? reply.data : reply.text };
}
