// The two pictures of the docs: made from a real sidecar in which one account is rejected and another one delivers.
// Beside each picture is the text that it shows; it must be what the sidecar shows today, apart from times and ids.
// UPDATE_PICTURES=1 node --test tests/node/pictures.test.js writes both again.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { fake } from './fakes/index.js';
import { browser, closeBrowser, open } from './lib/browser.js';
import { cli, folder, sidecar } from './lib/sidecar.js';
import { settled } from './lib/situations.js';
import { delivered, sendAs } from './lib/stage.js';
import { plain, terminalPage } from './lib/terminal.js';

const IMAGES = fileURLToPath(new URL('../../deploy/guide/images/', import.meta.url));
const UPDATE = process.env.UPDATE_PICTURES === '1';
const SCALE = 2;
const PAGE = { width: 1000, height: 1200 };
const HOME = '/etc/sms-sidecar';

let scene;
const cleanups = [];
before(async () => { scene = await staged({ after: (work) => cleanups.push(work) }); });
after(async () => {
  for (const work of cleanups.reverse()) await work();
  await closeBrowser();
});

/** Playmobile delivers nine codes, then rejects its password; Eskiz takes the others. Abroad goes by Twilio. */
async function staged(t) {
  const at = folder(t);
  const vault = { file: path.join(at, 'vault.age'), key_file: path.join(at, 'vault.key') };
  const files = ['--vault-file', vault.file, '--key-file', vault.key_file];
  cli('vault', 'init', ...files);
  const providers = {};
  const fakes = {};
  const services = {};
  for (const [service, sender] of Object.entries({ playmobile: '3700', eskiz: '4546', twilio: '+12025550123' })) {
    fakes[service] = await fake(service);
    t.after(() => fakes[service].close());
    const fields = Object.entries(fakes[service].credential);
    const names = fields.map(([name]) => name);
    cli('vault', 'set', `sms/${service}`, ...names, '--stdin', ...files, { input: fields.map(([, value]) => `${value}\n`).join(''), stdio: 'pipe' });
    services[fakes[service].base] = JSON.parse(cli('dialects', 'show', service, '--json').stdout).base_url;
    providers[service] = { dialect: service, credential: { vault: 'local', path: `sms/${service}` }, base_url: fakes[service].base, insecure_http: true, sender };
  }
  fakes.eskiz.approved.push(/^[^]*$/);
  const routes = [
    { name: 'uzbekistan', recipients: ['+998'], providers: ['playmobile', 'eskiz'], duplicate_window: '0s' },
    { name: 'abroad', providers: ['twilio'] },
  ];
  const proxy = await sidecar(t, at, { instance: 'otp', vaults: { local: { embedded: vault } }, providers, routes });
  const send = async (n) => delivered(await sendAs(proxy, 'playmobile', { text: `Kod: ${n}`, to: `9989012345${10 + n}` }), 'playmobile');
  for (let n = 0; n < 9; n += 1) await send(n);
  fakes.playmobile.rotate({ password: 'the-new-one' });
  for (let n = 9; n < 13; n += 1) await send(n);
  await settled(proxy, ({ providers: all }) => all.find(({ provider }) => provider === 'playmobile')?.state === 'quarantined');
  return { at, proxy, services };
}

/** What depends on the machine, and what an installed sidecar has in its place. */
function replacements() {
  const { at, proxy, services } = scene;
  return [[`otp on ${hostname()}`, 'otp on web-3'], [at, HOME], [proxy.listen.proxy, '127.0.0.1:8125'], [proxy.listen.admin, '127.0.0.1:9125'], ...Object.entries(services)];
}

const installed = (text) => replacements().reduce((shown, [from, to]) => shown.replaceAll(from, to), text);

/** What two runs have in common: no times, durations, commit, process, and nothing of when a vault was read. */
function steady(text) {
  return `${installed(text)
    .replace(/(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d UTC(?: \((?:just now|in [^)]+|[^)]+ ago)\))?/g, 'TIME').replace(/\b\d+ (ms|s)\b/g, 'N $1')
    .replace(/\b[0-9a-f]{12}\b/g, 'COMMIT').replace(/PID \d+/g, 'PID N').replace(/\b(?:un)?changed (?=at TIME)/g, 'read ')
    .replace(/[·▁▂▃▄▅▆▇█×]{2,}/g, '·')
    .split('\n').map((line) => line.replace(/\s+/g, ' ').trim()).filter(Boolean).join('\n')}\n`;
}

/** Compares the text beside the picture, and the picture's form; or writes both. */
async function checked(name, text, width, picture) {
  const files = { png: path.join(IMAGES, `${name}.png`), txt: path.join(IMAGES, `${name}.txt`) };
  if (UPDATE) {
    mkdirSync(IMAGES, { recursive: true });
    writeFileSync(files.png, await picture());
    writeFileSync(files.txt, text);
  }
  const help = 'UPDATE_PICTURES=1 node --test tests/node/pictures.test.js, then look at the pictures';
  assert.equal(readFileSync(files.txt, 'utf8'), text, help);
  const png = readFileSync(files.png);
  assert.deepEqual(png.subarray(0, 8), Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), `${name} is not a PNG`);
  assert.equal(png.readUInt32BE(16), width * SCALE, `${name} has another width: ${help}`);
}

test('the picture of the status page shows what the page shows', async (t) => {
  const page = await open(t, scene.proxy.admin, { viewport: PAGE, scale: SCALE });
  await page.waitForFunction(() => document.getElementById('fresh').textContent === 'Live');
  const [text] = steady(await page.locator('main').innerText()).split('Last requests\n');
  assert.match(text, /playmobile is out/);
  await checked('status-page', text, PAGE.width, async () => {
    await page.evaluate((pairs) => {
      const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) for (const [from, to] of pairs) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
    }, replacements());
    const { y, height } = await page.locator('.provider').first().boundingBox();
    return page.screenshot({ fullPage: true, clip: { x: 0, y: 0, width: PAGE.width, height: Math.ceil(y + height + 12) } });
  });
});

test('the picture of the terminal shows what `status` prints', async (t) => {
  const args = ['status', '--requests', '3', '--control', scene.proxy.listen.control];
  const { stdout } = cli(...args, { env: { ...process.env, CLICOLOR_FORCE: '1' } });
  const text = steady(plain(stdout));
  assert.match(text, /playmobile is out/);
  const context = await (await browser()).newContext({ deviceScaleFactor: SCALE });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.setContent(terminalPage('sms-sidecar status --requests 3', installed(stdout)));
  const { width, height } = await page.locator('body').boundingBox();
  const clip = { x: 0, y: 0, width: Math.ceil(width), height: Math.ceil(height) };
  await checked('terminal', text, clip.width, () => page.screenshot({ fullPage: true, clip }));
});
