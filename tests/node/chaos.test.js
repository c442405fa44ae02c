// The chaos run in CI: fewer messages, the same judgement.
import { test } from 'node:test';

import { chaos, judge } from './chaos.js';

for (const onUnknown of ['failover', 'stop']) {
  test(`2,000 messages through failing services, on_unknown = "${onUnknown}": nothing lost, nothing doubled beyond the promise`, { timeout: 300_000 }, async (t) => {
    await judge(t, await chaos(t, { requests: 2_000, seed: 7, onUnknown }), { requests: 2_000, onUnknown });
  });
}
