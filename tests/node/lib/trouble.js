// A vault that cannot be read, as ops meet it: the same result and the same sentence in every output.
import assert from 'node:assert/strict';

import { cli, cliMeanwhile, get } from './sidecar.js';
import { eventually } from './stage.js';

const CANARIES = /canary|the-new-one/;

/** Waits until `result` is counted once more. */
export async function counted(proxy, result) {
  // The series begins with its first count.
  const count = async () => await proxy.metric('vault_reads_total', { vault: 'local', result }) ?? 0;
  const before = await count();
  await eventually(async () => await count() > before, 30_000);
}

/** `check --vault` fails with `pattern` and shows no value. */
export function checked(proxy, pattern) {
  const { stdout, stderr } = cli('check', '--vault', '--config', proxy.file, { expectCode: 1 });
  assert.match(stdout + stderr, pattern);
  assert.doesNotMatch(stdout + stderr, CANARIES);
}

/** Metric, log, status page and doctor report `result` with the same sentence, and none shows a value. */
export async function reportedEverywhere(proxy, result, pattern) {
  await counted(proxy, result);
  const lines = () => proxy.output.split('\n').slice(0, -1).filter((line) => line.includes(`"result":"${result}"`));
  await eventually(() => lines().some((line) => pattern.test(JSON.parse(line).problem)));
  const page = await get(`${proxy.admin}/`);
  assert.match(page.body, new RegExp(`cannot be read since <time[^]*?</time>: ${result}`));
  const status = await get(`${proxy.admin}/status.json`);
  const [entry] = JSON.parse(status.body).vaults.find(({ vault }) => vault === 'local').entries.filter(({ result: last }) => last === result);
  assert.match(entry.problem, pattern);
  const { stdout: doctor } = await cliMeanwhile('doctor', '--config', proxy.file, '--json');
  const check = JSON.parse(doctor).checks.find(({ check: name, result: mark }) => name === 'vault' && mark === 'failed');
  assert.match(check?.evidence ?? doctor, pattern);
  checked(proxy, pattern);
  for (const text of [proxy.output, page.body, status.body, doctor]) assert.doesNotMatch(text, CANARIES);
}
