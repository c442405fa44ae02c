// The SMS API: everything under 200, a status per part, and a text that loses what its `type` cannot express.
import crypto from 'node:crypto';
import { Fake, basic, form, json, mediaType } from './fake.js';

const STATUS = {
  throttled: ['1', 'Throughput Rate Exceeded - please wait [ 702 ] and retry'],
  'message-invalid': ['3', 'Invalid message params'],
  'credential-rejected': ['4', 'Bad Credentials'],
  'provider-fault': ['5', 'Internal Error'],
  'recipient-invalid': ['6', 'Unroutable message - rejected'],
  'recipient-blocked': ['7', 'Number barred'],
  'account-suspended': ['8', 'Partner Account Barred'],
  'balance-empty': ['9', 'Partner quota violation'],
  'sender-not-allowed': ['15', 'Illegal Sender Address - rejected'],
  'sandbox-mismatch': ['29', 'Non White-listed Destination - rejected'],
};
const GSM7 = /^[@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&'()*+,\-./0-9:;<=>?¡A-ZÄÖÑÜ§¿a-zäöñüà^{}\\[~\]|€]*$/;

export class Vonage extends Fake {
  static path = '/sms/json';
  balance = 24.428075;

  rejection(cause) { return STATUS[cause] ? this.#failed(...STATUS[cause]) : super.rejection(cause); }

  #failed(status, words) { return json(200, { 'message-count': '1', messages: [{ status, 'error-text': words }] }); }

  respond(request) {
    if (request.path === '/account/get-balance') {
      return this.#known(request, Object.fromEntries(request.query)) === 'right'
        ? json(200, { value: this.balance, autoReload: false })
        : json(401, { 'error-code': '401', 'error-code-label': 'authentication failed' });
    }
    if (request.path !== Vonage.path || request.method !== 'POST') return json(404, { 'error-code': '404' });
    const input = this.#read(request);
    if (!input) return this.#failed('2', 'Missing api_key');
    const known = this.#known(request, input);
    if (known === 'missing') return this.#failed('2', 'Missing api_key');
    if (known === 'wrong') return this.#failed('4', 'Bad Credentials');
    return this.#send(input);
  }

  #read(request) {
    try {
      if (mediaType(request) === 'application/json') return JSON.parse(request.body);
      if (mediaType(request) === 'application/x-www-form-urlencoded') return form(request.body);
    } catch { /* falls through: the body is unreadable */ }
    return undefined;
  }

  #known(request, input) {
    const { api_key: key, api_secret: secret } = this.credential;
    const who = basic(request);
    const given = who ? [who.user, who.password] : [input.api_key, input.api_secret];
    if (!given[0] || !given[1]) return 'missing';
    return given[0] === key && given[1] === secret ? 'right' : 'wrong';
  }

  #send(input) {
    for (const name of ['from', 'to', 'text']) if (!input[name]) return this.#failed('2', `Missing ${name}`);
    if (!/^\d{7,15}$/.test(input.to)) return this.#failed('3', 'Invalid value for param: to');
    if (!['text', 'unicode', undefined].includes(input.type)) return this.#failed('3', 'Invalid value for param: type');
    if (input.ttl !== undefined && !(Number(input.ttl) >= 20_000 && Number(input.ttl) <= 604_800_000)) return this.#failed('3', 'Invalid value for param: ttl');
    const reference = input['client-ref'];
    if (reference !== undefined && reference.length > 40) return this.#failed('3', 'Invalid value for param: client-ref');
    const unicode = input.type === 'unicode';
    const text = unicode ? input.text : [...input.text].map((c) => (GSM7.test(c) ? c : '?')).join('');
    const parts = Math.ceil(text.length / (unicode ? 70 : 160));
    const id = crypto.randomBytes(8).toString('hex').toUpperCase();
    this.delivered.push({ to: input.to, text, sender: input.from, reference, id });
    const part = () => ({ to: input.to, 'message-id': id, status: '0', 'remaining-balance': '3.14', 'message-price': '0.0333', network: '43404', ...(reference && { 'client-ref': reference }) });
    return json(200, { 'message-count': String(parts), messages: Array.from({ length: parts }, part) });
  }
}
