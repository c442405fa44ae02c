// broker-api: Basic, a JSON batch, "Request is received" as plain text, codes under HTTP 400
// in two spellings, and code 100 (their own fault) under 400 as well.
import { Fake, Rejection, basic, json, mediaType, text } from './fake.js';

const CODES = {
  'account-suspended': [102, 'Account is blocked'],
  'message-invalid': [101, 'Syntax error'],
  'recipient-invalid': [202, 'Empty recipient'],
  'sender-not-allowed': [401, 'Empty originator'],
  'provider-fault': [100, 'Internal server error'],
};

export class Playmobile extends Fake {
  static prefix = '/broker-api';
  static path = '/broker-api/send';
  /** `dashes` (older clients read them, a number) or `underscores` (the wiki, a string). */
  spelling = 'dashes';
  /** An account lock that the service checks only for a send. */
  lockedSends = false;

  rejection(cause) {
    if (cause === 'credential-rejected') return text(401, '', 'text/html');
    if (cause === 'throttled') return text(429, '', 'text/html', { 'retry-after': '2' });
    return this.#error(...CODES[cause]);
  }

  #error(code, words) {
    return this.spelling === 'dashes'
      ? json(400, { 'error-code': code, 'error-description': words })
      : json(400, { error_code: String(code), error_description: words });
  }

  respond(request) {
    if (request.path.replace(/\/$/, '') !== Playmobile.path) return text(404, 'Not Found', 'text/html');
    if (request.method !== 'POST') return text(405, '', 'text/html');
    const who = basic(request);
    if (who?.user !== this.credential.username || who.password !== this.credential.password) return this.rejection('credential-rejected');
    const reject = (code, words) => { throw new Rejection(this.#error(code, words)); };
    if (mediaType(request) !== 'application/json') reject(101, 'Syntax error');
    const input = parse(request.body) ?? reject(101, 'Syntax error');
    if (!Array.isArray(input.messages) || input.messages.length === 0) reject(101, 'Syntax error');
    if (this.lockedSends) reject(...CODES['account-suspended']);
    if (input.messages.length > 100) reject(105, 'Too many message ids');
    const taken = input.messages.map((message) => this.#check(message, input, reject));
    this.delivered.push(...taken);
    return text(200, 'Request is received');
  }

  #check(message, top, reject) {
    if (message.recipient === undefined || message.recipient === '') reject(202, 'Empty recipient');
    if (typeof message.recipient !== 'string' || !/^998\d{9}$/.test(message.recipient)) reject(202, 'Invalid recipient');
    const id = message['message-id'];
    if (id === undefined || id === '') reject(205, 'Empty message-id');
    if (!['string', 'number'].includes(typeof id) || String(id).length > 20) reject(205, 'Invalid message-id');
    const priority = message.priority ?? top.priority;
    if (priority !== undefined && !['low', 'normal', 'high', 'realtime'].includes(priority)) reject(104, 'Invalid priority');
    const sms = { ...top.sms, ...message.sms };
    if (!top.sms && !message.sms) reject(103, 'No channel');
    if (!sms.originator) reject(401, 'Empty originator');
    if (sms.ttl !== undefined && !(Number(sms.ttl) > 0)) reject(407, 'Invalid ttl');
    if (sms.content === undefined) reject(404, 'Empty content');
    if (typeof sms.content !== 'object') reject(405, 'Invalid content format');
    if (typeof sms.content.text !== 'string' || sms.content.text === '') reject(406, 'Invalid content value');
    return { to: message.recipient, text: sms.content.text, sender: sms.originator, reference: String(id), id: String(id) };
  }
}

function parse(body) {
  try { return JSON.parse(body); } catch { return undefined; }
}
