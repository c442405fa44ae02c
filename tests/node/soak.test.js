// The soak for a few seconds, which is too short to judge it: that it works, and how it judges.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ENTRYPOINTS, LIMITS, soak, judge } from './soak.js';

test('a short soak: messages get through every entrypoint, and the process is looked at', { timeout: 120_000 }, async (t) => {
  const lines = [];
  const { samples, counts, failures } = await soak(t, { seconds: 6, samples: 12, reports: 2, seed: 3, print: (line) => lines.push(line) });
  for (const entrypoint of ENTRYPOINTS) assert.ok(counts[entrypoint].accepted >= 5, JSON.stringify({ counts, failures }));
  assert.deepEqual([samples.length, lines.length], [12, 3], lines.join('\n'));
  assert.ok(samples.every(({ memory_kib: memory, threads }) => memory > 1024 && threads > 1), JSON.stringify(samples));
  t.diagnostic(lines.join('\n'));
});

test('a figure that grows in the last third is named, one that is noisy or warms up is not', () => {
  const series = (value) => Array.from({ length: 90 }, (_, at) => ({ memory_kib: 20_000, descriptors: 50, threads: 8, ...value(at) }));
  const grows = (value) => judge(series(value)).filter(({ flat }) => !flat).map(({ what }) => what);
  assert.deepEqual(grows(() => ({})), []);
  assert.deepEqual(grows((at) => ({ memory_kib: at < 30 ? 10_000 + at * 300 : 20_000 + (at % 7) * 400 })), []);
  assert.deepEqual(grows((at) => (at % 20 === 0 ? { descriptors: 500, memory_kib: 60_000 } : {})), []);
  assert.deepEqual(grows((at) => (at > 57 ? { threads: 16, memory_kib: 40_000 } : {})), []);
  assert.deepEqual(grows((at) => ({ memory_kib: 20_000 + at * 50 })), ['memory_kib']);
  assert.deepEqual(grows((at) => ({ descriptors: 50 + at })), ['descriptors']);
  assert.deepEqual(grows((at) => ({ threads: 8 + Math.floor(at / 5) })), ['threads']);
  assert.deepEqual(judge(series(() => ({ descriptors: undefined }))).map(({ what }) => what), Object.keys(LIMITS).filter((what) => what !== 'descriptors'));
});
