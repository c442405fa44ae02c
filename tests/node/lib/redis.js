// A real Redis: the store in which OpenBao's database engine creates and deletes accounts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';

import { freePort } from './sidecar.js';

const ADMIN = ['admin', 'redis-canary-admin'];

/** Starts a server that keeps nothing on disk and has one account, `admin`. */
export async function redis(t, at) {
  const server = new Redis(await freePort(), at);
  t.after(() => server.stop());
  await server.ready();
  return server;
}

class Redis {
  admin = ADMIN;
  output = '';

  constructor(port, at) {
    this.port = port;
    const config = [`port ${port}`, 'bind 127.0.0.1', `dir ${at}`, 'save ""', 'appendonly no', 'user default off', `user ${ADMIN[0]} on >${ADMIN[1]} ~* &* +@all`];
    this.child = spawn('redis-server', ['-'], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.child.on('error', (error) => { this.missing = error; });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', (text) => { this.output = (this.output + text).slice(-5_000); });
    this.child.stdin.on('error', () => {}).end(`${config.join('\n')}\n`);
    this.exited = once(this.child, 'exit').catch(() => {});
  }

  async ready() {
    const until = Date.now() + 20_000;
    while (!(await this.knows(...ADMIN).catch(() => false))) {
      assert.ok(!this.missing, `redis-server cannot be started (${this.missing}): tests/setup installs it`);
      assert.ok(this.child.exitCode === null && Date.now() < until, `redis-server is not up: ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async stop() {
    if (this.missing || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.exited;
  }

  /** Whether an account exists and has this password. */
  async knows(user, password) { return (await this.#run(`AUTH ${user} ${password}`, 'PING')).startsWith('+OK\r\n'); }

  /** Every account but its own. */
  async accounts() {
    const answer = await this.#run(`AUTH ${ADMIN.join(' ')}`, 'ACL USERS');
    return answer.split('\r\n').filter((line) => line && !/^[+*$]/.test(line) && !['admin', 'default'].includes(line));
  }

  /** Sends lines of the inline protocol; returns the whole reply until it closes. */
  #run(...lines) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1');
      let whole = '';
      socket.setEncoding('utf8').on('error', reject).on('data', (part) => { whole += part; }).on('end', () => resolve(whole));
      socket.write([...lines, 'QUIT', ''].join('\r\n'));
    });
  }
}
