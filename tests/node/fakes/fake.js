// What every strict fake shares: a server that records what it received and can be told to
// misbehave. A fake knows its service only from that service's public facts; it never reads
// the sidecar's own descriptions, or both would share one mistake.
import http from 'node:http';
import https from 'node:https';
import { once } from 'node:events';

export class Fake {
  /** Every request: {method, path, query, headers, body, status, cause}. */
  received = [];
  /** What the service accepted for delivery: {to, text, sender, reference, id}. */
  delivered = [];
  /** Seconds that the service's clock is ahead of ours. */
  ahead = 0;
  #faults = [];
  #choose;
  #server;
  #control;
  #waiting = [];

  /** @param {{credential: object, tls?: {key: string, cert: string}}} options */
  constructor({ credential, tls, ...rest }) {
    this.credential = { ...credential };
    this.tls = tls;
    Object.assign(this, rest);
  }

  /** The service's name, its path prefix, and its reply for each cause: what a subclass owns. */
  static prefix = '';
  respond(_request) { throw new Error('a fake must implement `respond`'); }
  rejection(cause) { throw new Error(`${this.constructor.name} has no reply for ${cause}`); }

  /** Where a message is sent to. */
  get path() { return this.constructor.path; }
  get url() { return this.origin + this.path; }

  async listen(port = 0) {
    const handler = (req, res) => this.#serve(req, res);
    this.#server = this.tls ? https.createServer(this.tls, handler) : http.createServer(handler);
    this.#server.keepAliveTimeout = 60_000;
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = this.#server.address().port;
    this.origin = `${this.tls ? 'https' : 'http'}://127.0.0.1:${this.port}`;
    this.base = this.origin + this.constructor.prefix;
    return this;
  }

  async close() {
    for (const server of [this.#server, this.#control]) {
      if (!server) continue;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  // --- what a test may request -----------------------------------------------

  /** The next `times` requests are rejected with the service's reply for `cause`. */
  reject(cause, times = Infinity) { return this.#order({ reject: cause, times }); }
  /** From now on requests to this path are rejected with the service's reply for `cause`; others pass. */
  rejectPath(path, cause) { this.rejectedPath = { path, cause }; return this; }
  /** The next `times` requests are accepted, and the connection dies before the reply. */
  loseReply(times = 1) { return this.#order({ lose: true, times }); }
  /** The next `times` requests get this status with this body and nothing else happens. */
  status(status, { times = 1, headers = {}, body = '' } = {}) { return this.#order({ reply: { status, headers, body }, times }); }
  /** The next `times` requests are answered after `ms`. */
  delay(ms, times = 1) { return this.#order({ delay: ms, times }); }
  /** The next `times` requests wait until the returned function is called. */
  hold(times = 1) {
    let release;
    const gate = new Promise((resolve) => { release = resolve; });
    this.#order({ gate, times });
    return release;
  }
  /** The next `times` connections get these raw bytes instead of HTTP and are closed. */
  raw(bytes, times = 1) { return this.#order({ raw: bytes, times }); }
  /** Closes every kept connection, as a server with a short keep-alive does. */
  dropIdle() { this.#server.closeIdleConnections(); return this; }
  /** The credential changes at the service; the old one is rejected from now on. */
  rotate(change) { Object.assign(this.credential, change); return this; }
  /** From now on `choose(request)` names the fault of each request, or none: `{reject, reply, raw, lose, cut, hang}`. */
  misbehave(choose) { this.#choose = choose; return this; }
  /** Forgets every order. */
  behave() { this.#faults = []; this.#choose = undefined; this.rejectedPath = undefined; return this; }
  /** Forgets orders and memory. */
  reset() { this.behave(); this.received.length = 0; this.delivered.length = 0; return this; }

  #order(fault) { this.#faults.push(fault); return this; }

  /** Resolves when `count` requests have been received (also while they are held). */
  async seen(count) {
    while (this.received.length < count) await new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The same orders over HTTP, for other processes: POST {"do": "reject", "with": ["balance-empty", 1]}. */
  async listenControl(port = 0) {
    const orders = ['reject', 'loseReply', 'status', 'delay', 'raw', 'rotate', 'behave', 'reset'];
    this.#control = http.createServer(async (req, res) => {
      if (req.method === 'GET') return res.end(JSON.stringify({ received: this.received, delivered: this.delivered }));
      const order = JSON.parse(await bodyOf(req));
      if (!orders.includes(order.do)) { res.statusCode = 400; return res.end(`one of ${orders.join(' ')}`); }
      this[order.do](...(order.with ?? []));
      return res.end('done');
    });
    this.#control.listen(port, '127.0.0.1');
    await once(this.#control, 'listening');
    this.controlPort = this.#control.address().port;
    return this;
  }

  // --- serving ---------------------------------------------------------------

  async #serve(req, res) {
    const url = new URL(req.url, 'http://fake');
    const request = {
      method: req.method, target: req.url, path: url.pathname, query: url.searchParams, rawQuery: url.search.slice(1),
      headers: req.headers, rawHeaders: req.rawHeaders, from: req.socket.remoteAddress, body: await bodyOf(req).catch(() => ''),
    };
    const fault = this.#choose ? this.#choose(request) : this.#nextFault();
    const record = { ...request, query: Object.fromEntries(url.searchParams) };
    this.received.push(record);
    for (const wake of this.#waiting.splice(0)) wake();
    if (fault?.raw !== undefined) return req.socket.end(fault.raw);
    if (fault?.delay) await new Promise((resolve) => setTimeout(resolve, fault.delay));
    if (fault?.gate) await fault.gate;
    const reply = fault?.reply ?? (fault?.reject ? this.rejection(fault.reject, request) : await this.#answer(request));
    record.status = reply.status;
    if (fault?.lose) return req.socket.destroy();
    if (fault?.hang) return undefined;
    if (fault?.cut) return res.writeHead(reply.status, { ...reply.headers, 'content-length': Buffer.byteLength(reply.body) + 10 }).write(reply.body, () => req.socket.destroy());
    // A wrong clock shows in the reply's Date header.
    const dated = this.ahead ? { date: new Date(this.now()).toUTCString() } : {};
    res.writeHead(reply.status, { ...reply.headers, ...dated });
    return res.end(reply.body);
  }

  /** The service's own time, in milliseconds. */
  now() { return Date.now() + this.ahead * 1000; }

  async #answer(request) {
    try {
      if (this.rejectedPath?.path === request.path) return this.rejection(this.rejectedPath.cause, request);
      return await this.respond(request);
    } catch (error) {
      return error instanceof Rejection ? error.reply : { status: 500, headers: {}, body: `the fake broke: ${error.stack}` };
    }
  }

  #nextFault() {
    const fault = this.#faults[0];
    if (fault && --fault.times <= 0) this.#faults.shift();
    return fault;
  }
}

/** Thrown by a fake to reject a request. */
export class Rejection extends Error {
  constructor(reply) { super('rejected'); this.reply = reply; }
}

export async function bodyOf(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

export function json(status, value, headers = {}) {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(value) };
}

export function text(status, body, type = 'text/plain; charset=utf-8', headers = {}) {
  return { status, headers: { 'content-type': type, ...headers }, body };
}

/** `application/json; charset=UTF-8` → `application/json`. */
export function mediaType(request) {
  return (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
}

/** The user and password of a Basic header; undefined when there is none, or it is malformed. */
export function basic(request) {
  const match = /^Basic ([A-Za-z0-9+/]+=*)$/.exec(request.headers.authorization ?? '');
  if (!match) return undefined;
  const [user, ...rest] = Buffer.from(match[1], 'base64').toString('utf8').split(':');
  return rest.length ? { user, password: rest.join(':') } : undefined;
}

/** A form body, strictly: a bare `%`, a bare non-ASCII byte or a repeated field is an error. */
export function form(body) {
  const fields = {};
  if (body === '') return fields;
  for (const pair of body.split('&')) {
    if (!/^(?:[A-Za-z0-9*\-._+!'()~\[\]:,;@$/?]|=|%[0-9A-Fa-f]{2})*$/.test(pair)) throw new Error('a form field is not percent-encoded');
    const [name, value = ''] = pair.split(/=(.*)/s).map((part) => decodeURIComponent((part ?? '').replaceAll('+', ' ')));
    if (name in fields) throw new Error('a form field is given twice');
    fields[name] = value;
  }
  return fields;
}

/** A multipart/form-data body by RFC 7578; throws where a boundary or a name is missing. */
export function multipart(request) {
  const boundary = /boundary="?([^";]+)"?/.exec(request.headers['content-type'])?.[1];
  if (!boundary) throw new Error('no boundary');
  const parts = request.body.split(`--${boundary}`);
  if (parts[0] !== '' || !/^--\r?\n?$/.test(parts.at(-1))) throw new Error('the boundaries do not close');
  const fields = {};
  for (const part of parts.slice(1, -1)) {
    const [head, ...rest] = part.replace(/^\r\n/, '').split('\r\n\r\n');
    const name = /name="([^"]*)"/.exec(head)?.[1];
    if (!name) throw new Error('a part has no name');
    fields[name] = rest.join('\r\n\r\n').replace(/\r\n$/, '');
  }
  return fields;
}
