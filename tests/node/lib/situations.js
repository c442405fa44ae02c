// Eight situations of an operator, staged with real parts: the state of the sidecar when somebody looks.
import assert from 'node:assert/strict';
import { renameSync, readFileSync, writeFileSync } from 'node:fs';

import { cli, get } from './sidecar.js';
import { delivered, eventually, sendAs, stage } from './stage.js';

const times = async (count, work) => { for (let n = 0; n < count; n += 1) await work(n); };
const route = { duplicate_window: '0s', recipients: ['+998'] };

/** The status once `check` holds of it. */
export async function settled(proxy, check) {
  return eventually(async () => {
    const status = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
    return check(status) && status;
  }, 60_000);
}

const state = (name, word) => ({ providers }) => providers.find(({ provider }) => provider === name)?.state === word;
const failing = ({ vaults }) => vaults.every(({ entries }) => entries.length === 2 && entries.every(({ failing_since: since }) => since));

/** A hostile provider message: markup, and a script that would run if the page did not escape it. */
export const MARKUP = '<b>Blocked</b><script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">';

/** Each takes a test, sets a stage up, and returns {proxy, fakes, vault, …} once the situation has settled. */
export const SITUATIONS = {
  async fresh(t) {
    const made = await stage(t, { route });
    await settled(made.proxy, ({ providers }) => providers.every(({ credential_version: version }) => version === 1));
    return made;
  },

  async well(t) {
    const made = await stage(t, { services: ['playmobile', 'twilio', 'eskiz'], route });
    await times(9, async (n) => delivered(await sendAs(made.proxy, 'playmobile', { text: `Kod: ${n}` }), 'playmobile'));
    await settled(made.proxy, ({ requests }) => requests.length === 9);
    return made;
  },

  async rejected(t) {
    const made = await stage(t, { route });
    await times(3, async (n) => delivered(await sendAs(made.proxy, 'playmobile', { text: `Kod: ${n}` }), 'playmobile'));
    made.fakes.playmobile.rotate({ password: 'the-new-one' });
    await times(4, async (n) => delivered(await sendAs(made.proxy, 'playmobile', { text: `Kod: 1${n}` }), 'playmobile'));
    await settled(made.proxy, state('playmobile', 'quarantined'));
    return made;
  },

  async empty(t) {
    const made = await stage(t, { services: ['vonage', 'playmobile', 'twilio'], route });
    made.fakes.vonage.reject('balance-empty');
    await times(5, async (n) => delivered(await sendAs(made.proxy, 'vonage', { text: `Kod: ${n}` }), 'vonage'));
    await settled(made.proxy, state('vonage', 'quarantined'));
    return made;
  },

  async throttled(t) {
    const made = await stage(t, { route });
    made.fakes.playmobile.status(429, { headers: { 'retry-after': '600' } });
    await times(3, async (n) => delivered(await sendAs(made.proxy, 'playmobile', { text: `Kod: ${n}` }), 'playmobile'));
    await settled(made.proxy, state('playmobile', 'cooldown'));
    return made;
  },

  async paused(t) {
    const made = await stage(t, { route });
    cli('pause', 'twilio', '--config', made.proxy.file);
    delivered(await sendAs(made.proxy, 'playmobile'), 'playmobile');
    await settled(made.proxy, state('twilio', 'paused'));
    return made;
  },

  async stuck(t) {
    const made = await stage(t, { route });
    made.fakes.playmobile.status(400, { times: 9, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ 'error-code': 102, 'error-description': MARKUP }) });
    made.fakes.twilio.reject('account-suspended');
    await times(2, async (n) => assert.equal((await sendAs(made.proxy, 'playmobile', { text: `Kod: ${n}` })).status, 503));
    await settled(made.proxy, ({ routes }) => routes.every(({ can_deliver: able }) => !able));
    return made;
  },

  async dark(t) {
    const made = await stage(t, { services: ['playmobile', 'twilio'], route, providers: { twilio: { credential: { vault: 'local', path: 'nowhere' } } } });
    delivered(await sendAs(made.proxy, 'playmobile'), 'playmobile');
    renameSync(made.vault.path, `${made.vault.path}-gone`);
    await settled(made.proxy, failing);
    writeFileSync(made.proxy.file, readFileSync(made.proxy.file, 'utf8').replace('"dialect"', '"dialekt"'));
    made.proxy.reload();
    await settled(made.proxy, ({ config }) => config.last_reload?.result === 'failed');
    return made;
  },
};
