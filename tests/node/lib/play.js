// Runs one real client in a process of its own, under the Node version and environment that a row names.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('..', import.meta.url));
export const NODES = { 20: `${HERE}node_modules/node20/bin/node`, 22: `${HERE}node_modules/node22/bin/node`, 24: `${HERE}node_modules/node24/bin/node` };

/** Runs `order` with `client`; returns how the client read each answer. `script` replaces the usual script. */
export async function play({ node = 20, client, script = 'play.js', env = {}, ...order }) {
  const child = spawn(NODES[node], [`${HERE}clients/${script}`, JSON.stringify({ client, ...order })], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_NO_WARNINGS: '1', ...env }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { out += text; });
  child.stderr.setEncoding('utf8').on('data', (text) => { err += text; });
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [code] = await once(child, 'close');
  clearTimeout(late);
  try {
    return JSON.parse(out.trim().split('\n').at(-1)).results;
  } catch {
    throw new Error(`${client} under Node ${node} ended with ${code}: ${err || out}`);
  }
}
