// Every fake, with invented credentials.
import { AwsSns } from './aws-sns.js';
import { Eskiz } from './eskiz.js';
import { Infobip } from './infobip.js';
import { Playmobile } from './playmobile.js';
import { Sayqal } from './sayqal.js';
import { Smsc } from './smsc.js';
import { Twilio } from './twilio.js';
import { Vonage } from './vonage.js';

export const SERVICES = {
  'aws-sns': [AwsSns, { access_key_id: 'AKIAIOSFODNN7EXAMPLE', secret_access_key: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }],
  eskiz: [Eskiz, { email: 'ops@example.uz', password: 'eskiz-canary-Password1' }],
  infobip: [Infobip, { api_key: '0123456789abcdef0123456789abcdef-01234567-89ab-cdef-0123-456789abcdef' }],
  playmobile: [Playmobile, { username: 'oneport', password: 'playmobile-canary-Passw0rd' }],
  sayqal: [Sayqal, { username: 'partner', secret: 'sayqal-canary-secret' }],
  smsc: [Smsc, { username: 'oneport', password: 'smsc-canary-passw0rd' }],
  twilio: [Twilio, { account_sid: 'AC0123456789abcdef0123456789abcdef', auth_token: 'fedcba9876543210fedcba9876543210' }],
  vonage: [Vonage, { api_key: 'abcd1234', api_secret: 'VonageCanary1234' }],
};

/** A listening fake of `service`. */
export async function fake(service, options = {}) {
  const [Kind, credential] = SERVICES[service];
  return new Kind({ credential, ...options }).listen();
}
