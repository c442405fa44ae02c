// Every way a Node backend's requests can arrive: each client in its real version, under the Node
// versions listed for it, through each entrypoint of the real binary. A row states what was measured on
// the wire; the test checks that the sidecar serves it, and that the row is still true.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { SERVICES, fake } from './fakes/index.js';
import { play } from './lib/play.js';
import { Vault, authority, folder, provider, sidecar } from './lib/sidecar.js';
import { testAuthority } from './lib/tls.js';

const TO = '998901234567';
const TEXT = 'Kod: 123456 & 100% + ўзбек 🙂';
const PLACEHOLDER = ['sms-sidecar', 'sms-sidecar'];
const TWILIO_PLACEHOLDER = { sid: `AC${'0'.repeat(32)}`, token: '0'.repeat(32) };
const HOSTS = { playmobile: 'send.smsxabar.uz', twilio: 'api.twilio.com', vonage: 'rest.nexmo.com' };
const ALL = [20, 22, 24];
const USE_ENV = { NODE_USE_ENV_PROXY: '1' };
const AXIOS = ['axios-0-21', 'axios-1-7', 'axios-1-16', 'axios-latest'];

// client · Node · what the program or its environment sets · the entrypoint at which an http:// and an https:// target arrive
const FORWARD = [
  ...['axios-0-21', 'axios-1-7', 'axios-1-16'].map((client) => ({ client, nodes: ALL, http: 'absolute', https: 'absolute' })),
  { client: 'axios-latest', nodes: ALL, http: 'absolute', https: 'connect' },
  ...AXIOS.map((client) => ({ client, nodes: [20, 24], variant: 'hpa', https: 'connect' })),
  ...['axios-0-21', 'axios-1-7', 'axios-1-16'].map((client) => ({ client, nodes: [20], variant: 'proxy-option', env: {}, http: 'absolute', https: 'absolute' })),
  { client: 'axios-latest', nodes: [20], variant: 'proxy-option', env: {}, http: 'absolute', https: 'connect' },
  { client: 'axios-latest', nodes: [24], env: USE_ENV, https: 'connect' },
  { client: 'http', nodes: [22, 24], env: USE_ENV, http: 'absolute', https: 'connect' },
  { client: 'fetch', nodes: [22, 24], env: USE_ENV, http: 'connect', https: 'connect' },
  { client: 'fetch-stream', nodes: [22, 24], env: USE_ENV, http: 'connect', https: 'connect' },
  { client: 'undici-5', nodes: [20, 22], variant: 'proxy-agent', http: 'connect', https: 'connect' },
  ...['undici-6', 'undici-7'].flatMap((client) => ['proxy-agent', 'env-agent'].map((variant) => ({ client, nodes: ALL, variant, http: 'connect', https: 'connect' }))),
  ...['got-11', 'got-14'].map((client) => ({ client, nodes: [20, 24], variant: 'agent', https: 'connect' })),
  ...['node-fetch-2', 'node-fetch-3'].map((client) => ({ client, nodes: [20, 24], variant: 'agent', http: 'connect', https: 'connect' })),
  { client: 'node-fetch-3', nodes: [24], env: USE_ENV, https: 'connect' },
  ...['https-proxy-agent-5', 'https-proxy-agent-7'].map((client) => ({ client, nodes: ALL, http: 'connect', https: 'connect' })),
  { client: 'proxy-agent', nodes: ALL, http: 'absolute', https: 'connect' },
  { client: 'global-agent-3', nodes: [20, 22], http: 'absolute', https: 'connect' },
  { client: 'global-agent-4', nodes: [20, 22], http: 'absolute' },
  // It sends no server name in TLS and then checks the certificate against "localhost", so it verifies no host; the leaf must be chosen by the CONNECT target.
  { client: 'global-agent-4', nodes: [20, 22], env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, https: 'connect' },
  { client: 'request', nodes: ALL, http: 'absolute', https: 'connect' },
  { client: 'needle', nodes: ALL, https: 'absolute' },
];

// Clients that ignore the proxy variables: their requests bypass the sidecar, and only the base URL (or a redirect) brings them in.
const BYPASS = [
  { client: 'http', nodes: [20] },
  { client: 'http', nodes: [20], env: USE_ENV },
  { client: 'http-own-agent', nodes: [20] },
  { client: 'http-own-agent', nodes: [22, 24], env: USE_ENV },
  { client: 'fetch', nodes: [20] },
  { client: 'axios-1-7', nodes: [20], variant: 'fetch-adapter' },
  { client: 'axios-latest', nodes: [20], variant: 'fetch-adapter' },
  { client: 'axios-latest', nodes: [20], variant: 'proxy-false' },
  { client: 'got-11', nodes: [20] },
  { client: 'got-14', nodes: [20, 24] },
  { client: 'node-fetch-2', nodes: [20] },
  { client: 'node-fetch-3', nodes: [20] },
  { client: 'superagent', nodes: [20] },
];

const BASE = [
  ...AXIOS.map((client) => ({ client, nodes: ALL })),
  ...['http', 'fetch', 'fetch-stream', 'undici-6', 'undici-7', 'node-fetch-2', 'node-fetch-3', 'got-14', 'superagent', 'request', 'needle'].map((client) => ({ client, nodes: ALL })),
  { client: 'axios-latest', nodes: [20], variant: 'fetch-adapter' },
  { client: 'http-own-agent', nodes: [20] },
  { client: 'got-11', nodes: [20] },
  { client: 'undici-5', nodes: [20] },
];

const UNIX = [
  ...AXIOS.map((client) => ({ client, nodes: ALL, url: 'http://localhost/broker-api/send' })),
  ...['undici-6', 'undici-7'].map((client) => ({ client, nodes: [20, 24], variant: 'socket', url: 'http://localhost/broker-api/send' })),
  ...['got-11', 'got-14', 'http'].map((client) => ({ client, nodes: [20], url: '/broker-api/send' })),
];

describe('the client matrix', { concurrency: false }, () => {
  const cleanups = [];
  const t = { after: (clean) => cleanups.unshift(clean) };
  let services;
  let proxy;
  let caFile;

  before(async () => {
    const at = folder(t);
    const tls = testAuthority(at);
    services = { playmobile: await fake('playmobile'), twilio: await fake('twilio', { tls }), vonage: await fake('vonage') };
    for (const service of Object.values(services)) t.after(() => service.close());
    const vault = new Vault(at);
    const providers = Object.fromEntries(Object.entries(services).map(([name, service]) => [name, provider(vault, name, service)]));
    const config = {
      listen: { unix: path.join(at, 'entrypoint.sock') },
      vaults: { local: { directory: { path: vault.path } } },
      providers,
      routes: [{ name: 'all', providers: Object.keys(providers), duplicate_window: '0s' }],
    };
    const ca = authority(at, config);
    caFile = ca.cert_file;
    proxy = await sidecar(t, at, { ...config, intercept: { ca, other_hosts: 'deny' } });
  });
  after(async () => { for (const clean of cleanups) await clean(); });

  const withUser = () => proxy.url.replace('http://', 'http://pu:pp@');
  const variables = () => ({ HTTP_PROXY: withUser(), HTTPS_PROXY: withUser(), GLOBAL_AGENT_HTTP_PROXY: withUser(), GLOBAL_AGENT_HTTPS_PROXY: withUser(), NODE_EXTRA_CA_CERTS: caFile });
  const body = JSON.stringify({ messages: [{ recipient: TO, 'message-id': 'otp0001', sms: { originator: '3700', content: { text: TEXT } } }] });

  /** Runs a row and checks both ends: the client read a success, the fake got the real credential, the entrypoint was the one measured. */
  async function holds(row, node, order, entrypoint, service = 'playmobile') {
    const target = services[service];
    target.reset();
    const before = await proxy.metric('requests_total', { entrypoint, result: 'accepted' }) ?? 0;
    const results = await play({ node, client: row.client, variant: row.variant, contentType: 'application/json', ...order });
    assert.deepEqual(results.map((result) => result.error ?? result.status), [service === 'twilio' ? 201 : 200, service === 'twilio' ? 201 : 200], JSON.stringify(results));
    assert.deepEqual(target.delivered.map(({ text }) => text), [TEXT, TEXT]);
    for (const { headers } of target.received) {
      for (const name of Object.keys(headers)) assert.doesNotMatch(name, /^(proxy-|x-sms-sidecar|forwarded|x-forwarded)/);
      assert.notEqual(headers.authorization, `Basic ${Buffer.from(PLACEHOLDER.join(':')).toString('base64')}`);
    }
    assert.equal(await proxy.metric('requests_total', { entrypoint, result: 'accepted' }), before + 2, `not counted at the entrypoint ${entrypoint}`);
    return results;
  }

  for (const row of FORWARD) {
    for (const scheme of ['http', 'https'].filter((each) => row[each])) {
      for (const node of row.nodes) {
        const setup = [row.variant, ...Object.keys(row.env ?? {})].filter(Boolean).join(' ');
        test(`${row.client}${setup && ` (${setup})`}, Node ${node}, ${scheme}:// arrives through ${row[scheme]}`, async () => {
          const env = row.variant === 'proxy-option' ? { NODE_EXTRA_CA_CERTS: caFile } : { ...variables(), ...row.env };
          await holds(row, node, { url: `${scheme}://${HOSTS.playmobile}/broker-api/send`, auth: PLACEHOLDER, body, proxy: row.variant === 'proxy-option' ? proxy.url : withUser(), env }, row[scheme]);
        });
      }
    }
  }

  for (const client of ['twilio-3', 'twilio-4', 'twilio-5', 'twilio-6']) {
    for (const node of ALL) {
      const message = { to: `+${TO}`, from: '+12025550123', body: TEXT };
      test(`${client}, Node ${node}: HTTP_PROXY alone routes it here, by CONNECT`, async () => {
        const results = await holds({ client }, node, { ...TWILIO_PLACEHOLDER, message, env: { HTTP_PROXY: withUser(), NODE_EXTRA_CA_CERTS: caFile } }, 'connect', 'twilio');
        assert.deepEqual(results[0].message, { to: message.to, from: message.from, text: TEXT, state: 'queued' });
      });
      test(`${client}, Node ${node}: one line of code points it at the base URL`, async () => {
        await holds({ client }, node, { ...TWILIO_PLACEHOLDER, message, base: `${proxy.url}/twilio` }, 'base-url', 'twilio');
      });
    }
  }

  const vonage = () => ({ sid: '00000000', token: '0000000000000000', message: { to: TO, from: 'Acme', text: TEXT, type: 'unicode' } });
  for (const node of [22, 24]) {
    test(`@vonage/server-sdk, Node ${node}: a constructor argument points it at the base URL`, async () => {
      await holds({ client: 'vonage' }, node, { ...vonage(), base: `${proxy.url}/vonage` }, 'base-url', 'vonage');
    });
  }
  test('@vonage/server-sdk, Node 24 with NODE_USE_ENV_PROXY, arrives through connect', async () => {
    await holds({ client: 'vonage' }, 24, { ...vonage(), env: { ...variables(), ...USE_ENV } }, 'connect', 'vonage');
  });

  for (const row of BYPASS) {
    for (const node of row.nodes) {
      const setup = [row.variant, ...Object.keys(row.env ?? {})].filter(Boolean).join(' ');
      test(`${row.client}${setup && ` (${setup})`}, Node ${node}: the proxy variables are ignored`, async () => {
        services.playmobile.reset();
        const before = await proxy.metric('requests_total');
        const results = await play({ node, client: row.client, variant: row.variant, url: services.playmobile.url, auth: PLACEHOLDER, body, env: { ...variables(), ...row.env } });
        assert.deepEqual(results.map(({ status }) => status), [401, 401], JSON.stringify(results));
        assert.equal(services.playmobile.received.length, 2);
        assert.equal(await proxy.metric('requests_total'), before, 'it went through the sidecar after all');
      });
    }
  }

  for (const row of BASE) {
    for (const node of row.nodes) {
      test(`${row.client}${row.variant ? ` (${row.variant})` : ''}, Node ${node}, at the base URL`, async () => {
        await holds(row, node, { url: `${proxy.url}/playmobile/broker-api/send`, auth: PLACEHOLDER, body }, 'base-url');
      });
    }
  }

  for (const row of UNIX) {
    for (const node of row.nodes) {
      test(`${row.client}, Node ${node}, over the unix socket, where the host is lost`, async () => {
        await holds(row, node, { url: row.url, socketPath: proxy.listen.unix, auth: PLACEHOLDER, body }, 'unix');
      });
    }
  }

  describe('trust of the local CA', () => {
    const order = () => ({ client: 'axios-latest', url: `https://${HOSTS.playmobile}/broker-api/send`, auth: PLACEHOLDER, body, count: 2 });
    const only = () => ({ HTTPS_PROXY: proxy.url });
    test('without trust in the CA nothing is sent', async () => {
      services.playmobile.reset();
      const results = await play({ ...order(), env: only() });
      assert.match(results[0].code, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT/);
      assert.equal(services.playmobile.received.length, 0);
    });
    test('SSL_CERT_FILE alone is ignored by Node', async () => {
      assert.ok((await play({ ...order(), env: { ...only(), SSL_CERT_FILE: caFile } }))[0].error);
    });
    test('SSL_CERT_FILE with --use-openssl-ca is enough', async () => {
      await holds({ client: 'axios-latest' }, 20, { ...order(), env: { ...only(), SSL_CERT_FILE: caFile, NODE_OPTIONS: '--use-openssl-ca' } }, 'connect');
    });
    test('NODE_USE_SYSTEM_CA with SSL_CERT_FILE is enough on Node 24', async () => {
      await holds({ client: 'axios-latest' }, 24, { ...order(), env: { ...only(), SSL_CERT_FILE: caFile, NODE_USE_SYSTEM_CA: '1' } }, 'connect');
    });
  });

  test('pitfall: NODE_USE_ENV_PROXY on Node 24 makes axios up to 1.16.0 throw before anything is sent', async () => {
    for (const client of ['axios-0-21', 'axios-1-7', 'axios-1-16']) {
      services.playmobile.reset();
      const results = await play({ node: 24, client, url: `https://${HOSTS.playmobile}/broker-api/send`, auth: PLACEHOLDER, body, env: { ...variables(), ...USE_ENV } });
      assert.equal(results[0].code, 'ERR_INVALID_ARG_VALUE', client);
      assert.equal(services.playmobile.received.length, 0);
    }
  });

  test('pitfall on Node 22: the same axios versions write the proxy\'s port into the URL, which is denied with an explanation and sent nowhere', async () => {
    for (const client of ['axios-0-21', 'axios-1-7', 'axios-1-16']) {
      services.playmobile.reset();
      const results = await play({ node: 22, client, url: `https://${HOSTS.playmobile}/broker-api/send`, auth: PLACEHOLDER, body, env: { ...variables(), ...USE_ENV } });
      assert.equal(results[0].status, 400, client);
      assert.match(results[0].body, /Host header names another host/);
      assert.equal(services.playmobile.received.length, 0);
    }
  });

  test('the fakes received credentials that only the vault holds', () => {
    assert.notDeepEqual(Object.values(SERVICES.playmobile[1]), PLACEHOLDER);
    assert.notEqual(SERVICES.twilio[1].auth_token, TWILIO_PLACEHOLDER.token);
  });
});
