// The page fed by a real daemon, a program that is stepped by hand, and the daemon's own figures beside it. What the page
// shows is what is so, to the byte. SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { drawn, executable, launch, open, shot } from './browser.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const build = process.env.TENSORD_BUILD ?? join(root, 'build/plain');
const skip = !executable ? 'there is no chromium' : !existsSync(join(build, 'tensord')) ? 'there is no tensord: make' : false;
const folder = skip ? '' : mkdtempSync(join(tmpdir(), 'tensord-web-'));
const address = `unix:${folder}/sock`;
let daemon, browser, program, replies;

const ctl = (...args) => execFileSync(join(build, 'tensorctl'), [...args, '--address', address], { encoding: 'utf8' }).trim();
const figures = () => JSON.parse(ctl('status', '--json'));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const until = (page, check, arg) => page.waitForFunction(check, arg, { timeout: 25_000, polling: 50 });
const total = (page) => page.locator('[data-testid=memory-total]').evaluate((e) => ({ ...e.dataset }));

/** A one-time address, as soon as there is a dashboard. */
async function fresh() {
  for (let k = 0; ; k++) {
    try {
      return ctl('dashboard');
    } catch (error) {
      if (k === 100) throw error;
      await sleep(100);
    }
  }
}

function start(name) {
  program = spawn(join(build, 'web-session'), [address], { stdio: ['pipe', 'pipe', 'inherit'], argv0: name });
  replies = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
}

/** Has the program do something, and waits until the daemon has. */
async function say(word, times = 1) {
  for (let k = 0; k < times; k++) {
    program.stdin.write(`${word}\n`);
    assert.equal((await replies.next()).value, word);
  }
}

/** The page shows what the daemon holds now. */
async function exact(page) {
  const { device } = figures();
  await until(page, (used) => document.querySelector('[data-testid=memory-total]')?.dataset.used === used, String(device.used_bytes));
  const shown = await total(page);
  assert.equal(shown.classesSum, shown.used);
  assert.equal(shown.usersSum, shown.used);
  assert.equal(shown.peak, String(device.peak_bytes));
  assert.equal(shown.reserved, String(device.pool_bytes));
}

const get = (url, headers) => new Promise((done, fail) => {
  http.get(url, { headers }, (answer) => {
    answer.resume();
    answer.on('end', () => done(answer));
  }).on('error', fail);
});

before(async () => {
  if (skip) return;
  daemon = spawn(join(build, 'tensord'), ['--device', 'cpu', '--listen', address, '--web', '127.0.0.1:0', '--memory', '256M', '--log-level', 'error'], { stdio: 'inherit' });
  await fresh();
  browser = await launch();
  start('lesson');
});

after(async () => {
  if (skip) return;
  program?.kill();
  await browser?.close();
  daemon.kill();
  await new Promise((done) => daemon.on('exit', done));
  rmSync(folder, { recursive: true, force: true });
});

test('a session stepped by hand is seen in every view, to the byte', { skip, timeout: 90_000 }, async () => {
  const { page, problems } = await open(browser.context, await fresh());
  await until(page, () => document.querySelector('[data-testid=status]')?.dataset.connection === 'open');
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
  await page.click('.sessions tbody tr[data-session]'); // follows it
  await say('step');
  await until(page, () => Number(document.querySelector('[data-testid=graph-canvas]').dataset.nodes) >= 8);
  await exact(page);
  await say('step', 3);
  await exact(page);
  await until(page, () => /session\.c:\d+/.test(document.querySelector('.ops')?.textContent ?? ''));
  const ops = await page.locator('.ops').first().textContent();
  assert.match(ops, /matmul/);
  assert.match(ops, /\[64,784\] × \[784,128\] → \[64,128\]/);
  const row = page.locator('.sessions tbody tr').filter({ hasText: 'lesson' }).first();
  assert.equal(await row.count(), 1, 'the program is listed under its name');
  await say('wrong');
  await until(page, () => document.querySelector('[data-failed]') !== null);
  assert.match(await page.locator('[data-failed]').first().textContent(), /index_select|999/);
  await drawn(page, '[data-testid=graph-canvas]', 5);
  await drawn(page, '.chart canvas', 4);
  for (const [key, name] of [['1', 'memory'], ['2', 'sessions'], ['3', 'ops'], ['4', 'graph']]) {
    await page.keyboard.press(key);
    await page.waitForTimeout(200);
    await shot(page, `daemon-${name}`);
  }
  await page.keyboard.press('0');
  await exact(page);
  await shot(page, 'daemon-overview');
  const late = await page.evaluate(() => document.documentElement.dataset.eventToPixelMs);
  console.log(`# first paint ${paint?.toFixed(0)} ms, event to pixel ${late} ms (p50)`);
  assert.deepEqual(problems, []);
  await page.close();
});

test('a training program is seen live while it runs', { skip, timeout: 90_000 }, async () => {
  const { page, problems } = await open(browser.context, await fresh());
  const trains = spawn(join(build, 'examples/charlm'), [], { env: { ...process.env, TENSORD: address }, stdio: 'ignore' });
  const row = '.sessions tbody tr:has-text("charlm")';
  await page.waitForSelector(row, { timeout: 20_000 });
  await page.click(row);
  await until(page, () => Number(document.querySelector('[data-testid=graph-canvas]').dataset.nodes) > 20);
  await until(page, () => /charlm\.c:\d+/.test(document.querySelector('.ops')?.textContent ?? ''));
  await page.waitForTimeout(4000);
  // For README.md, which names no machine.
  await page.locator('.device').evaluateAll((all) => all.forEach((e) => { e.hidden = true; }));
  await shot(page, 'training');
  await page.keyboard.press('d');
  await page.waitForTimeout(300);
  await shot(page, 'training-dark');
  const { used, classesSum, usersSum } = await total(page);
  assert.equal(classesSum, used);
  assert.equal(usersSum, used);
  trains.kill();
  await new Promise((done) => trains.on('exit', done));
  assert.deepEqual(problems, []);
  await page.close();
});

test('who was not let in is not served', { skip, timeout: 30_000 }, async () => {
  const url = new URL(await fresh()), host = url.host;
  assert.equal((await get(`http://${host}/live`)).statusCode, 401);
  const entered = await get(url);
  assert.equal(entered.statusCode, 303);
  const cookie = entered.headers['set-cookie'][0].split(';')[0];
  assert.equal((await get(url)).statusCode, 403, 'a token is good once');
  assert.equal((await get(`http://${host}/`, { host: 'evil.example' })).statusCode, 403);
  const refused = (origin) => new Promise((done) => {
    const socket = new WebSocket(`ws://${host}/live`, 'tensord.dash.1', { headers: { cookie, ...(origin ? { origin } : {}) } });
    socket.on('unexpected-response', (_, answer) => done(answer.statusCode));
    socket.on('open', () => { socket.terminate(); done(0); });
    socket.on('error', () => done(-1));
  });
  assert.ok((await refused('http://evil.example')) !== 0);
  assert.equal(await refused(`http://${host}`), 0);
});

test('thirty viewers and one that never reads cost the program nothing', { skip, timeout: 90_000 }, async () => {
  const url = new URL(await fresh());
  const cookie = (await get(url)).headers['set-cookie'][0].split(';')[0];
  const watch = () => new Promise((done, fail) => {
    const socket = new WebSocket(`ws://${url.host}/live`, 'tensord.dash.1', { headers: { cookie, origin: `http://${url.host}` } });
    socket.on('open', () => done(socket));
    socket.on('error', fail);
  });
  const timed = async () => {
    const from = performance.now();
    await say('step', 100);
    return performance.now() - from;
  };
  await timed();
  const alone = await timed();
  const viewers = await Promise.all(Array.from({ length: 30 }, watch));
  viewers[0].pause(); // takes nothing any more
  const watched = await timed();
  console.log(`# 100 steps: ${alone.toFixed(0)} ms alone, ${watched.toFixed(0)} ms with 30 viewers`);
  assert.equal(figures().sessions.length >= 1, true);
  for (const viewer of viewers) viewer.terminate();
});

test('a worker that dies while it is watched is told of, and the next is shown', { skip, timeout: 60_000 }, async () => {
  const { page, problems } = await open(browser.context, await fresh());
  await until(page, () => document.querySelector('[data-testid=status]')?.dataset.connection === 'open');
  process.kill(figures().pid, 'SIGKILL');
  await page.waitForSelector('[data-testid=restarted], [data-testid=ended]', { timeout: 20_000 });
  program.kill();
  start('second');
  await say('step', 2);
  await until(page, () => /second/.test(document.querySelector('.sessions')?.textContent ?? ''));
  await exact(page);
  await shot(page, 'daemon-restarted');
  assert.deepEqual(problems, []);
  await page.close();
});

test('the counters of /metrics go on over a restart', { skip, timeout: 30_000 }, async () => {
  const url = new URL(await fresh());
  const text = await (await fetch(`http://${url.host}/metrics`)).text();
  const life = /^tensord_worker_life\S* (\d+)$/m.exec(text) ?? /life\S* (\d+)/.exec(text);
  assert.ok(life && Number(life[1]) >= 2, text.slice(0, 400));
  assert.match(text, /^# TYPE tensord_\S+ counter$/m);
  assert.ok(readFileSync(join(root, 'web/dist/app.js')).length > 0);
});
