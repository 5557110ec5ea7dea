// The page in a browser, fed by a scripted server. SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bundle } from '../build.mjs';
import { drawn, eventually, executable, launch, open, shot } from './browser.mjs';
import { graphOps, Mock } from './mock.mjs';

const skip = executable ? false : 'there is no chromium';
let browser;

before(async () => {
  if (!skip) browser = await launch();
});
after(() => browser?.close());

/** A page on a scripted server of its own; whatever it complains of fails the test. */
function paged(name, options, run) {
  test(name, { skip, timeout: 60_000 }, async () => {
    const mock = await new Mock({ story: false, ...options.mock }).listen();
    const { page, problems } = await open(browser.context, mock.url + (options.hash ?? ''), options);
    try {
      await run(page, mock);
      assert.deepEqual(problems, []);
    } finally {
      await page.close();
      await mock.close();
    }
  });
}

const total = (page) => page.locator('[data-testid=memory-total]').evaluate((e) => ({ ...e.dataset }));
const status = (page) => page.locator('[data-testid=status]');
const nodes = async (page) => Number(await page.locator('[data-testid=graph-canvas]').getAttribute('data-nodes'));
const until = (page, check, arg) => page.waitForFunction(check, arg, { timeout: 20_000, polling: 50 });

/** What read gives, once it has given that for half a second. */
async function settled(read) {
  let last = await read();
  let same = 0;
  await eventually(async () => {
    const value = await read();
    same = value === last ? same + 1 : 0;
    last = value;
    return same >= 10;
  }, 'it never rests');
  return last;
}

async function flowing(page, count = 3) {
  await until(page, (n) => Number(document.querySelector('[data-testid=graph-canvas]')?.dataset.nodes) >= n, count);
  await until(page, () => !document.querySelector('.memory') || document.querySelector('[data-testid=memory-total]'));
}

test('dist/ is what the sources build', async () => {
  const dist = fileURLToPath(new URL('../dist/', import.meta.url));
  const [once, twice] = [await bundle(), await bundle()];
  assert.deepEqual((await readdir(dist)).sort(), [...once.keys()].sort());
  for (const [name, bytes] of once) {
    assert.ok(bytes.equals(twice.get(name)), `${name}: two builds differ`);
    assert.ok(bytes.equals(await readFile(dist + name)), `${name}: run "npm run build" and commit dist/`);
  }
});

paged('all four views draw at once, without a complaint', { mock: { pace: 1 } }, async (page) => {
  await flowing(page, 12);
  await page.waitForSelector('[data-session="5"]');
  await drawn(page, '.chart canvas', 5);
  await drawn(page, '[data-testid=graph-canvas]', 5);
  await drawn(page, '[data-testid=ruler]', 3);
  await until(page, () => document.querySelectorAll('.sessions tbody tr').length === 5);
  await until(page, () => document.querySelectorAll('.ops tbody tr').length > 20);
  assert.match(await page.locator('.ops').innerText(), /\[64,784\] × \[784,128\] → \[64,128\] f32/);
  const scroll = await page.evaluate(() => [document.documentElement.scrollHeight - innerHeight, document.documentElement.scrollWidth - innerWidth]);
  assert.deepEqual(scroll, [0, 0], 'the overview fits on the screen');
  await shot(page, 'overview');
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  const late = await page.evaluate(() => document.documentElement.dataset.eventToPixelMs);
  console.log(`# first contentful paint ${paint?.toFixed(0)} ms (aim: 500), event to pixel p50 ${late} ms (aim: 50)`);
});

for (const [i, view] of ['memory', 'sessions', 'ops', 'graph'].entries()) {
  paged(`${view} at full size, by key and by address`, { mock: { pace: 1 } }, async (page) => {
    await flowing(page);
    await page.keyboard.press(String(i + 1));
    await until(page, () => document.querySelectorAll('.panel').length === 1);
    assert.match(page.url(), new RegExp(`#/${view}$`));
    if (view === 'memory') await drawn(page, '.chart canvas', 5);
    if (view === 'graph') await drawn(page, '[data-testid=graph-canvas]', 5);
    await shot(page, view);
    await page.keyboard.press('0');
    await until(page, () => document.querySelectorAll('.panel').length === 4);
    await page.evaluate((hash) => (location.hash = hash), `#/${view}`);
    await until(page, () => document.querySelectorAll('.panel').length === 1);
  });
}

paged('what the device\'s instruments show, of those that it has', {}, async (page) => {
  await page.waitForSelector('[data-testid=gauges]');
  assert.equal(await page.locator('[data-testid=gauges]').innerText(), 'GPU 312 W · 51 °C · 64 %');
});

paged('of several devices one is watched, and which can be chosen', { mock: { devices: 2 } }, async (page, mock) => {
  await flowing(page);
  await page.waitForSelector('[data-device="1"]');
  const buttons = page.locator('.devices button');
  assert.deepEqual(await buttons.evaluateAll((all) => all.map((b) => [b.innerText.replace(/\s+/g, ' '), b.getAttribute('aria-pressed')])),
    [['cuda:0 24 %', 'true'], ['cuda:1 48 %', 'false']]);
  await page.click('[data-device="1"]');
  await until(page, () => document.querySelector('[data-device="1"]').getAttribute('aria-pressed') === 'true');
  assert.ok(mock.heard.some((message) => message[0] === 'device' && message[1] === 1));
  await flowing(page); // the graph of what is computed there
  assert.equal(await page.locator('[data-testid=restarted]').count(), 0);
  await shot(page, 'devices');
  const scroll = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(scroll, 0);
});

paged('with one device there is nothing to choose', {}, async (page) => {
  await flowing(page);
  await page.waitForSelector('[data-testid=gauges]'); // as old as the list of devices
  assert.equal(await page.locator('.devices').count(), 0);
});

paged('totals are the feed\'s, to the byte', {}, async (page, mock) => {
  await flowing(page);
  for (let i = 0; i < 12; i++) {
    const shown = await total(page);
    const sent = mock.samples.get(Number(shown.tUs));
    assert.ok(sent, `a sample of ${shown.tUs} was sent`);
    assert.equal(Number(shown.used), sent.used);
    assert.equal(Number(shown.peak), sent.peak);
    assert.equal(Number(shown.classesSum), sent.used);
    assert.equal(Number(shown.usersSum), sent.used);
    await page.waitForTimeout(130);
  }
  assert.ok(mock.acks > 10, 'messages are acknowledged');
  await page.keyboard.press('u');
  await until(page, () => document.querySelector('.memory .legend').textContent.includes('1001'));
  await drawn(page, '.chart canvas', 5);
  await shot(page, 'memory-by-user');
});

paged('a pause holds everything; scrubbing goes back; End is live again', { mock: { pace: 1 } }, async (page) => {
  await flowing(page, 8);
  await page.waitForTimeout(4000);
  await page.keyboard.press('Space');
  await until(page, () => document.querySelector('[data-testid=status]').dataset.paused !== undefined);
  assert.match(await status(page).innerText(), /paused/);
  await settled(async () => (await total(page)).tUs + (await page.locator('.ops tbody').innerText()) + (await nodes(page)));
  const held = await total(page);
  const ops = await page.locator('.ops tbody').innerText();
  const grown = await nodes(page);
  await page.waitForTimeout(900);
  assert.equal((await total(page)).tUs, held.tUs);
  assert.equal(await page.locator('.ops tbody').innerText(), ops);
  assert.equal(await nodes(page), grown);
  const box = await page.locator('[data-testid=ruler]').boundingBox();
  await page.mouse.click(box.x + box.width * (1 - 4 / 60), box.y + box.height / 2);
  await until(page, (t) => Number(document.querySelector('[data-testid=memory-total]').dataset.tUs) < t - 1e6, Number(held.tUs));
  await shot(page, 'scrubbed');
  await page.keyboard.press('End');
  await until(page, () => document.querySelector('[data-testid=status]').dataset.paused === undefined);
  await until(page, (t) => Number(document.querySelector('[data-testid=memory-total]').dataset.tUs) > t, Number(held.tUs));
});

paged('arrows go op by op while paused, and nothing moves', { mock: { pace: 1, fast: false } }, async (page) => {
  await flowing(page, 10);
  await page.keyboard.press('Space');
  await settled(() => nodes(page));
  const canvas = page.locator('[data-testid=graph-canvas]');
  const scale = await canvas.getAttribute('data-scale');
  const count = await nodes(page);
  for (let i = 1; i <= 4; i++) {
    await page.keyboard.press('ArrowLeft');
    await until(page, (n) => Number(document.querySelector('[data-testid=graph-canvas]').dataset.nodes) === n, count - i);
  }
  assert.equal(await canvas.getAttribute('data-scale'), scale);
  await page.keyboard.press('ArrowRight');
  await until(page, (n) => Number(document.querySelector('[data-testid=graph-canvas]').dataset.nodes) === n, count - 3);
});

paged('a chosen session is followed, and its slow graph is seen growing', { mock: { pace: 4 } }, async (page, mock) => {
  await page.waitForSelector('[data-session="3"]');
  await page.locator('[data-session="3"]').focus();
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('[data-session="3"]').getAttribute('aria-selected') === 'true');
  assert.deepEqual(await eventually(() => mock.heard.find(([type]) => type === 'follow'), 'nothing is followed'), ['follow', 3]);
  await until(page, () => document.querySelector('.graph .caption')?.textContent.includes('train'));
  const seen = new Set();
  await eventually(async () => seen.add(await nodes(page)).size > 10, 'the graph does not grow node by node');
  await page.keyboard.press('Escape');
  await until(page, () => document.querySelector('[data-session="3"]').getAttribute('aria-selected') === 'false');
});

paged('a fast program shows its latest whole step', {}, async (page) => {
  await page.waitForSelector('[data-session="5"]');
  await page.locator('[data-session="5"]').click();
  await until(page, () => Number(document.querySelector('[data-testid=graph-canvas]').dataset.step) > 2);
  const counts = new Set();
  const steps = new Set();
  const start = Date.now();
  await eventually(async () => {
    const data = await page.locator('[data-testid=graph-canvas]').evaluate((e) => ({ ...e.dataset }));
    counts.add(data.nodes);
    return steps.add(data.step).size >= 4;
  }, 'no other step is shown');
  assert.deepEqual([...counts], ['21']);
  assert.ok(Date.now() - start >= 1500, `a step stands for a while: ${[...steps]}`);
});

paged('the table of sessions sorts by click and by key', {}, async (page) => {
  await page.waitForSelector('[data-session="5"]');
  const order = () => page.locator('.sessions tbody tr').evaluateAll((rows) => rows.map((row) => Number(row.dataset.session)));
  await until(page, () => document.querySelectorAll('.sessions tbody tr').length === 5);
  assert.deepEqual(await order(), [5, 3, 7, 2, 6]);
  await page.locator('[data-sort=program]').click();
  await until(page, () => document.querySelector('[data-sort=program]').closest('th').ariaSort === 'ascending');
  assert.deepEqual(await order(), [5, 7, 2, 3, 6]);
  await page.locator('[data-sort=program]').focus();
  await page.keyboard.press('Enter');
  await until(page, () => document.querySelector('[data-sort=program]').closest('th').ariaSort === 'descending');
  assert.deepEqual(await order(), [3, 2, 7, 5, 6]);
});

paged('a failed op is red, with its message and its line', { mock: { fast: false, still: true } }, async (page, mock) => {
  await page.waitForSelector('[data-session="7"]');
  mock.fail();
  await page.waitForSelector('[data-failed] .message');
  const row = await page.locator('[data-failed]').first().innerText();
  assert.match(row, /✕/);
  assert.match(row, /matmul: the inner sizes differ/);
  assert.match(row, /lesson\.c:12/);
  assert.match(await page.locator('[data-testid=last-failure]').innerText(), /lesson #7/);
  await page.locator('[data-failed]').first().click();
  assert.match(await page.locator('[data-testid=detail]').innerText(), /inner sizes differ/);
  await page.waitForTimeout(600);
  await shot(page, 'failed');
});

paged('keys: backward, heat, zoom, table, help; a node tells its details', { hash: '#/graph', mock: { pace: 1, fast: false } }, async (page) => {
  await flowing(page, 19);
  await page.keyboard.press('Space');
  const picture = () => page.locator('[data-testid=graph-canvas]').evaluate((c) => c.toDataURL());
  const start = await settled(picture);
  for (const key of ['g', 'h', '+', 'Shift+ArrowLeft']) {
    const old = await picture();
    await page.keyboard.press(key);
    await eventually(async () => (await picture()) !== old, key);
    await settled(picture);
  }
  await shot(page, 'heat');
  for (const key of ['g', 'h', 'h', 'f']) await page.keyboard.press(key);
  await eventually(async () => (await picture()) === start, 'F fits again, and nothing has moved');
  await page.keyboard.press('t');
  await page.waitForSelector('[data-testid=graph-table]');
  await page.locator('[data-testid=graph-table] tbody tr', { hasText: 'relu' }).click();
  await page.waitForSelector('[data-testid=detail]');
  assert.match(await page.locator('[data-testid=detail]').innerText(), /backward ops\s+gt\s+mul/);
  await page.keyboard.press('t');
  await page.waitForTimeout(700);
  await shot(page, 'detail');
  await page.keyboard.press('?');
  await page.waitForSelector('[data-testid=help]');
  await shot(page, 'help');
  await page.keyboard.press('Escape');
  await page.waitForSelector('[data-testid=help]', { state: 'detached' });
});

/** Contrast of text to what is behind it, as WCAG counts. */
const contrast = (page) =>
  page.evaluate(() => {
    const value = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const light = (hex) => {
      const [r, g, b] = [1, 3, 5].map((i) => {
        const c = parseInt(hex.slice(i, i + 2), 16) / 255;
        return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => {
      const [x, y] = [light(value(a)), light(value(b))].sort((m, n) => n - m);
      return (x + 0.05) / (y + 0.05);
    };
    const inks = ['--text', '--dim', '--forward', '--leaf', '--backward', '--optimiser', '--failed', '--held'];
    return Math.min(...inks.flatMap((ink) => ['--panel', '--background'].map((ground) => ratio(ink, ground))));
  });

paged('themes by D: light, dark, projector with large type and strong contrast', { mock: { pace: 1 } }, async (page) => {
  await flowing(page, 12);
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), 'light');
  assert.ok((await contrast(page)) >= 4.5, `light ${await contrast(page)}`);
  await page.keyboard.press('d');
  assert.equal(await theme(), 'dark');
  assert.ok((await contrast(page)) >= 4.5, `dark ${await contrast(page)}`);
  await page.waitForTimeout(1200);
  await shot(page, 'dark');
  await page.keyboard.press('d');
  assert.equal(await theme(), 'projector');
  assert.ok((await contrast(page)) >= 7, `projector ${await contrast(page)}`);
  await page.waitForTimeout(2500);
  const small = await page.evaluate(() =>
    [...document.querySelectorAll('#app *')]
      .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.offsetParent !== null && e.tagName !== 'KBD')
      .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 24)
      .map((e) => `${e.tagName} ${e.className} ${e.textContent}`.slice(0, 60)));
  assert.deepEqual(small, [], 'nothing under 24 px');
  await shot(page, 'projector');
  await page.keyboard.press('4');
  await page.waitForTimeout(1500);
  await shot(page, 'projector-graph');
  await page.reload();
  assert.equal(await theme(), 'projector', 'a choice is remembered');
  await page.keyboard.press('d');
});

paged('both languages, every text', { mock: { pace: 1 } }, async (page) => {
  await flowing(page, 6);
  assert.match(await page.locator('.memory h2').innerText(), /Device memory/);
  const english = await page.locator('body').innerText();
  await page.keyboard.press('l');
  await until(page, () => document.querySelector('.memory h2').textContent === 'Aygıt belleği');
  await page.waitForTimeout(700);
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'tr');
  const turkish = await page.locator('body').innerText();
  for (const word of ['Overview', 'Sessions', 'Last ops', 'duration', 'connected', 'LIVE', 'backward']) {
    assert.ok(english.includes(word), word);
    assert.ok(!turkish.includes(word), `${word} in Turkish`);
  }
  await shot(page, 'turkish');
  await page.keyboard.press('l');
});

paged('a lost connection is told and made again', { allow: (text) => /WebSocket|ERR_|426/.test(text) }, async (page, mock) => {
  await flowing(page);
  mock.drop();
  await until(page, () => document.querySelector('[data-testid=status]').dataset.connection === 'lost');
  assert.match(await status(page).innerText(), /reconnecting/);
  await until(page, () => document.querySelector('[data-testid=status]').dataset.connection === 'open');
  const { tUs } = await total(page);
  await until(page, (t) => Number(document.querySelector('[data-testid=memory-total]').dataset.tUs) > t, Number(tUs));
});

paged('the worker\'s end and its new life are told, and the page goes on', { mock: { pace: 1 } }, async (page, mock) => {
  await flowing(page, 6);
  await page.locator('[data-session="5"]').click();
  mock.end('signal 11 in matmul (session 7)');
  await page.waitForSelector('[data-testid=ended]');
  assert.match(await status(page).innerText(), /worker ended: signal 11 in matmul/);
  await shot(page, 'ended');
  mock.rise();
  await page.waitForSelector('[data-testid=restarted]');
  assert.match(await page.locator('[data-testid=restarted]').innerText(), /restarted.*signal 11/);
  const shown = await eventually(async () => {
    const now = await total(page);
    return mock.samples.has(Number(now.tUs)) && now;
  }, 'nothing of the new life is shown');
  assert.equal(Number(shown.used), mock.samples.get(Number(shown.tUs)).used);
  await flowing(page, 5);
  await shot(page, 'restarted');
  await page.locator('[data-testid=restarted] button').click();
  await page.waitForSelector('[data-testid=restarted]', { state: 'detached' });
});

paged('without the key the page says how to get it', { mock: { denied: true }, allow: (text) => /401|WebSocket/.test(text) }, async (page, mock) => {
  await page.waitForSelector('[data-testid=denied]');
  assert.match(await page.locator('[data-testid=denied]').innerText(), /tensorctl dashboard/);
  await shot(page, 'denied');
  mock.denied = false;
  await flowing(page);
});

paged('a hidden page asks for nothing', {}, async (page, mock) => {
  await flowing(page);
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: true, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await eventually(() => mock.heard.at(-1)?.[0] === 'pause', 'it goes on');
  assert.deepEqual(mock.heard.at(-1), ['pause', true]);
  await page.evaluate(() => {
    Object.defineProperty(document, 'hidden', { value: false, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await eventually(() => mock.heard.at(-1)?.[1] === false, 'it does not go on');
  assert.deepEqual(mock.heard.at(-1), ['pause', false]);
});

paged('360 pixels are enough', { mock: { pace: 1 } }, async (page) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await flowing(page, 6);
  await page.waitForTimeout(800);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  await shot(page, 'narrow');
  for (const view of ['memory', 'sessions', 'ops', 'graph']) {
    await page.evaluate((hash) => (location.hash = hash), `#/${view}`);
    await until(page, () => document.querySelectorAll('.panel').length === 1);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, view);
  }
  await page.waitForTimeout(500);
  await shot(page, 'narrow-graph');
});

paged('ten thousand nodes are drawn, zoomed and panned', { hash: '#/graph', mock: { fast: false, still: true } }, async (page, mock) => {
  await until(page, () => document.querySelector('[data-testid=status]').dataset.connection === 'open');
  const ops = graphOps(11_700);
  for (let i = 0; i < ops.length; i += 1000) mock.ops(ops.slice(i, i + 1000));
  await flowing(page, ops.length);
  await drawn(page, '[data-testid=graph-canvas]', 3);
  await shot(page, 'large');
  const measure = () => page.evaluate(async () => {
    const canvas = document.querySelector('[data-testid=graph-canvas]');
    const frames = [];
    let last = await new Promise(requestAnimationFrame);
    const start = last;
    for (let i = 0; last - start < 3000; i++) {
      // In and out, with the camera going up and down.
      canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: Math.floor(i / 30) % 2 ? 40 : -40, bubbles: true, cancelable: true }));
      dispatchEvent(new KeyboardEvent('keydown', { key: i % 60 < 30 ? 'ArrowDown' : 'ArrowUp', shiftKey: true }));
      const now = await new Promise(requestAnimationFrame);
      frames.push(now - last);
      last = now;
    }
    frames.sort((a, b) => a - b);
    const fps = (frames.length * 1000) / (last - start);
    return `${fps.toFixed(0)} fps, frame p95 ${frames[Math.floor(frames.length * 0.95)].toFixed(0)} ms`;
  });
  const edges = await page.locator('[data-testid=graph-canvas]').getAttribute('data-edges');
  const near = await measure();
  await page.keyboard.press('f');
  await page.waitForTimeout(800);
  for (let i = 0; i < 22; i++) await page.keyboard.press('-');
  await shot(page, 'large-whole');
  console.log(`# ${ops.length} nodes, ${edges} edges: near ${near}; whole ${await measure()} (aim: 30, 33)`);
  await shot(page, 'large-near');
});
