// What ops look at: the page in a real Chromium in eight situations, its JSON, and `status` on a terminal.
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { DESK, PHONE, WIDE, closeBrowser, open, shot } from './lib/browser.js';
import { call, cli, freePort, get } from './lib/sidecar.js';
import { MARKUP, SITUATIONS, settled } from './lib/situations.js';
import { TEXT, delivered, eventually, sendAs, stage } from './lib/stage.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const FLOOD = fileURLToPath(new URL('lib/flood.js', import.meta.url));
after(closeBrowser);

/** What each situation must show: the headline, the words on the page, the exit code of the command. */
const SHOWN = {
  fresh: { title: /^Ready; no message has come yet\./, able: 'idle', code: 0, page: [/No request has arrived yet/, /version 1/, /nothing was sent/] },
  well: { title: /^Yes, codes arrive\./, able: 'delivering', code: 0, page: [/all 9 messages were accepted/, /Last hour: 9 accepted/, /\+998\*{5}67/, /can deliver/] },
  rejected: {
    title: /^Yes, by a backup: playmobile is out\./, able: 'on-backup', code: 0,
    page: [/quarantined/, /credential-rejected/, /ambiguous|likely|certain/, /To do\s+somebody changed or revoked username and password/, /The send was answered 401/, /On a backup since/, /can deliver by twilio/],
  },
  empty: { title: /^Yes, by a backup: vonage is out\./, able: 'on-backup', code: 0, page: [/balance-empty/, /To do\s+top up the/, /sms-sidecar resume vonage/] },
  throttled: { title: /^Yes, by a backup: playmobile is out\./, able: 'on-backup', code: 0, page: [/in cooldown until \d\d:\d\d:\d\d UTC/, /throttled/, /recovers by itself/] },
  paused: { title: /^Yes, but twilio is out\./, able: 'on-backup', code: 0, page: [/paused by [^(]*\(?uid \d+\)? at/, /sms-sidecar resume twilio/] },
  stuck: { title: /^No: route all cannot deliver\./, able: 'unavailable', code: 1, page: [/CANNOT deliver: all its providers are out/, /account-suspended/, /<b>Blocked<\/b><script>/, /not-sent/] },
  dark: {
    title: /^Yes, but twilio is out\./, able: 'on-backup', code: 0,
    page: [/not usable: its credential was never read/, /Vault local cannot be read since/, /stays in use/, /The reload of \d\d:\d\d:\d\d UTC \(.+?\) failed/, /unknown key `dialekt`/],
  },
};

test('eight situations are staged', () => assert.deepEqual(Object.keys(SHOWN), Object.keys(SITUATIONS)));

for (const [name, shown] of Object.entries(SHOWN)) {
  test(`the page in a browser: ${name}`, async (t) => {
    const { proxy } = await SITUATIONS[name](t);
    for (const [look, options] of Object.entries({
      'desk-light': { viewport: DESK }, 'wide-light': { viewport: WIDE }, 'wide-dark': { viewport: WIDE, colour: 'dark' },
      'phone-light': { viewport: PHONE }, 'phone-dark-no-script': { viewport: PHONE, colour: 'dark', script: false },
    })) {
      const page = await open(t, proxy.admin, options);
      if (options.script !== false) await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
      await shot(page, `${name}-${look}`);
      assert.match(await page.title(), shown.title, look);
      const text = await page.locator('body').innerText();
      for (const part of shown.page) assert.match(text, part, look);
      assert.doesNotMatch(text, /901234567|Kod:|canary/i, 'no number, no text, no secret');
      if (options.script !== false) await accessible(page, look);
      const { scrollWidth, clientWidth } = await widths(page);
      assert.ok(scrollWidth <= clientWidth, `${look}: ${scrollWidth} wide in ${clientWidth}`);
      assert.deepEqual(page.complaints, [], `${look}: nothing violates the policy, nothing breaks`);
      for (const url of page.requested) assert.ok(url.startsWith(`${proxy.admin}/`), `${look}: requested ${url}`);
      assert.deepEqual(await page.context().cookies(), []);
    }
    sameEverywhere(proxy, shown, JSON.parse((await get(`${proxy.admin}/status.json`)).body));
  });
}

/** Page, JSON and terminal agree. */
function sameEverywhere(proxy, shown, json) {
  const printed = cli('status', '--control', proxy.listen.control, '--json', { expectCode: shown.code });
  const again = JSON.parse(printed.stdout);
  const facts = ({ headline: { deliverability: able, summary }, routes, providers, requests, vaults }) => ({
    able, summary, routes: routes.map(({ route, can_deliver: can, summary: words }) => [route, can, words]),
    providers: providers.map(({ provider, state, summary: words, cause, certainty, evidence, remedy, since }) => [provider, state, words, cause, certainty, evidence, remedy, since]),
    requests: requests.map(({ id }) => id), vaults: vaults.map(({ vault, entries }) => [vault, entries.map(({ path, problem }) => [path, problem])]),
  });
  assert.deepEqual(facts(again), facts(json));
  assert.equal(json.headline.deliverability, shown.able);
  const { stdout } = cli('status', '--control', proxy.listen.control, '--requests', '50', { expectCode: shown.code });
  // eslint-disable-next-line no-control-regex
  assert.doesNotMatch(stdout, /\u001b/, 'colours on a terminal only');
  for (const words of [json.headline.summary, ...json.routes.map(({ summary }) => summary), ...json.providers.flatMap(({ summary, cause, evidence, steps }) => [summary, cause, evidence, ...steps.map(({ text }) => text)])]) {
    if (words) assert.ok(stdout.includes(words), `${words} in ${stdout}`);
  }
  const lines = stdout.split('\n').map((line) => line.trim());
  for (const { command } of json.providers.flatMap(({ steps }) => steps)) if (command) assert.ok(lines.includes(command), `${command} alone on a line in ${stdout}`);
  assert.equal(stdout.split('\n').filter((line) => /^ {2}\d\d:\d\d:\d\d UTC/.test(line)).length, json.requests.length);
}

function widths(page) {
  return page.locator('html').evaluate(({ scrollWidth, clientWidth }) => ({ scrollWidth, clientWidth }));
}

/** Axe's rules for WCAG 2.2 AA, run without loosening the page's own policy. */
async function accessible(page, look) {
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`), [], look);
}

test('a reply with markup in it stays text: on the page, in the JSON, after an update by script', async (t) => {
  const { proxy } = await SITUATIONS.stuck(t);
  const page = await open(t, proxy.admin);
  await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
  assert.doesNotMatch(await page.title(), /owned/);
  assert.equal(await page.locator('main img, main script, main b').count(), 0);
  assert.ok((await page.locator('main').innerText()).includes(MARKUP.slice(0, 40)), 'it is shown as it came');
  const json = await get(`${proxy.admin}/status.json`);
  assert.equal(json.headers['content-type'], 'application/json');
  assert.ok(JSON.parse(json.body).providers.some(({ evidence }) => evidence.includes('<script>')));
});

test('the console in a remedy is a link without referrer; an address in a reply is not a link', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  const lure = 'see the playmobile console (https://evil.example/login) or https://evil.example';
  playmobile.status(400, { times: 10, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ 'error-code': 102, 'error-description': lure }) });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  for (const script of [true, false]) {
    const page = await open(t, proxy.admin, { script });
    if (script) await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
    const links = page.locator('main a[href^=http]');
    assert.deepEqual(await links.evaluateAll((all) => all.map((a) => [a.getAttribute('href'), a.rel, a.textContent, a.closest('div').className])), [
      ['https://cabinet.smsxabar.uz', 'noopener noreferrer', 'https://cabinet.smsxabar.uz', 'remedy'],
    ]);
    assert.match(await page.locator('.evidence').innerText(), /see the playmobile console \(https:\/\/evil\.example\/login\)/);
    assert.deepEqual(page.complaints, []);
    for (const url of page.requested) assert.ok(url.startsWith(`${proxy.admin}/`), `requested ${url}`);
    if (!script) continue;
    await accessible(page, 'with a link');
    await links.first().focus();
    assert.notEqual(await links.first().evaluate((a) => getComputedStyle(a).outlineStyle), 'none', 'its focus shows');
  }
  const page = await open(t, proxy.admin);
  const requested = [];
  await page.route('https://cabinet.smsxabar.uz/**', (route) => { requested.push(route.request().headers()); return route.fulfill({ contentType: 'text/html', body: '<p>cabinet</p>' }); });
  await page.locator('main a[href^=http]').click();
  await page.waitForURL('https://cabinet.smsxabar.uz/');
  assert.deepEqual(requested.map(({ referer }) => referer), [undefined]);
});

test('an open page updates, keeps the focus, announces changes politely, and shows when it is out of date', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t, { route: { duplicate_window: '0s' } });
  const page = await open(t, proxy.admin);
  await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
  assert.match(await page.locator('h1').innerText(), /Ready/);
  const live = page.locator('[aria-live=polite]');
  assert.equal(await live.locator('h1').count(), 1);
  await page.locator('footer a').first().focus();
  await page.evaluate(() => { document.querySelector('h1').dataset.kept = 'yes'; });
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  await page.waitForFunction(() => /playmobile is out/.test(document.querySelector('h1').textContent), null, { timeout: 20_000 });
  assert.match(await page.locator('main').innerText(), /credential-rejected/);
  assert.match(await page.title(), /playmobile is out/);
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'status.json', 'the focus stays');
  await proxy.stop();
  await page.waitForFunction(() => /No answer/.test(document.getElementById('fresh').textContent), null, { timeout: 30_000 });
  assert.equal(await page.locator('body.stale').count(), 1);
  assert.match(await page.locator('.fresh').first().innerText(), /what you see is old, as of \d\d:\d\d:\d\d UTC/);
});

test('head, title, JSON and terminal name the host and the instance', async (t) => {
  const named = `otp on ${hostname()}`;
  const { proxy } = await stage(t, { config: { instance: 'otp' } });
  const page = await open(t, proxy.admin, { script: false });
  assert.equal(await page.title(), `Ready; no message has come yet. · ${named} · sms-sidecar`);
  assert.equal(await page.locator('.name').innerText(), `sms-sidecar ${named}`);
  const { host, instance } = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
  assert.deepEqual([host, instance], [hostname(), 'otp']);
  assert.ok(cli('status', '--config', proxy.file).stdout.includes(`\n  ${named}, `));
  const { proxy: unnamed } = await stage(t);
  await page.goto(unnamed.admin);
  assert.equal(await page.locator('.name').innerText(), `sms-sidecar ${hostname()}`);
});

test('times are in UTC and by their distance; the script adds the time of the reader', async (t) => {
  const { proxy } = await SITUATIONS.throttled(t);
  const retry = (page) => page.locator('.provider .state strong').first().innerText();
  const plain = await open(t, proxy.admin, { script: false, zone: 'Asia/Tashkent' });
  assert.match(await retry(plain), /^in cooldown until \d\d:\d\d:\d\d UTC \(in \d+ min\)$/);
  assert.doesNotMatch(await plain.locator('body').innerText(), /\d local/);
  const page = await open(t, proxy.admin, { zone: 'Asia/Tashkent' });
  await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
  const [, hour, rest, local] = /until (\d\d):(\d\d:\d\d) UTC \((.+) local, in \d+ min\)$/.exec(await retry(page));
  assert.ok(local.endsWith(`${String((Number(hour) + 5) % 24).padStart(2, '0')}:${rest}`), local);
  for (const [at, shown] of await page.locator('main time').evaluateAll((all) => all.map((time) => [time.dateTime, time.innerText]))) {
    assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.match(shown, /^(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC\s\((?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d local, (?:just now|in .+|.+ ago)\)$/);
  }
  assert.match(await page.locator('footer').innerText(), /All times are UTC; local is Asia\/Tashkent\./);
  assert.match(cli('status', '--config', proxy.file).stdout, /in cooldown until \d\d:\d\d:\d\d UTC \(in \d+ min\) since \d\d:\d\d:\d\d UTC \((?:just now|\d+ s ago)\)/);
  assert.deepEqual(page.complaints, []);
});

test('by keyboard: a skip link, every stop visible, in the order of the page', async (t) => {
  const { proxy } = await SITUATIONS.dark(t);
  const page = await open(t, proxy.admin);
  const stops = [];
  for (let n = 0; n < 12; n += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(() => {
      const at = document.activeElement;
      if (at === document.body) return undefined;
      const { width, height, top } = at.getBoundingClientRect();
      const { outlineStyle, outlineWidth } = getComputedStyle(at);
      return { name: at.getAttribute('aria-label') ?? at.textContent, top: top + scrollY, seen: width > 1 && height > 1 && outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
    });
    if (!stop) break;
    stops.push(stop);
  }
  assert.deepEqual(stops.map(({ name }) => name), ['Skip to the answer', 'What the reload said', 'status.json', 'runbook', 'metrics', 'ready', 'live']);
  for (const { name, seen } of stops) assert.ok(seen, `${name} shows no focus`);
  assert.deepEqual(stops.map(({ top }) => top), stops.map(({ top }) => top).sort((a, b) => a - b));
  await page.locator('.skip').focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
});

test('for a screen reader: landmarks, one h1, no skipped level, a table with caption and scopes', async (t) => {
  const { proxy } = await SITUATIONS.rejected(t);
  for (const viewport of [WIDE, PHONE]) {
    const page = await open(t, proxy.admin, { viewport });
    for (const role of ['banner', 'main', 'contentinfo', 'navigation']) assert.equal(await page.getByRole(role).count(), 1, role);
    const levels = await page.locator('h1, h2, h3, h4').evaluateAll((all) => all.map(({ tagName }) => Number(tagName[1])));
    assert.equal(levels.filter((level) => level === 1).length, 1);
    levels.reduce((before, level) => { assert.ok(level <= before + 1, `${levels}`); return level; }, 0);
    const table = page.getByRole('table');
    assert.match(await table.locator('caption').innerText(), /numbers masked/);
    assert.equal(await table.getByRole('columnheader').count(), 5);
    assert.equal(await table.getByRole('rowheader').count(), 7);
    assert.equal(await page.locator('th:not([scope])').count(), 0);
    assert.equal(await page.locator('figure figcaption').count(), 2);
    assert.equal(await page.locator('svg:not([aria-hidden=true])').count(), 0, 'what is drawn is also in words beside it');
    assert.equal(await page.locator('html[lang=en]').count(), 1);
  }
});

test('with two providers the last requests are seen without scrolling at 1280×800', async (t) => {
  const { proxy } = await SITUATIONS.rejected(t);
  const page = await open(t, proxy.admin, { viewport: DESK });
  for (const what of ['h1', '#routes', '#requests', 'tbody tr:nth-child(4)', '.provider:first-of-type .state']) {
    const { y, height } = await page.locator(what).first().boundingBox();
    assert.ok(y >= 0 && y + height <= DESK.height, `${what} ends at ${y + height}`);
  }
});

test('each cause leads to its heading in the runbook of this build; alternatives are numbered', async (t) => {
  const { proxy } = await SITUATIONS.rejected(t);
  const json = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
  const [{ cause, alternatives }] = json.providers;
  assert.ok(alternatives.length > 1, `${alternatives}`);
  for (const script of [true, false]) {
    const page = await open(t, proxy.admin, { script });
    assert.equal(await page.locator('.candidates').evaluate((list) => getComputedStyle(list).listStyleType), 'decimal');
    assert.deepEqual(await page.locator('ol.candidates a').allInnerTexts(), [cause, ...alternatives]);
    const links = await page.locator('main a.cause-link').evaluateAll((all) => all.map((a) => [a.getAttribute('href'), a.textContent]));
    assert.ok(links.length >= alternatives.length + 4, 'card, list, request and attempt');
    for (const [href, name] of links) assert.equal(href, `/runbook#${name}`);
    await page.locator('main a.cause-link').first().click();
    await page.waitForURL(`${proxy.admin}/runbook#${cause}`);
    const { y } = await page.locator(`h2#${cause}`).boundingBox();
    assert.ok(y >= 0 && y < 300, `the heading is at ${y}`);
    assert.match(await page.locator('main').innerText(), /What to do\./);
    if (script) await accessible(page, 'runbook');
    await shot(page, `runbook-${script ? 'wide' : 'no-script'}`);
    const { scrollWidth, clientWidth } = await widths(page);
    assert.ok(scrollWidth <= clientWidth, `${scrollWidth} wide in ${clientWidth}`);
    assert.deepEqual(page.complaints, []);
  }
});

test('a remedy is numbered steps; its command is copied by a button, and without script selected by a click', async (t) => {
  const { proxy } = await SITUATIONS.empty(t);
  const { providers: [{ steps }] } = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
  const { command } = steps.find((step) => step.command);
  assert.match(command, /^sms-sidecar resume vonage/);
  const page = await open(t, proxy.admin);
  await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
  assert.equal(await page.locator('.remedy ol.steps > li').count(), steps.length);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const button = page.getByRole('button', { name: 'Copy the command' });
  await button.focus();
  assert.notEqual(await button.evaluate((it) => getComputedStyle(it).outlineStyle), 'none', 'its focus shows');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.getElementById('copied').textContent === 'Copied.');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
  await page.waitForFunction(() => document.querySelector('.command button').textContent === 'Copy the command');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Copy the command', 'an update keeps the focus');
  await accessible(page, 'with a button');
  await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('closed')); });
  await page.evaluate(() => { document.getElementById('copied').textContent = ''; });
  await button.click();
  await page.waitForFunction(() => document.getElementById('copied').textContent === 'Copied.');
  assert.equal(await page.evaluate(() => String(getSelection())), command, 'by the selection');
  assert.deepEqual(page.complaints, []);
  const plain = await open(t, proxy.admin, { script: false });
  assert.equal(await plain.getByRole('button').count(), 0);
  assert.equal(await plain.locator('.command code').evaluate((code) => getComputedStyle(code).userSelect), 'all');
  assert.equal(await plain.locator('.command code').innerText(), command);
});

test('a provider shows when it last accepted, its rate and its latency: on page, in JSON and on a terminal', async (t) => {
  const { proxy } = await SITUATIONS.well(t);
  const json = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
  const { last_accepted_at: last, recent } = json.providers.find(({ provider }) => provider === 'playmobile');
  assert.equal(last, json.requests[0].at);
  assert.deepEqual([recent.accepted, recent.sent, recent.per_minute], [9, 9, 9]);
  assert.ok(Number.isInteger(recent.p95_ms), JSON.stringify(recent));
  const page = await open(t, proxy.admin, { script: false });
  const facts = await page.locator('.provider').filter({ hasText: 'playmobile' }).locator('.facts').innerText();
  assert.match(facts, /Last accepted\s+\d\d:\d\d:\d\d UTC \(.+\)\s+Last 15 min\s+9 of 9 accepted, 9 per minute, p95 \d+ ms/);
  assert.match(await page.locator('figcaption').first().innerText(), /^Last hour: 9 accepted; at most \d in a minute$/);
  assert.match(await page.locator('.axis').first().innerText(), /^1 h ago\s+45 min\s+30 min\s+15 min\s+now$/);
  assert.match(cli('status', '--config', proxy.file).stdout, /\n {6}recent {6}last accepted \d\d:\d\d:\d\d UTC \(.+\); in 15 min 9 of 9 accepted, 9 per minute, p95 \d+ ms\n/);
});

test('a state is shown by shape and word, not by colour alone', async (t) => {
  const { proxy } = await SITUATIONS.rejected(t);
  const page = await open(t, proxy.admin);
  const signs = await page.locator('.provider header .sign').evaluateAll((all) => all.map((svg) => svg.firstElementChild.outerHTML));
  assert.equal(new Set(signs).size, 2, `${signs}`);
  assert.deepEqual(await page.locator('.provider .state strong').allInnerTexts().then((all) => all.map((text) => text.split(';')[0])), ['quarantined', 'in use']);
  assert.deepEqual(await page.locator('.order').innerText().then((text) => text.replace(/\s+/g, ' ').trim()), 'In this order: playmobile (out) → twilio (in use)');
});

test('the cause of the first 401 is on the page when its request is answered', async (t) => {
  const { proxy, fakes: { playmobile } } = await stage(t);
  playmobile.rotate({ password: 'the-new-one' });
  delivered(await sendAs(proxy, 'playmobile'), 'playmobile');
  const { providers: [first], requests: [call] } = JSON.parse((await get(`${proxy.admin}/status.json`)).body);
  assert.equal(first.cause, 'credential-rejected');
  assert.match(first.remedy, /local:playmobile/);
  assert.ok(first.since <= call.at, `${first.since} is after the answer at ${call.at}`);
});

test('the page shows what events report: balance, token, entrypoints, credential versions', async (t) => {
  const { proxy, vault } = await stage(t, { services: ['eskiz'], route: { duplicate_window: '0s' } });
  delivered(await sendAs(proxy, 'eskiz'), 'eskiz');
  vault.put('eskiz', { password: 'another-one' });
  const status = await settled(proxy, ({ providers }) => providers[0].credential_version === 2);
  const [eskiz] = status.providers;
  assert.ok(eskiz.credential_age_seconds < 60);
  assert.equal(eskiz.hour.accepted.at(-1) + eskiz.hour.accepted.at(-2), 1);
  assert.equal(eskiz.credential, 'local:eskiz');
  assert.deepEqual(status.entrypoints.map(({ entrypoint, requests }) => [entrypoint, requests]), [['base-url', 1]]);
  assert.match(status.build.commit, /^[0-9a-f]{12}$/);
  assert.deepEqual([status.config.mode, status.config.file], ['act', proxy.file]);
});

test('`status` exits with 0, 1 or 2, and its help documents that', async (t) => {
  const { at, proxy } = await stage(t);
  assert.match(cli('status', '--help').stdout, /0 every route can deliver; 1 one cannot, or none; 2 no sidecar answered/);
  cli('status', '--config', proxy.file);
  cli('pause', 'playmobile', '--config', proxy.file);
  cli('status', '--config', proxy.file);
  cli('pause', 'twilio', '--config', proxy.file);
  assert.match(cli('status', '--config', proxy.file, { expectCode: 1 }).stdout, /^✕ No: route all cannot deliver\./);
  cli('resume', 'twilio', '--config', proxy.file);
  cli('status', '--config', proxy.file, { expectCode: 0 });
  const none = cli('status', '--control', `${at}/nowhere.sock`, { expectCode: 2 });
  assert.match(none.stderr, /no sidecar answers at .*nowhere\.sock/);
});

test('the metrics address has no page and accepts any host name; the admin address accepts localhost and IP addresses', async (t) => {
  const metrics = `127.0.0.1:${await freePort()}`;
  const { proxy } = await stage(t, { config: { listen: { metrics } } });
  for (const path of ['/', '/status.json', '/status.js']) assert.equal((await get(`http://${metrics}${path}`)).status, 404, path);
  assert.equal((await get(`http://${metrics}/metrics`, { headers: { host: 'sidecar.internal' } })).status, 200);
  for (const path of ['/', '/status.json', '/metrics']) {
    assert.equal((await get(`${proxy.admin}${path}`, { headers: { host: 'rebound.example' } })).status, 421, path);
    assert.equal((await get(`${proxy.admin}${path}`, { headers: { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' } })).status, 403, path);
    assert.equal((await get(`${proxy.admin}${path}`, { headers: { origin: 'http://evil.example' } })).status, 403, path);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) assert.equal((await call(`${proxy.admin}${path}`, { method })).status, 405, `${method} ${path}`);
  }
  const port = proxy.admin.split(':').at(-1);
  assert.equal((await get(`${proxy.admin}/`, { headers: { host: `localhost:${port}` } })).status, 200);
});

test('another site in the same browser can read nothing, embed nothing, and only link', async (t) => {
  const { proxy } = await stage(t);
  const other = `http://127.0.0.1:${await freePort()}`;
  const page = await open(t, proxy.admin);
  await page.route(`${other}/**`, (route) => route.fulfill({ contentType: 'text/html', body: `<a id="go" href="${proxy.admin}/">status</a><iframe src="${proxy.admin}/"></iframe>` }));
  await page.goto(`${other}/`);
  const read = await page.evaluate((url) => fetch(url).then((answer) => answer.text(), (error) => String(error)), `${proxy.admin}/status.json`);
  assert.match(read, /Failed to fetch/);
  assert.doesNotMatch(await page.frames()[1].content(), /Do codes arrive/);
  await page.locator('#go').click();
  await page.waitForURL(`${proxy.admin}/`);
  assert.match(await page.locator('body').innerText(), /Do codes arrive/);
});

test('bad admin requests (malformed, huge, slow, many) disturb no request', async (t) => {
  const patient = { provider: { timeout: '30s' }, route: { duplicate_window: '0s', deadline: '60s' } };
  const { proxy, fakes: { playmobile, twilio } } = await stage(t, patient);
  // It shares no pipe with the runner, whose own messages go over our standard output.
  const flood = fork(FLOOD, [proxy.admin.split(':').at(-1), '25'], { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  t.after(() => flood.kill('SIGKILL'));
  await once(flood, 'message');
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => sendAs(proxy, 'playmobile', { text: `Kod: ${n}` })));
  for (const answer of answers) delivered(answer, 'playmobile');
  assert.deepEqual([playmobile.delivered.length, twilio.delivered.length], [40, 0]);
  await eventually(async () => (await get(`${proxy.admin}/ready`).catch(() => undefined))?.status === 200, 60_000);
  delivered(await sendAs(proxy, 'playmobile', { text: TEXT }), 'playmobile');
  assert.equal(flood.exitCode, null, 'it went on all the time');
  assert.equal(proxy.child.exitCode, null);
});
