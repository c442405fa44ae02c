// SMS API v3 (and the older v2): an App key, three levels of lists, a status per destination inside a 200.
import crypto from 'node:crypto';
import { Fake, Rejection, json, mediaType } from './fake.js';

const STATUS = {
  'balance-empty': [5, 12, 'REJECTED_NOT_ENOUGH_CREDITS'],
  'recipient-invalid': [5, 52, 'REJECTED_DESTINATION'],
  'recipient-blocked': [5, 14, 'REJECTED_DESTINATION_BLOCKLISTED'],
  'sender-not-allowed': [5, 11, 'REJECTED_SOURCE_NOT_REGISTERED'],
  'sandbox-mismatch': [5, 18, 'REJECTED_DESTINATION_NOT_REGISTERED'],
  duplicate: [5, 23, 'REJECTED_DUPLICATE_MESSAGE_ID'],
  'provider-fault': [5, 21, 'REJECTED_SYSTEM_ERROR'],
};
const PENDING = [1, 26, 'PENDING_ACCEPTED'];

export class Infobip extends Fake {
  static path = '/sms/3/messages';

  rejection(cause) {
    if (cause === 'credential-rejected') return this.#error(401, 'E401', 'The request lacks valid authentication credentials');
    if (cause === 'permission-denied') return this.#error(403, 'E403', 'Insufficient permissions');
    if (cause === 'message-invalid') return this.#error(400, 'E400', 'Request cannot be processed');
    if (cause === 'throttled') return this.#error(429, 'E429', 'Too many requests', { 'retry-after': '2' });
    if (!STATUS[cause]) return super.rejection(cause);
    return json(200, { bulkId: crypto.randomUUID(), messages: [this.#line('998900000000', crypto.randomUUID(), STATUS[cause])] });
  }

  #error(status, errorCode, description, headers) { return json(status, { errorCode, description, action: 'See the documentation', violations: [], resources: [] }, headers); }

  #line(destination, messageId, [groupId, id, name]) {
    return { messageId, status: { groupId, groupName: groupId === 1 ? 'PENDING' : 'REJECTED', id, name, description: name }, destination, details: { messageCount: 1 } };
  }

  respond(request) {
    if (request.headers.authorization !== `App ${this.credential.api_key}`) return this.rejection('credential-rejected');
    if (request.path === '/account/1/balance') return json(200, { balance: 47.79, currency: 'EUR' });
    if (request.path !== Infobip.path) return this.#error(404, 'E404', 'Not found');
    if (request.method !== 'POST' || mediaType(request) !== 'application/json') return this.rejection('message-invalid');
    const input = this.#parse(request.body);
    if (!Array.isArray(input.messages) || input.messages.length === 0) return this.rejection('message-invalid');
    const lines = input.messages.flatMap((message) => this.#take(message));
    return json(200, { bulkId: crypto.randomUUID(), messages: lines });
  }

  #parse(body) {
    try { return JSON.parse(body); } catch { throw new Rejection(this.rejection('message-invalid')); }
  }

  #take({ sender, destinations, content, options }) {
    const bad = () => { throw new Rejection(this.rejection('message-invalid')); };
    if (!Array.isArray(destinations) || destinations.length === 0) bad();
    if (typeof content?.text !== 'string' || content.text === '') bad();
    const validity = options?.validityPeriod;
    if (validity && !(Number.isInteger(validity.amount) && ['SECONDS', 'MINUTES', 'HOURS'].includes(validity.timeUnit))) bad();
    return destinations.map(({ to, messageId = crypto.randomUUID() }) => {
      if (typeof to !== 'string' || to.length > 64 || messageId.length > 200) bad();
      if (!/^\d{7,15}$/.test(to)) return this.#line(to, messageId, STATUS['recipient-invalid']);
      if (!sender) return this.#line(to, messageId, STATUS['sender-not-allowed']);
      if (this.delivered.some((each) => each.id === messageId)) return this.#line(to, messageId, STATUS.duplicate);
      this.delivered.push({ to, text: content.text, sender, reference: messageId, id: messageId });
      return this.#line(to, messageId, PENDING);
    });
  }
}
