// A backend whose HTTP requests OpenTelemetry's own instrumentation traces: one axios POST for each order inside a span of
// the backend's. Prints what came back and the spans as the backend recorded them. Started by lib/play.js.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const order = JSON.parse(process.argv[2]);
const { context, propagation, trace } = require('@opentelemetry/api');
const { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } = require('@opentelemetry/core');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
const { AlwaysOffSampler, AlwaysOnSampler, InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');

const recorded = new InMemorySpanExporter();
const provider = new NodeTracerProvider({
  sampler: order.sampled === false ? new AlwaysOffSampler() : new AlwaysOnSampler(),
  spanProcessors: [new SimpleSpanProcessor(recorded)],
});
provider.register({ propagator: new CompositePropagator({ propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()] }) });
const instrumentation = new HttpInstrumentation();
instrumentation.setTracerProvider(provider);
instrumentation.enable();
require('node:http');
const axios = require('axios-1-7');

const results = [];
for (const { url, headers, body, auth } of order.calls) {
  await trace.getTracer('backend').startActiveSpan('login', async (span) => {
    const bagged = propagation.setBaggage(context.active(), propagation.createBaggage({ user: { value: 'CANARY-baggage' } }));
    await context.with(bagged, async () => {
      const reply = await axios.post(url, body, { headers, auth: auth && { username: auth[0], password: auth[1] }, transformResponse: (text) => text, validateStatus: () => true });
      results.push({ status: reply.status, body: String(reply.data), traceId: span.spanContext().traceId });
    });
    span.end();
  });
}
await provider.forceFlush();
const spans = recorded.getFinishedSpans().map((span) => ({ name: span.name, kind: span.kind, traceId: span.spanContext().traceId, spanId: span.spanContext().spanId }));
console.log(JSON.stringify({ results: { calls: results, spans } }));
process.exit(0);
