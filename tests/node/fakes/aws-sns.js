// SNS Publish: Query protocol, XML, and a SigV4 signature that is recomputed from the request.
import crypto from 'node:crypto';
import { Fake, Rejection, form, mediaType, text } from './fake.js';

const ERRORS = {
  'credential-rejected': [403, 'SignatureDoesNotMatch'],
  'credential-expired': [403, 'ExpiredToken'],
  'permission-denied': [403, 'AuthorizationError'],
  'message-invalid': [400, 'InvalidParameter'],
  'recipient-invalid': [400, 'InvalidParameter'],
  throttled: [429, 'Throttled'],
  'provider-fault': [500, 'InternalError'],
};
const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');
const hmac = (key, data) => crypto.createHmac('sha256', key).update(data).digest();

export class AwsSns extends Fake {
  static path = '/';
  region = 'eu-central-1';
  service = 'sns';
  /** Only verified numbers get messages. */
  sandbox = false;

  rejection(cause) { return ERRORS[cause] ? this.#error(...ERRORS[cause], cause) : super.rejection(cause); }

  #error(status, code, message) {
    return text(status, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error><RequestId>${crypto.randomUUID()}</RequestId></ErrorResponse>`, 'text/xml');
  }

  respond(request) {
    const reject = (...error) => { throw new Rejection(this.#error(...error)); };
    this.#verify(request, reject);
    if (request.method !== 'POST' || request.path !== '/') reject(404, 'NotFound', 'no such resource');
    if (mediaType(request) !== 'application/x-www-form-urlencoded') reject(400, 'InvalidParameter', 'content type');
    let input;
    try { input = form(request.body); } catch { reject(400, 'InvalidParameter', 'form'); }
    if (input.Version !== '2010-03-31') reject(400, 'InvalidAction', 'version');
    if (input.Action === 'Publish') return this.#publish(input, reject);
    if (input.Action === 'GetSMSAttributes') return this.#result('GetSMSAttributes', '<attributes><entry><key>DefaultSMSType</key><value>Transactional</value></entry></attributes>');
    if (input.Action === 'GetSMSSandboxAccountStatus') return this.#result('GetSMSSandboxAccountStatus', `<IsInSandbox>${this.sandbox}</IsInSandbox>`);
    return reject(400, 'InvalidAction', `${input.Action} is not valid for this endpoint.`);
  }

  #result(action, xml) {
    return text(200, `<${action}Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><${action}Result>${xml}</${action}Result><ResponseMetadata><RequestId>${crypto.randomUUID()}</RequestId></ResponseMetadata></${action}Response>`, 'text/xml');
  }

  #publish(input, reject) {
    if (!/^\+[1-9]\d{6,14}$/.test(input.PhoneNumber ?? '')) reject(400, 'InvalidParameter', 'Invalid parameter: PhoneNumber');
    if (!input.Message) reject(400, 'InvalidParameter', 'Invalid parameter: Empty message');
    const attributes = attributesOf(input, reject);
    const sender = attributes['AWS.SNS.SMS.SenderID'];
    if (sender !== undefined && !/^(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}$/.test(sender)) reject(400, 'InvalidParameter', 'Invalid parameter: SenderID');
    const id = crypto.randomUUID();
    this.delivered.push({ to: input.PhoneNumber.slice(1), text: input.Message, sender: sender ?? attributes['AWS.MM.SMS.OriginationNumber'], id });
    return text(200, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>${id}</MessageId></PublishResult><ResponseMetadata><RequestId>${crypto.randomUUID()}</RequestId></ResponseMetadata></PublishResponse>`, 'text/xml');
  }

  /** AWS Signature Version 4, from its specification. */
  #verify(request, reject) {
    const { access_key_id: key, secret_access_key: secret } = this.credential;
    const authorization = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request,\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/.exec(request.headers.authorization ?? '');
    if (!authorization) reject(403, 'MissingAuthenticationToken', 'Request is missing Authentication Token');
    const [, id, day, region, service, names, signature] = authorization;
    if (id !== key) reject(403, 'InvalidClientTokenId', 'The security token included in the request is invalid.');
    if (region !== this.region || service !== this.service) reject(403, 'SignatureDoesNotMatch', 'Credential should be scoped to a valid region and service');
    const time = request.headers['x-amz-date'] ?? '';
    const at = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    if (!time.startsWith(day) || !(Math.abs(this.now() - at) < 300_000)) reject(403, 'SignatureDoesNotMatch', 'Signature expired');
    const signed = names.split(';');
    if (!signed.includes('host') || !signed.includes('x-amz-date')) reject(403, 'SignatureDoesNotMatch', "'Host' or 'X-Amz-Date' must be signed");
    const query = request.rawQuery.split('&').filter(Boolean).map((pair) => (pair.includes('=') ? pair : `${pair}=`)).sort().join('&');
    const headers = signed.map((name) => `${name}:${(request.headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`).join('');
    const canonical = [request.method, request.path, query, headers, names, sha256(request.body)].join('\n');
    const scope = `${day}/${region}/${service}/aws4_request`;
    const signing = [day, region, service, 'aws4_request'].reduce((key, data) => hmac(key, data), `AWS4${secret}`);
    const expected = hmac(signing, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex');
    if (signature !== expected) reject(403, 'SignatureDoesNotMatch', 'The request signature we calculated does not match the signature you provided.');
  }
}

function attributesOf(input, reject) {
  const attributes = {};
  for (let n = 1; ; n += 1) {
    const at = `MessageAttributes.entry.${n}`;
    const name = input[`${at}.Name`];
    if (name === undefined) return attributes;
    if (!['String', 'Number'].includes(input[`${at}.Value.DataType`])) reject(400, 'ParameterValueInvalid', 'DataType');
    if (!input[`${at}.Value.StringValue`]) reject(400, 'ParameterValueInvalid', 'StringValue');
    attributes[name] = input[`${at}.Value.StringValue`];
  }
}
