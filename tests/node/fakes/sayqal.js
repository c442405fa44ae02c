// routee.sayqal.uz: an MD5 over method, user, secret and the time that is also in the body.
import crypto from 'node:crypto';
import { Fake, Rejection, json, mediaType } from './fake.js';

export class Sayqal extends Fake {
  static prefix = '/sms';
  static path = '/sms/TransmitSMS';
  /** Seconds the clocks may differ. */
  skew = 300;
  #ids = 123456;

  rejection(cause) {
    if (cause === 'credential-rejected' || cause === 'clock-skew') return json(403, { errorCode: 403, errMsg: 'Access denied' });
    if (cause === 'provider-fault') return json(500, { errorCode: 500, errMsg: 'Internal error' });
    if (['message-invalid', 'recipient-invalid'].includes(cause)) return json(400, { errorCode: 1, errMsg: `Wrong ${cause === 'message-invalid' ? 'text' : 'phone'}` });
    return super.rejection(cause);
  }

  respond(request) {
    const method = request.path.split('/').pop();
    if (!['TransmitSMS', 'StatusSMS'].includes(method) || request.method !== 'POST') return json(404, { errorCode: 404, errMsg: 'Not found' });
    const bad = (words) => { throw new Rejection(json(400, { errorCode: 1, errMsg: words })); };
    if (mediaType(request) !== 'application/json') bad('JSON expected');
    let input;
    try { input = JSON.parse(request.body); } catch { bad('JSON expected'); }
    const { username, secret } = this.credential;
    const token = crypto.createHash('md5').update(`${method} ${username} ${secret} ${input.utime}`).digest('hex');
    if (!Number.isInteger(input.utime)) bad('utime');
    if (input.username !== username || request.headers['x-access-token'] !== token) return this.rejection('credential-rejected');
    if (Math.abs(Date.now() / 1000 - input.utime) > this.skew) return this.rejection('clock-skew');
    return method === 'TransmitSMS' ? this.#send(input, bad) : this.#status(input, bad);
  }

  #send({ service, message }, bad) {
    if (!Number.isInteger(service?.service)) bad('service');
    if (!message?.smsid) bad('smsid');
    if (!/^998\d{9}$/.test(message.phone ?? '')) bad('phone');
    if (typeof message.text !== 'string' || message.text === '' || message.text.length > 918) bad('text');
    const id = ++this.#ids;
    this.delivered.push({ to: message.phone, text: message.text, sender: service.nickname ?? service.numbera, reference: String(message.smsid), id: String(id) });
    return json(200, { transactionid: id, smsid: String(message.smsid), parts: 1 });
  }

  #status({ transactionid: id, smsid }, bad) {
    if (!this.delivered.some((each) => each.id === String(id))) bad('transactionid');
    return json(200, { smsid, status: 0, statusdate: '2026-01-01 10:00:00', parts: 1 });
  }
}
