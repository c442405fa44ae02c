// A real Prometheus and a real Alertmanager in a folder of their own, started, queried and ended by a test.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { freePort, get } from './sidecar.js';
import { eventually } from './stage.js';

/** How many bytes of a program's output are kept. */
const KEPT = 16_384;

/** A program that ends with the test. It must be installed: a missing program fails the test. */
class Peer {
  output = '';

  constructor(t, command, args) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', (text) => { this.output = (this.output + text).slice(-KEPT); });
    this.ended = new Promise((resolve) => { this.child.on('exit', resolve).on('error', (error) => { this.output += `${error}: tests/setup installs it`; resolve(-1); }); });
    this.ended.then((code) => { this.code = code; });
    t.after(async () => {
      this.child.kill('SIGTERM');
      const late = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
      await this.ended;
      clearTimeout(late);
    });
  }

  /** Waits for a page that answers 200. */
  async up(url) {
    await eventually(async () => {
      assert.equal(this.code, undefined, this.output);
      return (await get(url).catch(() => undefined))?.status === 200;
    }, 60_000);
  }
}

/** Starts a Prometheus with `config` (JSON is YAML); `files` are written beside it. */
export async function prometheus(t, at, config, files = {}) {
  const folder = mkdtempSync(path.join(at, 'prometheus-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  const file = path.join(folder, 'prometheus.yml');
  writeFileSync(file, JSON.stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const peer = new Peer(t, 'prometheus', [`--config.file=${file}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=${address}`, '--log.level=warn']);
  const made = new Prometheus(`http://${address}`);
  await peer.up(`${made.url}/-/ready`);
  return made;
}

class Prometheus {
  constructor(url) { this.url = url; }

  async api(what, fields = {}) {
    const reply = await get(`${this.url}/api/v1/${what}?${new URLSearchParams(fields)}`);
    const { status, data, error } = JSON.parse(reply.body);
    assert.equal(status, 'success', `${what} ${JSON.stringify(fields)}: ${error}`);
    return data;
  }

  /** [{labels, value}] of an instant query; a scalar is one without labels. */
  async query(expr, time) {
    const { resultType, result } = await this.api('query', { query: expr, ...(time && { time }) });
    if (resultType === 'scalar') return [{ labels: {}, value: Number(result[1]) }];
    assert.equal(resultType, 'vector', expr);
    return result.map(({ metric: { __name__, ...labels }, value }) => ({ labels, value: Number(value[1]) }));
  }

  /** The raw samples of every series that matches: [[seconds, value], …] each. */
  async samples(selector, time) {
    const { result } = await this.api('query', { query: selector, time });
    return result.map(({ values }) => values.map(([at, value]) => [at, Number(value)]));
  }

  /** When the newest sample of `selector` was taken. */
  async newest(selector) {
    return Math.max(0, ...(await this.query(`timestamp(${selector})`)).map(({ value }) => value));
  }

  /** Waits until a scrape that began after this call is stored; returns its time. */
  async scraped(selector = 'up') {
    const now = Date.now() / 1000;
    return eventually(async () => {
      const newest = await this.newest(selector);
      return newest > now && newest;
    }, 60_000);
  }
}

/** Starts an Alertmanager with `config`. */
export async function alertmanager(t, at, config) {
  const folder = mkdtempSync(path.join(at, 'alertmanager-'));
  const file = path.join(folder, 'alertmanager.yml');
  writeFileSync(file, JSON.stringify(config));
  const address = `127.0.0.1:${await freePort()}`;
  const peer = new Peer(t, 'prometheus-alertmanager', [`--config.file=${file}`, `--storage.path=${folder}/data`, `--web.listen-address=${address}`, '--cluster.listen-address=', '--log.level=warn']);
  await peer.up(`http://${address}/-/ready`);
  return address;
}

/** Runs promtool to its end; returns its output. */
export async function promtool(...args) {
  const child = spawn('promtool', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
  const [code] = await once(child, 'close');
  return { code, output };
}
