// A browser for tests: Debian's chromium, told to leave the network alone. SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const executable = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

const QUIET = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** A browser with a profile of its own. `close()` removes it. */
export async function launch(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'tensord-page-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: executable, args: QUIET, viewport: { width: 1920, height: 1080 }, locale: 'en-GB', timezoneId: 'UTC', colorScheme: 'light', ...options,
  });
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}

/** A page whose errors are collected: `problems` must stay empty. `allow` tells which console errors are meant. */
export async function open(context, url, { allow = () => false } = {}) {
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(`pageerror: ${error.message}`));
  page.on('console', (message) => {
    if ((message.type() === 'error' || /Content Security Policy/.test(message.text())) && !allow(message.text())) {
      problems.push(`console: ${message.text()}`);
    }
  });
  await page.goto(url);
  return { page, problems };
}

/** How many different colours stand in a canvas: 1 or 0 is blank. */
function inks(page, selector) {
  return page.locator(selector).first().evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Map();
    for (let i = 0; i < data.length; i += 4) {
      const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
      if (data[i + 3] > 0) seen.set(colour, (seen.get(colour) ?? 0) + 1);
    }
    return seen.size;
  });
}

/** What check gives once it is something; how long that takes is the machine's affair. */
export async function eventually(check, what) {
  for (const end = Date.now() + 20_000; ;) {
    const value = await check();
    if (value) return value;
    assert.ok(Date.now() < end, what);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Waits until more than so many colours stand in a canvas. */
export const drawn = (page, selector, colours) =>
  eventually(async () => (await inks(page, selector)) > colours, `${selector} has no more than ${colours} colours`);

/** Writes a screenshot where SCREENSHOTS says, if it does. */
export async function shot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
