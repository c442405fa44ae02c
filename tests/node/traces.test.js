// Traces: a span for each request and attempt, the backend's trace context is taken over and hidden from every
// provider, and a failing collector delays no request.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { describe, test } from 'node:test';

import { collector } from './lib/collector.js';
import { play } from './lib/play.js';
import { call, cli, folder } from './lib/sidecar.js';
import { MESSAGES, TEXT, TO, delivered, eventually, stage } from './lib/stage.js';
import { testAuthority } from './lib/tls.js';
import { toml } from './lib/toml.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
/** Everything a tracing library may put on a request. */
const CONTEXT = {
  traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'congo=t61rcWkgMzE', baggage: 'user=CANARY-baggage',
  b3: `${TRACE}-${SPAN}-1`, 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN, 'uber-trace-id': `${TRACE}:${SPAN}:0:1`, 'sentry-trace': `${TRACE}-${SPAN}-1`,
};
const NAMED = new RegExp(`${Object.keys(CONTEXT).join('|')}|x-datadog|uberctx`);

/** One message through the base URL with these headers besides the client's own. */
function send(proxy, service, headers = {}, over = {}) {
  const [path, request] = MESSAGES[service](over);
  return call(`${proxy.url}/${service}${path}`, { ...request, headers: { ...request.headers, ...headers } });
}

const traced = (to, more = {}) => ({ traces: { endpoint: to.url, ...more } });
const isRequest = (span) => span.kind === 2;
/** The log's line of each request. */
const lines = (proxy) => proxy.output.split('\n').filter((line) => line.includes('"operation"')).map((line) => JSON.parse(line));

function clean(fake) {
  assert.ok(fake.received.length > 0);
  for (const { rawHeaders, target, body } of fake.received) {
    assert.doesNotMatch(rawHeaders.filter((_, at) => at % 2 === 0).join(' ').toLowerCase(), NAMED);
    assert.doesNotMatch(rawHeaders.join(' ') + target + body, new RegExp(`${TRACE}|CANARY-baggage`));
  }
}

test('a request is part of the trace of an instrumented backend, and its attempts are child spans', async (t) => {
  const to = await collector(t);
  const { proxy, fakes } = await stage(t, { config: traced(to, { sample: 0.0, service_name: 'login-sms' }) });
  fakes.playmobile.reject('credential-rejected');
  const [path, request] = MESSAGES.playmobile();
  const { calls: [reply], spans: theirs } = await play({ client: 'traced', script: 'traced.js', calls: [{ url: `${proxy.url}/playmobile${path}`, ...request }] });
  delivered({ ...reply, headers: {} }, 'playmobile');
  const post = theirs.find(({ kind }) => kind === 2);
  assert.equal(post?.traceId, reply.traceId, JSON.stringify(theirs));
  const [whole, first, second, ...more] = await to.seen(3);
  assert.deepEqual(more, []);
  assert.deepEqual([whole.name, first.name, second.name], ['send playmobile', 'send playmobile', 'send twilio']);
  assert.deepEqual([whole, first, second].map(({ kind, traceId, parentSpanId }) => [kind, traceId, parentSpanId]),
    [[2, reply.traceId, post.spanId], [3, reply.traceId, whole.spanId], [3, reply.traceId, whole.spanId]]);
  assert.equal(new Set([whole.spanId, first.spanId, second.spanId, post.spanId]).size, 4);
  assert.ok(whole.start <= first.start && first.end <= second.start && second.end <= whole.end, 'in the order of their times');
  const [line] = lines(proxy);
  assert.deepEqual([line.trace_id, line.id], [reply.traceId, whole.attributes['sms_sidecar.id']]);
  assert.deepEqual(whole.attributes, {
    'http.request.method': 'POST', 'http.response.status_code': 200, 'sms_sidecar.id': line.id, 'sms_sidecar.entrypoint': 'base-url', 'sms_sidecar.dialect': 'playmobile',
    'sms_sidecar.operation': 'send', 'sms_sidecar.route': 'all', 'sms_sidecar.result': 'accepted', 'sms_sidecar.cause': 'credential-rejected', 'sms_sidecar.certainty': line.certainty,
  });
  const at = (fake) => ({ 'http.request.method': 'POST', 'server.address': '127.0.0.1', 'server.port': fake.port });
  assert.deepEqual(first.attributes, {
    ...at(fakes.playmobile), 'http.response.status_code': 401, 'error.type': 'credential-rejected', 'sms_sidecar.provider': 'playmobile', 'sms_sidecar.kind': 'send',
    'sms_sidecar.outcome': 'rejected', 'sms_sidecar.cause': 'credential-rejected', 'sms_sidecar.certainty': /rejected credential-rejected \((\w+)\)/.exec(line.attempts)[1],
  });
  assert.deepEqual(second.attributes, { ...at(fakes.twilio), 'http.response.status_code': 201, 'sms_sidecar.provider': 'twilio', 'sms_sidecar.kind': 'send', 'sms_sidecar.outcome': 'accepted' });
  assert.deepEqual([whole.status, first.status, second.status], [null, { code: 2, message: 'credential-rejected' }, null]);
  assert.deepEqual([whole.resource['service.name'], whole.scope], ['login-sms', 'sms-sidecar']);
  assert.equal(await proxy.metric('spans_exported_total'), 3);
  for (const fake of Object.values(fakes)) clean(fake);
});

test('a request that the backend does not sample has no spans, but its log line names the trace', async (t) => {
  const to = await collector(t);
  const { proxy } = await stage(t, { config: traced(to) });
  const [path, request] = MESSAGES.playmobile();
  const order = { client: 'traced', script: 'traced.js', calls: [{ url: `${proxy.url}/playmobile${path}`, ...request }] };
  const { calls: [quiet] } = await play({ ...order, sampled: false });
  delivered({ ...quiet, headers: {} }, 'playmobile');
  // A later request of another backend is exported: so would be everything before it.
  delivered(await send(proxy, 'playmobile', {}, { text: 'Kod: 654321' }), 'playmobile');
  const spans = await to.seen(2);
  assert.equal(lines(proxy)[0].trace_id, quiet.traceId);
  assert.deepEqual(spans.map(({ name }) => name), ['send playmobile', 'send playmobile']);
  assert.ok(spans.every(({ traceId }) => traceId === lines(proxy)[1].trace_id && traceId !== quiet.traceId), 'a request without a context begins a trace of its own');
  assert.equal(spans[0].parentSpanId, '');
});

test('an invalid context is ignored', async (t) => {
  const to = await collector(t);
  const { proxy } = await stage(t, { config: traced(to) });
  const bad = [`ff-${TRACE}-${SPAN}-01`, `00-${'0'.repeat(32)}-${SPAN}-01`, `00-${TRACE.toUpperCase()}-${SPAN}-01`, [CONTEXT.traceparent, CONTEXT.traceparent]];
  for (const [n, traceparent] of bad.entries()) delivered(await send(proxy, 'playmobile', { traceparent }, { text: `Kod: 00000${n}` }), 'playmobile');
  delivered(await send(proxy, 'playmobile', { traceparent: `cc-${TRACE}-${SPAN}-01-later`, tracestate: 'congo=1' }), 'playmobile');
  const calls = await to.seen(5, isRequest);
  assert.ok(calls.slice(0, 4).every(({ traceId, parentSpanId }) => traceId !== TRACE && parentSpanId === ''));
  assert.deepEqual([calls[4].traceId, calls[4].parentSpanId, calls[4].traceState], [TRACE, SPAN, 'congo=1'], 'of a later version the known fields are read');
});

describe('no provider sees a trace header', () => {
  for (const mode of ['with traces', 'without traces']) {
    const config = async (t) => (mode === 'with traces' ? traced(await collector(t)) : {});
    test(`${mode}: native, translated and a login`, async (t) => {
      const { proxy, fakes } = await stage(t, { services: ['playmobile', 'eskiz', 'twilio'], config: await config(t) });
      delivered(await send(proxy, 'playmobile', CONTEXT), 'playmobile');
      fakes.playmobile.reject('credential-rejected');
      delivered(await send(proxy, 'playmobile', CONTEXT, { text: 'Kod: 222222' }), 'playmobile');
      assert.deepEqual(fakes.eskiz.received.map(({ path }) => path), ['/api/auth/login', '/api/message/sms/send']);
      delivered(await send(proxy, 'twilio', CONTEXT, { text: 'Kod: 333333' }), 'twilio');
      for (const fake of Object.values(fakes)) clean(fake);
    });
    test(`${mode}: a probe and a passthrough request`, async (t) => {
      const { proxy, fakes: { twilio } } = await stage(t, { services: ['twilio'], config: await config(t) });
      twilio.reject('account-suspended', 1);
      await send(proxy, 'twilio', CONTEXT);
      await eventually(async () => await proxy.metric('attempts_total', { provider: 'twilio', kind: 'probe' }) > 0);
      const path = `/2010-04-01/Accounts/AC${'0'.repeat(32)}/Messages/SM${'0'.repeat(32)}.json`;
      await call(`${proxy.url}/twilio${path}`, { method: 'GET', headers: CONTEXT, auth: [`AC${'0'.repeat(32)}`, '0'.repeat(32)] });
      assert.ok(twilio.received.some(({ method, path }) => method === 'GET' && path.includes('/Messages/')), 'the passthrough request arrived');
      assert.ok(twilio.received.length >= 3);
      clean(twilio);
    });
    test(`${mode}: an observed request`, async (t) => {
      const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], provider: { sender: null, credential: undefined }, config: { mode: 'observe', ...await config(t) } });
      const [path, request] = MESSAGES.playmobile();
      delivered(await call(`${proxy.url}/playmobile${path}`, { ...request, auth: Object.values(playmobile.credential), headers: { ...request.headers, ...CONTEXT } }), 'playmobile');
      clean(playmobile);
    });
  }
  test('a trace header that an observed request signs is kept: its signature stays valid', async (t) => {
    const { proxy, fakes } = await stage(t, { services: ['aws-sns'], provider: { sender: null, credential: undefined }, config: { mode: 'observe' } });
    const [path, request] = MESSAGES['aws-sns']();
    const authorization = request.headers.authorization.replace('host;x-amz-date', 'host;traceparent;x-amz-date');
    await call(`${proxy.url}/aws-sns${path}`, { ...request, headers: { ...request.headers, ...CONTEXT, authorization } });
    const [{ headers }] = fakes['aws-sns'].received;
    assert.deepEqual([headers.traceparent, headers.tracestate, headers.baggage], [CONTEXT.traceparent, undefined, undefined]);
  });
});

test('a request to a host that is no provider\'s keeps its trace headers', async (t) => {
  const { proxy } = await stage(t);
  const other = http.createServer((request, reply) => reply.end(JSON.stringify(request.headers))).listen(0, '127.0.0.1');
  t.after(() => other.close());
  await new Promise((resolve) => { other.once('listening', resolve); });
  const [host, port] = proxy.listen.proxy.split(':');
  const seen = await new Promise((resolve, reject) => {
    const request = http.get({ host, port, path: `http://127.0.0.1:${other.address().port}/health`, headers: { ...CONTEXT, host: `127.0.0.1:${other.address().port}` } }, (reply) => {
      let text = '';
      reply.on('data', (part) => { text += part; }).on('end', () => resolve(JSON.parse(text)));
    });
    request.on('error', reject);
  });
  for (const [name, value] of Object.entries(CONTEXT)) assert.equal(seen[name], value);
});

describe('a collector over https', () => {
  test('is trusted with the root certificate in `ca_file`', async (t) => {
    const tls = testAuthority(folder(t));
    const to = await collector(t, { tls });
    const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to, { ca_file: tls.caFile }) });
    delivered(await send(proxy, 'playmobile'), 'playmobile');
    await to.seen(2);
  });

  test('is not trusted without it: the log reports that, and requests are served', async (t) => {
    const to = await collector(t, { tls: testAuthority(folder(t)) });
    const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to) });
    delivered(await send(proxy, 'playmobile'), 'playmobile');
    await eventually(async () => await proxy.metric('spans_dropped_total', { reason: 'failed' }) === 2, 30_000);
    await proxy.waitForOutput(/traces are lost.*not trusted/);
    assert.equal(to.requests, 0);
  });

  test('an unreadable root certificate is an error of `check` and of `run`', async (t) => {
    const { at, config } = await stage(t, { services: ['playmobile'], start: false });
    const file = path.join(at, 'bad.toml');
    writeFileSync(file, toml({ ...config, traces: { endpoint: 'https://collector.example', ca_file: 'nowhere.pem' } }));
    for (const command of ['check', 'run']) {
      const { code, stderr, stdout } = cli(command, '--config', file, { expectCode: null });
      assert.ok(code !== 0 && /nowhere\.pem/.test(stderr + stdout), `${command}: ${code} ${stderr}${stdout}`);
    }
  });
});

describe('a failing collector delays no request', () => {
  /** Sends `count` messages, a few at once; each must be answered normally and fast. */
  async function flood(proxy, count, from = 0) {
    let slowest = 0;
    const next = Array.from({ length: count }, (_, n) => n);
    const worker = async () => {
      for (let n = next.pop(); n !== undefined; n = next.pop()) {
        const began = performance.now();
        delivered(await send(proxy, 'playmobile', {}, { text: `Kod: ${from + n}` }), 'playmobile');
        slowest = Math.max(slowest, performance.now() - began);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    return slowest;
  }
  const logged = (proxy, pattern) => proxy.output.split('\n').filter((line) => pattern.test(line)).length;
  /** Two spans a request, and the queue holds 2,048. */
  const MANY = 1_300;

  for (const [name, prepare] of [
    ['is down', async (to) => to.close()],
    ['hangs', async (to) => { to.answer = 'hang'; }],
    ['answers 503', async (to) => { to.answer = 503; }],
  ]) {
    test(`one that ${name}: requests are answered normally, lost spans are counted, and the log reports the failure and the recovery once`, async (t) => {
      const to = await collector(t);
      const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to) });
      assert.equal(await proxy.metric('spans_dropped_total'), 0);
      await prepare(to);
      const slowest = await flood(proxy, MANY);
      assert.ok(slowest < 4_000, `the slowest request took ${slowest} ms, a request to the collector may take 5 s`);
      await eventually(async () => await proxy.metric('spans_dropped_total', { reason: 'failed' }) > 0, 60_000);
      assert.equal(await proxy.metric('requests_total', { result: 'accepted' }), MANY);
      assert.equal(logged(proxy, /traces are lost.*"loss":"failed"|"loss":"failed".*traces are lost/), 1, proxy.output.slice(-2_000));
      to.answer = 200;
      if (!to.server.listening) await to.listen(to.port);
      await flood(proxy, 5, MANY);
      await eventually(() => logged(proxy, /traces are exported again/) > 0, 60_000);
      await eventually(async () => await proxy.metric('spans_exported_total') + await proxy.metric('spans_dropped_total') === 2 * (MANY + 5), 60_000);
      assert.equal(logged(proxy, /traces are lost/), logged(proxy, /"loss":"queue-full"/) + 1, 'each failure is logged once');
      assert.ok(logged(proxy, /"loss":"queue-full"/) <= 1);
    });
  }

  test('one that never answers uses bounded memory: spans beyond the queue are dropped', async (t) => {
    const to = await collector(t);
    to.answer = 'hang';
    const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to) });
    await flood(proxy, 2_000);
    await eventually(async () => await proxy.metric('spans_dropped_total', { reason: 'queue-full' }) > 0, 60_000);
    // 512 are in flight and 2,048 wait; all others are dropped and counted.
    const lost = await proxy.metric('spans_dropped_total');
    assert.ok(lost >= 4_000 - 512 - 2_048, `${lost}`);
  });

  test('one that rejects the spans: they are dropped as rejected and not sent again', async (t) => {
    const to = await collector(t);
    to.answer = 400;
    const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to) });
    await flood(proxy, 3);
    await eventually(async () => await proxy.metric('spans_dropped_total', { reason: 'rejected' }) === 6);
    await proxy.waitForOutput(/answers 400/);
  });
});

describe('the end of the process', () => {
  test('exports the queued spans, those of the last request included', async (t) => {
    const to = await collector(t);
    const { proxy, fakes: { playmobile } } = await stage(t, { services: ['playmobile'], config: traced(to) });
    delivered(await send(proxy, 'playmobile'), 'playmobile');
    const release = playmobile.hold();
    const last = send(proxy, 'playmobile', {}, { text: 'Kod: 999999' });
    await playmobile.seen(2);
    const ended = proxy.stop();
    await proxy.waitForOutput(/stopping/);
    release();
    delivered(await last, 'playmobile');
    assert.equal(await ended, 0);
    assert.equal(to.spans.filter(isRequest).length, 2, 'both requests');
    assert.equal(to.spans.length, 4);
  });

  test('waits only briefly for a collector that hangs', async (t) => {
    const to = await collector(t);
    to.answer = 'hang';
    const { proxy } = await stage(t, { services: ['playmobile'], config: traced(to) });
    delivered(await send(proxy, 'playmobile'), 'playmobile');
    const began = performance.now();
    assert.equal(await proxy.stop(), 0);
    const took = performance.now() - began;
    assert.ok(took < 4_500, `${took} ms, while a request of a running process may take 5 s`);
    await proxy.waitForOutput(/traces are lost/);
  });
});

test('a reload turns traces on, moves them and turns them off', async (t) => {
  const [one, two] = [await collector(t), await collector(t)];
  const { proxy, config } = await stage(t, { services: ['playmobile'] });
  const reload = async (traces, count) => {
    writeFileSync(proxy.file, toml({ ...config, listen: proxy.listen, traces }));
    proxy.reload();
    await eventually(async () => await proxy.metric('reloads_total', { result: 'ok' }) === count);
  };
  const sendNth = (n) => send(proxy, 'playmobile', {}, { text: `Kod: 77777${n}` });
  delivered(await sendNth(0), 'playmobile');
  assert.equal(await proxy.metric('spans_dropped_total'), undefined, 'without traces there is no such series');
  await reload({ endpoint: one.url }, 1);
  delivered(await sendNth(1), 'playmobile');
  await one.seen(2);
  await reload({ endpoint: two.url, service_name: 'moved' }, 2);
  delivered(await sendNth(2), 'playmobile');
  assert.equal((await two.seen(2))[0].resource['service.name'], 'moved');
  await reload(undefined, 3);
  delivered(await sendNth(3), 'playmobile');
  assert.equal(await proxy.stop(), 0);
  assert.deepEqual([one.spans.length, two.spans.length], [2, 2]);
});

test('exported spans hold no number, text, secret, baggage or provider message', async (t) => {
  const to = await collector(t);
  const services = ['playmobile', 'eskiz', 'twilio', 'vonage', 'smsc', 'infobip', 'aws-sns'];
  const params = { 'aws-sns': { param: { region: 'eu-central-1' } } };
  const { proxy, fakes, vault } = await stage(t, { services, providers: params, route: { prefer: 'listed' }, config: traced(to) });
  for (const [n, service] of services.entries()) {
    await send(proxy, service, CONTEXT, { text: `CANARY-text ${n}` });
    for (const fake of Object.values(fakes)) fake.reject('recipient-invalid', 1);
    await send(proxy, service, CONTEXT, { text: `CANARY-text again ${n}` });
    for (const fake of Object.values(fakes)) fake.behave();
  }
  await call(`${proxy.url}/twilio/2010-04-01/Accounts/AC${'0'.repeat(32)}/Keys.json?To=%2B${TO}&q=CANARY-query`, { method: 'GET', headers: CONTEXT });
  await to.seen(2 * services.length + 1, isRequest);
  const bytes = Buffer.concat(to.bodies).toString('latin1');
  const secrets = Object.values(fakes).flatMap((fake) => Object.values(fake.credential)).filter((value) => value.length >= 6);
  assert.ok(secrets.length >= services.length && vault !== undefined);
  for (const canary of ['CANARY', TO, TO.slice(3), '123456', TEXT.slice(0, 10), ...secrets]) assert.ok(!bytes.includes(canary), `${canary} is exported`);
  assert.ok(to.spans.some(({ name, kind, parentSpanId }) => name === 'login eskiz' && kind === 3 && parentSpanId === ''), 'a login serves all requests that wait for it: its span is in no request\'s trace');
  assert.ok(bytes.includes('recipient-invalid') && bytes.includes('sms_sidecar.provider'), 'and yet the cause is exported');
});
