// smsc.ru: credentials and message side by side in the query or a form, every answer under 200,
// a charset that garbles what was not declared, and no second identical send within a minute.
import crypto from 'node:crypto';
import { Fake, form, json, mediaType, text } from './fake.js';

const ERRORS = {
  'message-invalid': [1, 'parameters error'],
  'credential-rejected': [2, 'invalid password'],
  'balance-empty': [3, 'no money'],
  throttled: [4, 'ip is blocked'],
  'template-not-approved': [6, 'message is denied'],
  'recipient-invalid': [7, 'invalid number'],
  duplicate: [9, 'duplicate request, wait a minute'],
};

export class Smsc extends Fake {
  static prefix = '/sys';
  static path = '/sys/send.php';
  balance = '100.01';
  /** Sender names that the service has approved for this account. */
  senders = ['1port'];
  #recent = new Map();
  #ids = 1000;

  rejection(cause, request) {
    if (!ERRORS[cause]) return super.rejection(cause);
    return this.#error(this.#read(request) ?? {}, ...ERRORS[cause]);
  }

  #error(input, code, words) {
    if (input.fmt === '3') return json(200, { error: words, error_code: code, id: ++this.#ids });
    return text(200, input.fmt === '1' ? `0,-${code}` : `ERROR = ${code} (${words})`);
  }

  respond(request) {
    const input = this.#read(request);
    if (!input) return text(200, 'ERROR = 1 (parameters error)');
    const fail = (cause) => this.#error(input, ...ERRORS[cause]);
    if (!input.login || !input.psw) return fail('message-invalid');
    const md5 = crypto.createHash('md5').update(this.credential.password).digest('hex');
    if (input.login !== this.credential.username || ![this.credential.password, md5].includes(input.psw)) return fail('credential-rejected');
    if (request.path === '/sys/balance.php') return input.fmt === '3' ? json(200, { balance: this.balance, currency: 'RUR' }) : text(200, this.balance);
    if (request.path === '/sys/senders.php') return input.get === '1' && input.fmt === '3' ? json(200, this.senders.map((sender) => ({ sender }))) : fail('message-invalid');
    if (request.path === '/sys/status.php') return json(200, { status: this.delivered.some((each) => each.id === input.id) ? 1 : -3 });
    if (request.path !== Smsc.path) return text(404, 'Not Found', 'text/html');
    return this.#send(input, fail);
  }

  #read(request) {
    try {
      if (request.method === 'GET') return form(request.rawQuery);
      if (request.method === 'POST' && mediaType(request) === 'application/x-www-form-urlencoded') return form(request.body);
    } catch { /* unreadable: parameters error */ }
    return undefined;
  }

  #send(input, fail) {
    if (!input.phones || !input.mes || input.mes.length > 800) return fail('message-invalid');
    const phones = input.phones.split(/[,;]/);
    if (phones.some((phone) => !/^\+?\d{10,15}$/.test(phone))) return fail('recipient-invalid');
    if (input.cost === '1') return input.fmt === '3' ? json(200, { cost: '1.44', cnt: phones.length }) : text(200, `1.44 (${phones.length})`);
    const same = `${input.phones}\0${input.mes}\0${input.sender}`;
    if (Date.now() - (this.#recent.get(same) ?? 0) < 60_000) return fail('duplicate');
    this.#recent.set(same, Date.now());
    const mes = input.charset === 'utf-8' ? input.mes : new TextDecoder('windows-1251').decode(Buffer.from(input.mes));
    const id = input.id ?? String(++this.#ids);
    for (const to of phones) this.delivered.push({ to: to.replace('+', ''), text: mes, sender: input.sender, reference: input.id, id });
    if (input.fmt === '3') return json(200, { id: /^\d+$/.test(id) ? Number(id) : id, cnt: phones.length });
    return text(200, input.fmt === '1' ? `${id},${phones.length}` : `OK - ${phones.length} SMS, ID - ${id}`);
  }
}
