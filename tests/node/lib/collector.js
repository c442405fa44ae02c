// A trace collector for OTLP over HTTP, decoded with OpenTelemetry's own generated messages. A test can make it
// fail, hang or go away.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';

import { eventually } from './stage.js';

const messages = createRequire(import.meta.url)('@opentelemetry/otlp-transformer/build/src/generated/root.js').opentelemetry.proto.collector.trace.v1;
/** Upper bound of the bytes that a test keeps: more than any of our tests exports. */
const MAX_BYTES = 64 << 20;

/** With `tls` ({key, cert}) over https. */
export async function collector(t, { tls } = {}) {
  const made = new Collector(tls);
  await made.listen(0);
  t.after(() => made.close());
  return made;
}

class Collector {
  /** Every span received, flat: {name, kind, traceId, spanId, parentSpanId, start, end, attributes, status, resource}. */
  spans = [];
  /** Every body, accepted or not, as bytes. */
  bodies = [];
  /** 200, another status, or 'hang'. */
  answer = 200;
  requests = 0;

  constructor(tls) { this.tls = tls; }

  async listen(port) {
    const take = (request, reply) => this.#take(request, reply);
    this.server = this.tls ? https.createServer(this.tls, take) : http.createServer(take);
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    this.url = `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
  }

  async close() {
    if (!this.server.listening) return;
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  /** Resolves with the spans that match `wanted`, once there are `count`. */
  async seen(count, wanted = () => true) {
    await eventually(() => this.spans.filter(wanted).length >= count, 20_000);
    return this.spans.filter(wanted);
  }

  async #take(request, reply) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    this.requests += 1;
    assert.ok(this.bodies.reduce((sum, kept) => sum + kept.length, body.length) < MAX_BYTES, 'the collector was flooded');
    this.bodies.push(body);
    if (this.answer === 'hang') return;
    if (this.answer === 200) {
      try {
        assert.deepEqual([request.method, request.url, request.headers['content-type']], ['POST', '/v1/traces', 'application/x-protobuf']);
        this.spans.push(...flat(messages.ExportTraceServiceRequest.decode(body)));
      } catch (error) {
        reply.writeHead(400).end(`${error}`);
        return;
      }
    }
    reply.writeHead(this.answer, { 'content-type': 'application/x-protobuf' }).end();
  }
}

const hex = (bytes) => Buffer.from(bytes ?? []).toString('hex');
const values = (list) => Object.fromEntries((list ?? []).map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]));

function flat({ resourceSpans }) {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap(({ scope, spans }) => spans.map((span) => ({
    name: span.name, kind: span.kind, traceId: hex(span.traceId), spanId: hex(span.spanId), parentSpanId: hex(span.parentSpanId), traceState: span.traceState,
    start: BigInt(String(span.startTimeUnixNano)), end: BigInt(String(span.endTimeUnixNano)),
    attributes: values(span.attributes), status: span.status && { code: span.status.code ?? 0, message: span.status.message ?? '' },
    resource: values(resource.attributes), scope: scope.name,
  }))));
}
