// notify.eskiz.uz: a login for a JWT of 30 days, texts only as approved, multipart or form.
import crypto from 'node:crypto';
import { Fake, Rejection, form, json, mediaType, multipart } from './fake.js';

const MONTH = 2_592_000;

export class Eskiz extends Fake {
  static prefix = '/api';
  static path = '/api/message/sms/send';
  /** Texts as the moderators approved them; the digits of a code may vary. */
  approved = [/^1port ilovasiga kirish kodi: \d{4,8}$/];
  /** Texts submitted for approval, as the service lists them. */
  templates = [{ id: 83331, template: '1port ilovasiga kirish kodi: %d', original_text: '1port ilovasiga kirish kodi: 12345', status: 'service' }];
  nicks = ['4546'];
  balance = 125000;
  logins = 0;
  /** `user` once the account is activated, `test` before. */
  role = 'user';
  /** Tokens are granted and then rejected. */
  grantsDead = false;
  #tokens = new Set();
  #key = crypto.randomBytes(32);

  rejection(cause) {
    const replies = {
      'credential-rejected': json(401, { message: 'Invalid credentials' }),
      'credential-expired': json(401, { status: 'token-invalid', message: 'Expired' }),
      'template-not-approved': json(400, { status: 'error', message: 'Этот смс текст еще не прошёл модерацию' }),
      'recipient-invalid': json(400, { status: 'error', message: 'mobile_phone: неверный формат' }),
      'provider-fault': json(500, { message: 'Server Error' }),
      throttled: json(429, { message: 'Too Many Attempts.' }, { 'retry-after': '2' }),
    };
    return replies[cause] ?? super.rejection(cause);
  }

  /** Every token handed out so far stops working, as after a month or a revocation. */
  expireTokens() { this.#tokens.clear(); return this; }

  respond(request) {
    const call = `${request.method} ${request.path}`;
    if (call === 'POST /api/auth/login') return this.#login(request);
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (!token) return json(401, { message: 'Unauthorized' });
    if (!this.#tokens.has(token)) return this.rejection('credential-expired');
    if (call === 'PATCH /api/auth/refresh') return this.#grant();
    if (call === 'GET /api/user/get-limit') return json(200, { data: { balance: this.balance }, status: 'success' });
    if (call === 'GET /api/auth/user') return json(200, { status: 'success', data: { id: 1, email: this.credential.email, password: '', role: this.role, status: 'active', balance: this.balance }, id: null });
    if (call === 'GET /api/user/templates') return json(200, { success: true, result: this.templates });
    // 4546 is shared by all accounts and is on no list.
    if (call === 'GET /api/nick/me') return json(200, this.nicks.filter((nick) => nick !== '4546'));
    if (call === 'POST /api/message/sms/send') return this.#send(request);
    if (call === 'POST /api/message/sms/send-batch') return this.#batch(request);
    const status = /^\/api\/message\/sms\/status_by_id\/([\w-]+)$/.exec(request.path);
    if (status && request.method === 'GET') return this.#status(status[1]);
    return json(404, { message: 'Not Found' });
  }

  #login(request) {
    const fields = this.#fields(request);
    this.logins += 1;
    if (fields.email !== this.credential.email || fields.password !== this.credential.password) return this.rejection('credential-rejected');
    return this.#grant();
  }

  #grant() {
    const iat = Math.floor(Date.now() / 1000);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part({ typ: 'JWT', alg: 'HS256' })}.${part({ exp: iat + MONTH, iat, role: this.role, sign: crypto.randomUUID(), sub: '1' })}`;
    const token = `${signed}.${crypto.createHmac('sha256', this.#key).update(signed).digest('base64url')}`;
    if (!this.grantsDead) this.#tokens.add(token);
    this.lastToken = token;
    return json(200, { message: 'token_generated', data: { token }, token_type: 'bearer' });
  }

  #fields(request) {
    try {
      switch (mediaType(request)) {
        case 'multipart/form-data': return multipart(request);
        case 'application/x-www-form-urlencoded': return form(request.body);
        case 'application/json': return JSON.parse(request.body);
        default: throw new Error('no form');
      }
    } catch {
      throw new Rejection(json(400, { status: 'error', message: 'The given data was invalid.' }));
    }
  }

  #send(request) {
    const { mobile_phone: to, message, from, callback_url: callback } = this.#fields(request);
    if (!/^998\d{9}$/.test(to ?? '')) return this.rejection('recipient-invalid');
    if (!message) return json(400, { status: 'error', message: 'The message field is required.' });
    if (!this.nicks.includes(from)) return json(400, { status: 'error', message: 'The from field is invalid.' });
    if (!this.approved.some((template) => template.test(message))) return this.rejection('template-not-approved');
    const id = crypto.randomUUID();
    this.delivered.push({ to, text: message, sender: from, id, callback });
    return json(200, { id, message: 'Waiting for SMS provider', status: 'waiting' });
  }

  #batch(request) {
    if (mediaType(request) !== 'application/json') return json(400, { status: 'error', message: 'JSON expected' });
    const { messages, from } = this.#fields(request);
    if (!Array.isArray(messages) || messages.length === 0) return json(400, { status: 'error', message: 'The messages field is required.' });
    const id = crypto.randomUUID();
    for (const { to, text, user_sms_id: reference } of messages) {
      if (!/^998\d{9}$/.test(String(to))) return this.rejection('recipient-invalid');
      if (!this.approved.some((template) => template.test(text))) return this.rejection('template-not-approved');
      this.delivered.push({ to: String(to), text, sender: from, reference, id });
    }
    return json(200, { id, message: 'Waiting for SMS provider', status: messages.map(() => 'waiting') });
  }

  #status(id) {
    const message = this.delivered.find((each) => each.id === id);
    if (!message) return json(404, { status: 'error', message: 'Not found' });
    return json(200, { status: 'success', data: { id: 1, request_id: id, to: message.to, nick: message.sender, message: message.text, status: 'DELIVERED', parts_count: 1 }, id: null });
  }
}
