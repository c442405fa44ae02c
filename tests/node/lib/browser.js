// A real Chromium that opens the status page, and records what the page must not do: console errors,
// requests to other hosts.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const SHOTS = fileURLToPath(new URL('../../../target/screenshots', import.meta.url));
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export const WIDE = { width: 1100, height: 900 };
export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 320, height: 640 };

let running;

/** One browser for a test file; end it with `closeBrowser`. */
export async function browser() {
  running ??= await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
  return running;
}

export async function closeBrowser() { await running?.close(); }

/** Opens `url` in a context of its own; `page.complaints` and `page.requested` are recorded from the start. */
export async function open(t, url, { colour = 'light', viewport = WIDE, script = true, scale = 1, zone } = {}) {
  const context = await (await browser()).newContext({ colorScheme: colour, viewport, javaScriptEnabled: script, deviceScaleFactor: scale, timezoneId: zone });
  t.after(() => context.close());
  const page = await context.newPage();
  page.complaints = [];
  page.requested = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text()); });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('request', (request) => page.requested.push(request.url()));
  await page.goto(url, { waitUntil: 'load' });
  return page;
}

/** Saves a screenshot for people to look at. */
export async function shot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
}
