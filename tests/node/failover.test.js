// The code arrives through another provider, in that provider's API, and the backend reads its own dialect.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { call } from './lib/sidecar.js';
import { MESSAGES, TEXT, TO, delivered, sendAs, stage } from './lib/stage.js';

const SERVICES = Object.keys(MESSAGES);
const first = 'playmobile';
const experimental = true;

describe('sent to one service, delivered by another', () => {
  for (const spoken of SERVICES) {
    const carriers = spoken === first ? SERVICES.filter((each) => each !== first) : [first, 'twilio'].filter((each) => each !== spoken);
    for (const carrier of carriers) {
      test(`${spoken} → ${carrier}: the text is byte-equal, the recipient in the provider's form, the answer in ${spoken}'s`, async (t) => {
        const { proxy, fakes } = await stage(t, { services: [spoken, carrier] });
        const fault = spoken === 'sayqal' ? 'credential-rejected' : spoken === 'playmobile' ? 'account-suspended' : 'credential-rejected';
        fakes[spoken].reject(fault);
        const reply = await sendAs(proxy, spoken);
        delivered(reply, spoken);
        assert.equal(fakes[carrier].delivered.length, 1);
        assert.equal(fakes[carrier].delivered[0].text, TEXT);
        assert.equal(fakes[carrier].delivered[0].to.replace('+', ''), TO);
        assert.equal(fakes[spoken].delivered.length, 0);
        assert.equal(reply.headers['x-sms-sidecar-provider'], carrier);
      });
    }
  }
});

describe('native', () => {
  for (const spoken of SERVICES) {
    test(`${spoken}: the backend's own request, with our credential in it`, async (t) => {
      const { proxy, fakes } = await stage(t, { services: [spoken], provider: { sender: null } });
      delivered(await sendAs(proxy, spoken), spoken);
      assert.equal(fakes[spoken].delivered.length, 1);
      assert.equal(fakes[spoken].delivered[0].text, TEXT);
    });
  }
});

test('smsc reports an empty balance inside a 200; Twilio delivers; the backend reads Playmobile\'s reply', async (t) => {
  const { proxy, fakes: { playmobile, smsc, twilio } } = await stage(t, { services: ['playmobile', 'smsc', 'twilio'] });
  playmobile.reject('account-suspended');
  smsc.reject('balance-empty');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(twilio.delivered[0].text, TEXT);
  assert.equal(await proxy.metric('attempts_total', { provider: 'playmobile', cause: 'account-suspended' }), 1);
  assert.equal(await proxy.metric('attempts_total', { provider: 'smsc', cause: 'balance-empty' }), 1);
  assert.equal(await proxy.metric('upstream_responses_total', { provider: 'smsc', status: '200' }), 1);
});

test('eskiz gets its approved text from a template, or is skipped', async (t) => {
  const templates = { login: { text: '1port: kod {code}', texts: { eskiz: '1port ilovasiga kirish kodi: {code}' } } };
  const { proxy, fakes: { playmobile, eskiz, twilio } } = await stage(t, { services: ['playmobile', 'eskiz', 'twilio'], providers: { eskiz: { templates: 'only' } }, config: { templates } });
  eskiz.approved = [/^1port ilovasiga kirish kodi: \d{4,8}$/];
  playmobile.reject('account-suspended');
  delivered(await sendAs(proxy, 'playmobile', { text: '1port: kod 123456' }), 'playmobile');
  assert.equal(eskiz.delivered[0].text, '1port ilovasiga kirish kodi: 123456');
  delivered(await sendAs(proxy, 'playmobile', { text: 'A text that is not approved' }), 'playmobile');
  assert.equal(twilio.delivered[0].text, 'A text that is not approved');
  assert.equal(eskiz.delivered.length, 1);
});

describe('an SNS backend as public code has it', () => {
  const attributes = (...list) => Object.fromEntries(list.flatMap(([name, type, value], at) => [
    [`MessageAttributes.entry.${at + 1}.Name`, name],
    [`MessageAttributes.entry.${at + 1}.Value.DataType`, type],
    [`MessageAttributes.entry.${at + 1}.Value.StringValue`, value],
  ]));
  const publish = attributes(['AWS.SNS.SMS.SMSType', 'String', 'Transactional'], ['AWS.SNS.SMS.SenderID', 'String', 'Backend'], ['AWS.SNS.SMS.MaxPrice', 'Number', '0.50']);
  const post = (proxy, fields, path = '/aws-sns') => {
    const [, request] = MESSAGES['aws-sns']();
    const body = new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(request.body)), ...fields }).toString();
    return call(`${proxy.url}${path}`, { ...request, body });
  };

  test('the attributes may be in any order: natively with the account\'s sender, and through a backup', async (t) => {
    const { proxy, fakes } = await stage(t, { services: ['aws-sns', 'twilio'] });
    delivered(await post(proxy, publish), 'aws-sns');
    assert.equal(fakes['aws-sns'].delivered[0].sender, '1port');
    const sent = new URLSearchParams(fakes['aws-sns'].received[0].body.toString());
    assert.equal(sent.get('MessageAttributes.entry.1.Value.StringValue'), 'Transactional');
    fakes['aws-sns'].reject('permission-denied');
    delivered(await post(proxy, { ...publish, Message: 'Code 2' }, '/aws-sns/'), 'aws-sns');
    assert.equal(fakes.twilio.delivered[0].text, 'Code 2');
  });

  test('SetSMSAttributes succeeds, and the account never sees it', async (t) => {
    const { proxy, fakes } = await stage(t, { services: ['aws-sns'] });
    const reply = await post(proxy, { Action: 'SetSMSAttributes', 'attributes.entry.1.key': 'DefaultSMSType', 'attributes.entry.1.value': 'Transactional' });
    assert.equal(reply.status, 200, reply.body);
    assert.match(reply.body, /^<SetSMSAttributesResponse .*<RequestId>/);
    assert.equal(fakes['aws-sns'].received.length, 0);
    assert.equal(await proxy.metric('requests_total', { operation: 'local', result: 'answered-locally' }), 1);
  });
});

describe('a lost reply', () => {
  test('on_unknown = "failover": the code may arrive twice, and a possible duplicate is counted', async (t) => {
    const { proxy, fakes: { playmobile, twilio } } = await stage(t, { route: { on_unknown: 'failover' } });
    playmobile.loseReply();
    delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
    assert.deepEqual([playmobile.delivered.length, twilio.delivered.length], [1, 1]);
    assert.equal(await proxy.metric('possible_duplicates_total'), 1);
  });

  test('on_unknown = "stop": 504, no other provider is tried', async (t) => {
    const { proxy, fakes: { playmobile, twilio } } = await stage(t, { route: { on_unknown: 'stop' } });
    playmobile.loseReply();
    const reply = await sendAs(proxy, 'playmobile');
    assert.equal(reply.status, 504, reply.body);
    assert.deepEqual([playmobile.delivered.length, twilio.delivered.length], [1, 0]);
    assert.equal(await proxy.metric('requests_total', { result: 'in-doubt' }), 1);
  });

  test('the result is in-doubt even if others rejected afterwards', async (t) => {
    const { proxy, fakes: { playmobile, twilio } } = await stage(t);
    playmobile.loseReply();
    twilio.reject('credential-rejected');
    assert.equal((await sendAs(proxy, 'playmobile')).status, 504);
  });

  test('Playmobile\'s code 100 under HTTP 400 is in doubt, not a rejection', async (t) => {
    const { proxy, fakes: { playmobile, twilio } } = await stage(t, { route: { on_unknown: 'stop' } });
    playmobile.reject('provider-fault', 1);
    assert.equal((await sendAs(proxy, 'playmobile')).status, 504);
    assert.equal(twilio.received.length, 0);
  });
});

describe('every provider rejects', () => {
  for (const spoken of SERVICES) {
    test(`${spoken}: 503 with Retry-After in its own shape, never the provider's 401`, async (t) => {
      const { proxy, fakes } = await stage(t, { services: [spoken] });
      fakes[spoken].reject('credential-rejected');
      const reply = await sendAs(proxy, spoken);
      assert.equal(reply.status, 503, reply.body);
      assert.ok(Number(reply.headers['retry-after']) >= 1);
      assert.equal(reply.headers['x-sms-sidecar-cause'], 'credential-rejected');
      if (spoken === 'aws-sns') assert.match(reply.body, /^<ErrorResponse/);
      else assert.equal(typeof JSON.parse(reply.body), 'object');
      assert.doesNotMatch(reply.body, /canary/i);
    });
  }
});

test('a fault of the message is reported in the backend\'s dialect after a second provider agrees', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  playmobile.reject('recipient-invalid');
  twilio.reject('recipient-invalid');
  const reply = await sendAs(proxy, 'playmobile');
  assert.equal(reply.status, 400);
  assert.equal(Number(JSON.parse(reply.body)['error-code']), 202);
  assert.deepEqual([playmobile.received.length, twilio.received.length], [1, 1]);
  assert.equal(await proxy.metric('requests_total', { result: 'message-rejected' }), 1);
});

test('an opt-out is not circumvented', async (t) => {
  const { proxy, fakes: { twilio, playmobile } } = await stage(t, { services: ['twilio', 'playmobile'] });
  twilio.reject('recipient-blocked');
  const reply = await sendAs(proxy, 'twilio');
  assert.deepEqual([reply.status, JSON.parse(reply.body).code], [400, 21610]);
  assert.equal(playmobile.received.length, 0);
});

test('a throttled provider goes into cooldown; the message fails over', async (t) => {
  const { proxy, fakes: { playmobile, twilio } } = await stage(t);
  playmobile.reject('throttled', 1);
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(twilio.delivered.length, 1);
  assert.equal(await proxy.metric('provider_state', { provider: 'playmobile', state: 'cooldown' }), 1);
});

test('the same message within the duplicate window is sent once', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  const release = playmobile.hold();
  const both = [sendAs(proxy, 'playmobile'), sendAs(proxy, 'playmobile')];
  await playmobile.seen(1);
  release();
  for (const reply of await Promise.all(both)) delivered(reply, 'playmobile');
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  assert.equal(playmobile.delivered.length, 1);
  assert.equal(await proxy.metric('duplicates_suppressed_total'), 2);
});
