// Programmable Messaging, 2010-04-01: Basic, a form, 201, errors with a code of five digits.
import crypto from 'node:crypto';
import { Fake, Rejection, basic, form, json, mediaType, text } from './fake.js';

const ERRORS = {
  'credential-rejected': [401, 20003, 'Authenticate'],
  'account-suspended': [403, 20403, 'Account is suspended'],
  'balance-empty': [403, 20005, 'Account is not active'],
  'permission-denied': [400, 21408, 'Permission to send an SMS has not been enabled for the region'],
  'sandbox-mismatch': [403, 20008, 'Resource not accessible with Test Account Credentials'],
  'recipient-invalid': [400, 21211, "The 'To' number is not a valid phone number."],
  'recipient-blocked': [400, 21610, 'Attempt to send to unsubscribed recipient'],
  'sender-not-allowed': [400, 21606, "The 'From' phone number is not a valid message-capable Twilio phone number"],
  'message-invalid': [400, 21617, 'The concatenated message body exceeds the 1600 character limit'],
  throttled: [429, 20429, 'Too Many Requests'],
  'provider-fault': [500, 20500, 'Internal Server Error'],
};

export class Twilio extends Fake {
  static prefix = '/2010-04-01';
  /** Numbers and alphanumeric names this account owns. */
  senders = ['+12025550123', '1port'];
  services = ['MG00000000000000000000000000000001'];
  balance = '12.30';
  accountStatus = 'active';

  get path() { return `/2010-04-01/Accounts/${this.credential.account_sid}/Messages.json`; }

  rejection(cause) {
    if (!ERRORS[cause]) return super.rejection(cause);
    return this.#error(...ERRORS[cause], cause === 'throttled' ? { 'retry-after': '2' } : {});
  }

  #error(status, code, message, headers = {}) {
    return json(status, { code, message, more_info: `https://www.twilio.com/docs/errors/${code}`, status }, headers);
  }

  respond(request) {
    const reject = (...error) => { throw new Rejection(this.#error(...error)); };
    const who = basic(request);
    const { account_sid: sid, auth_token: token } = this.credential;
    if (who?.user !== sid || who.password !== token) return this.#error(401, 20003, 'Authenticate');
    if (request.path === `/2010-04-01/Accounts/${sid}.json`) return json(200, { sid, status: this.accountStatus, type: 'Full', auth_token: token });
    const match = /^\/2010-04-01\/Accounts\/(AC[0-9a-f]{32})(\/.*)?$/.exec(request.path);
    if (!match) reject(404, 20404, `The requested resource ${request.path} was not found`);
    if (match[1] !== sid) reject(401, 20003, 'Authenticate');
    const rest = match[2] ?? '';
    if (rest === '/Messages.json') return request.method === 'POST' ? this.#send(request, reject) : this.#list(request, reject);
    if (request.method !== 'GET') reject(405, 20004, 'Method not allowed');
    if (rest === '/Balance.json') return json(200, { account_sid: sid, balance: this.balance, currency: 'USD' });
    if (rest === '/IncomingPhoneNumbers.json') return this.#numbers(request, reject);
    const one = /^\/Messages\/((?:SM|MM)[0-9a-f]{32})\.json$/.exec(rest);
    const message = one && this.delivered.find((each) => each.id === one[1]);
    if (message) return json(200, this.#resource(message, 'delivered'));
    if (rest === '/Messages') return text(404, '<TwilioResponse><RestException><Code>20404</Code></RestException></TwilioResponse>', 'application/xml');
    return this.#error(404, 20404, `The requested resource ${request.path} was not found`);
  }

  #list(request, reject) {
    if (request.method !== 'GET') reject(405, 20004, 'Method not allowed');
    return json(200, { messages: this.delivered.map((message) => this.#resource(message, 'delivered')), page: 0 });
  }

  /** Names are on no list of numbers; a page has 50 entries, and `*` matches any digit. */
  #numbers(request, reject) {
    const input = Object.fromEntries(request.query);
    const unknown = Object.keys(input).find((name) => !['PhoneNumber', 'FriendlyName', 'Beta', 'Origin', 'PageSize', 'Page', 'PageToken'].includes(name));
    if (unknown) reject(400, 20001, `Unknown parameter ${unknown}`);
    const wanted = (input.PhoneNumber ?? '').split('*').map((part) => part.replace(/[^0-9]/g, '')).join('\\d');
    const owned = this.senders.filter((sender) => sender.startsWith('+') && new RegExp(wanted).test(sender));
    return json(200, { page: 0, page_size: 50, start: 0, end: 0, next_page_uri: null, incoming_phone_numbers: owned.slice(0, 50).map((phone_number) => ({ sid: `PN${'0'.repeat(32)}`, account_sid: this.credential.account_sid, phone_number, capabilities: { sms: true } })) });
  }

  #send(request, reject) {
    if (mediaType(request) !== 'application/x-www-form-urlencoded') reject(400, 21604, "A 'To' phone number is required.");
    const input = readForm(request.body, reject);
    if (!input.To) reject(400, 21604, "A 'To' phone number is required.");
    if (!/^\+[1-9]\d{6,14}$/.test(input.To)) reject(400, 21211, `The 'To' number ${input.To} is not a valid phone number.`);
    if (!input.From && !input.MessagingServiceSid) reject(400, 21603, "A 'From' phone number is required.");
    if (input.MessagingServiceSid && !this.services.includes(input.MessagingServiceSid)) reject(400, 21701, 'The Messaging Service does not exist');
    if (input.From && !this.senders.includes(input.From)) reject(400, 21606, `The 'From' phone number ${input.From} is not a valid, message-capable Twilio phone number.`);
    if (input.From === input.To) reject(400, 21266, "'To' and 'From' number cannot be the same");
    if (!input.Body && !input.MediaUrl && !input.ContentSid) reject(400, 21602, 'Message body is required.');
    if ((input.Body ?? '').length > 1600) reject(400, 21617, 'The concatenated message body exceeds the 1600 character limit');
    if (input.ValidityPeriod !== undefined && !(/^\d+$/.test(input.ValidityPeriod) && input.ValidityPeriod >= 1 && input.ValidityPeriod <= 36000)) reject(400, 21624, 'Invalid validity period');
    if (input.StatusCallback && !URL.canParse(input.StatusCallback)) reject(400, 21609, 'Invalid StatusCallback');
    const message = { to: input.To, text: input.Body, sender: input.From ?? input.MessagingServiceSid, id: `SM${crypto.randomBytes(16).toString('hex')}`, fields: input };
    this.delivered.push(message);
    return json(201, this.#resource(message, 'queued'));
  }

  #resource({ id, to, text: body, sender }, status) {
    const sid = this.credential.account_sid;
    const service = sender?.startsWith('MG');
    return {
      sid: id, account_sid: sid, api_version: '2010-04-01', to, from: service ? null : sender, messaging_service_sid: service ? sender : null, body,
      status, direction: 'outbound-api', num_segments: '1', num_media: '0', price: null, price_unit: null, error_code: null, error_message: null,
      date_created: new Date().toUTCString().replace('GMT', '+0000'), date_sent: null, date_updated: new Date().toUTCString().replace('GMT', '+0000'),
      uri: `/2010-04-01/Accounts/${sid}/Messages/${id}.json`, subresource_uris: { media: `/2010-04-01/Accounts/${sid}/Messages/${id}/Media.json` },
    };
  }
}

function readForm(body, reject) {
  try { return form(body); } catch { return reject(400, 20001, 'Malformed request'); }
}
