// The parts of the page that need no browser: columns, steps, layout, state. SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { graphOps, opMessage } from './mock.mjs';

const src = fileURLToPath(new URL('../src/', import.meta.url));
const folder = await mkdtemp(join(tmpdir(), 'tensord-units-'));
after(() => rm(folder, { recursive: true, force: true }));

// What a browser has and node draws nothing with.
globalThis.requestAnimationFrame = () => 0;
globalThis.MessageChannel = class {
  port1 = {};
  port2 = { postMessage() {} };
};

await build({
  stdin: {
    contents: "export * from './message'; export * from './steps'; export * from './layout'; export * from './timeline'; export * from './state';",
    resolveDir: src, loader: 'ts',
  },
  bundle: true, format: 'esm', platform: 'node', outfile: join(folder, 'units.mjs'), logLevel: 'warning',
});
const { column, opColumns, Steps, STEP_OPS, Graph, Timeline, state } = await import(pathToFileURL(join(folder, 'units.mjs')));

const MADE = 1, BACKWARD = 2, LEAF = 32, OPTIMISER = 128;

test('a column is read wherever it lies in its message', () => {
  const values = Float64Array.from([0.1, 2 ** 52 + 1, -3]);
  for (let offset = 0; offset < 9; offset++) {
    const message = new Uint8Array(offset + values.byteLength);
    message.set(new Uint8Array(values.buffer), offset);
    assert.deepEqual(column(message.subarray(offset), Float64Array), values);
  }
  assert.throws(() => column([1, 2], Float64Array), TypeError);
});

test('ops come out of their columns as they went in', () => {
  const ops = graphOps(40);
  const c = opColumns(['op', 1, 0, ...opMessage(ops, (i) => i * 1000.5)]);
  assert.equal(c.n, ops.length);
  ops.forEach((op, i) => {
    assert.equal(c.t_us[i], i * 1000.5);
    assert.equal(c.flags[i], op.flags);
    assert.deepEqual(Array.from(c.in.subarray(c.inAt[i], c.inAt[i + 1])), op.in);
    assert.deepEqual(Array.from(c.dims.subarray(c.dimsAt[i], c.dimsAt[i + 1])), op.dims);
    op.inDims.forEach((dims, k) => {
      const j = c.inAt[i] + k;
      assert.deepEqual(Array.from(c.inDims.subarray(c.inDimsAt[j], c.inDimsAt[j + 1])), dims);
    });
  });
});

const numbers = (flags) => {
  const steps = new Steps();
  return [flags.map((f, i) => steps.add(f, i)), steps];
};

test('a step begins with the first forward op after an optimiser', () => {
  const one = [0, MADE, MADE, BACKWARD, BACKWARD, OPTIMISER];
  const [found, steps] = numbers([...one, ...one, ...one]);
  assert.deepEqual(found, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
  assert.equal(steps.complete, 2); // the first may have begun before the page looked
});

test('without an optimiser a step begins with the first node after a backward', () => {
  assert.deepEqual(numbers([MADE, BACKWARD, 0, 0, MADE, BACKWARD, MADE])[0], [1, 1, 1, 1, 2, 2, 3]);
});

test('what reads gradients between backward and optimiser belongs to the step', () => {
  assert.deepEqual(numbers([MADE, BACKWARD, 0, 0, OPTIMISER, OPTIMISER, MADE])[0], [1, 1, 1, 1, 1, 1, 2]);
});

test('a step with lost records is not a complete one', () => {
  const steps = new Steps();
  const one = () => [MADE, BACKWARD, OPTIMISER].forEach((f) => steps.add(f, 0));
  one();
  one();
  one();
  assert.equal(steps.complete, 2);
  steps.gap();
  one();
  assert.equal(steps.complete, 2);
  one();
  one();
  assert.equal(steps.complete, 5);
});

test('a program without a loop is cut', () => {
  const steps = new Steps();
  for (let i = 0; i < STEP_OPS; i++) assert.equal(steps.add(MADE, i), 1);
  assert.equal(steps.add(MADE, 0), 2);
  assert.equal(steps.cut, true);
  assert.equal(steps.complete, 0);
});

const placed = (op) => ({ ...op, time: 0, shapes: op.inDims });

function places(graph) {
  return Array.from({ length: graph.length }, (_, i) => [graph.rank[i], graph.lane[i]]);
}

test('no two nodes share a place, and none moves when others come', () => {
  const graph = new Graph();
  let before = [];
  const taken = new Set();
  for (const op of graphOps(3000)) {
    const i = graph.add(placed(op));
    const key = `${graph.rank[i]} ${graph.lane[i]}`;
    assert.ok(!taken.has(key), key);
    taken.add(key);
    if (i % 500 === 0) {
      const now = places(graph);
      assert.deepEqual(now.slice(0, before.length), before);
      before = now;
    }
  }
});

test('a node lies below its inputs; a backward op beside its forward op, on the left', () => {
  const graph = new Graph();
  for (const op of graphOps(3000)) graph.add(placed(op));
  let forward = 0;
  let backward = 0;
  for (let e = 0; e < graph.from.length; e++) {
    const [from, to] = [graph.from[e], graph.to[e]];
    if (graph.lane[to] < 0) continue;
    assert.ok(graph.rank[to] > graph.rank[from]);
    forward++;
  }
  for (let i = 0; i < graph.length; i++) {
    if (!(graph.ops[i].flags & BACKWARD)) continue;
    assert.ok(graph.lane[i] < 0);
    assert.equal(graph.rank[i], graph.rank[graph.forward(graph.ops[i].node)]);
    backward++;
  }
  assert.ok(forward > 500 && backward > 500);
});

test('a parameter from earlier is a chip, a failed op a node', () => {
  const graph = new Graph((id) => id === 7);
  graph.add({ time: 0, flags: 0, node: 0, out: 10, in: [], shapes: [] });
  const i = graph.add({ time: 1, flags: MADE, node: 1, out: 11, in: [10, 7, 8], shapes: [[2], [3, 4], []] });
  assert.deepEqual(graph.chips[i], [{ tensor: 7, shape: [3, 4], leaf: true }, { tensor: 8, shape: [], leaf: false }]);
  assert.equal(graph.edgesUntil[i], 1);
  const failed = graph.add({ time: 2, flags: 4, node: 0, out: 0, in: [11], shapes: [[2]] });
  assert.equal(graph.rank[failed], 2);
  assert.equal(graph.until(1), 2);
});

test('a parameter far above its op is a chip too, and the optimiser lies above all', () => {
  const graph = new Graph();
  graph.add({ time: 0, flags: LEAF, node: 0, out: 1, in: [], shapes: [] });
  graph.add({ time: 0, flags: 0, node: 0, out: 2, in: [], shapes: [] });
  for (let i = 0; i < 5; i++) graph.add({ time: 0, flags: MADE, node: i + 1, out: 3 + i, in: [2 + i], shapes: [[1]] });
  const far = graph.add({ time: 0, flags: MADE, node: 9, out: 20, in: [7, 1], shapes: [[1], [9]] });
  assert.deepEqual(graph.chips[far], [{ tensor: 1, shape: [9], leaf: true }]);
  const step = graph.add({ time: 0, flags: OPTIMISER, node: 0, out: 0, in: [1], shapes: [[9]] });
  assert.equal(graph.rank[step], -1);
});

test('a row that is full goes on in the next', () => {
  const graph = new Graph();
  graph.add({ time: 0, flags: 0, node: 0, out: 1, in: [], shapes: [] });
  for (let i = 0; i < 5000; i++) graph.add({ time: 0, flags: 0, node: 0, out: 2 + i, in: [1], shapes: [[1]] });
  assert.ok(graph.right < 20);
  assert.equal(new Set(places(graph).map(String)).size, graph.length);
});

test('a thousand nodes are placed within a frame', () => {
  const ops = graphOps(11_000).map(placed);
  const graph = new Graph();
  for (const op of ops.slice(0, ops.length - 1000)) graph.add(op);
  const begin = performance.now();
  for (const op of ops.slice(ops.length - 1000)) graph.add(op);
  const ms = performance.now() - begin;
  console.log(`# 1000 nodes added to ${graph.length - 1000} in ${ms.toFixed(1)} ms (aim: 16)`);
  assert.ok(ms < 160);
});

test('a timeline knows what held at a time, and forgets', () => {
  const line = new Timeline();
  for (let time = 0; time < 10; time++) line.push({ time });
  assert.equal(line.at(4.5).time, 4);
  assert.equal(line.at(-1), undefined);
  line.forget(6.5);
  assert.equal(line.items[0].time, 6);
});

const bin = (array) => new Uint8Array(array.buffer);
const f64 = (...values) => bin(Float64Array.from(values));
const memory = (times, used) => ['mem', 1, 0, times.length, f64(...times), f64(...used), f64(...used), f64(...used), f64(...used.flatMap((u) => [u - 1, 1])), 2,
  bin(Uint32Array.from([5, 6])), f64(...used.flatMap((u) => [3, u - 3]))];

test('state: samples of a second connection join those of the first; a new life follows the old', () => {
  const hello = { version: '1', device: 'cpu', description: '', limit: 100, life: 1, pid: 9, unix_ms: 1_000_000, classes: ['a', 'b'], hz: 30 };
  state.take(['hello', 1, 0, hello]);
  state.take(memory([1000, 2000], [10, 20]));
  state.take(['hello', 1, 0, hello]);
  state.take(memory([1000, 2000, 3000], [10, 20, 30]));
  assert.deepEqual(state.memory.items.map((s) => s.used), [10, 20, 30]);
  assert.deepEqual(Array.from(state.memory.last.classes), [29, 1]);
  assert.deepEqual(Array.from(state.memory.last.users), [3, 27]);
  state.take(['end', 2, 0, 'signal 9']);
  state.take(['nonsense of a newer server', 3, 0, {}]);
  state.take(['hello', 4, 0, { ...hello, life: 2, pid: 10, unix_ms: 1_000_500 }]);
  assert.equal(state.restarts.length, 1);
  assert.equal(state.restarts[0].cause, 'signal 9');
  state.take(memory([1000], [7]));
  assert.equal(state.memory.last.time, 501);
  assert.equal(state.memory.at(400).used, 30);
});

test('state: ops are found by time and session, and bounded', () => {
  const ops = graphOps(100);
  state.take(['op', 5, 0, ...opMessage(ops, (i) => 2000 + i)]);
  const newest = state.opsBefore(state.now, 9, 3);
  assert.equal(newest.length, 3);
  assert.ok(newest[0].time > newest[2].time);
  assert.deepEqual(newest[0].shape, ops[ops.length - 1].dims);
  assert.equal(state.neighbour(newest[2].time, 9, true), newest[1].time);
  assert.equal(state.neighbour(newest[1].time, 9, false), newest[2].time);
  for (let second = 1; second < 200; second++) state.take(['op', 5, 0, ...opMessage(ops.slice(0, 2), (i) => second * 1e6 + i)]);
  assert.ok(state.batches.items.length < 75);
});

test('state: another device begins with nothing of the one before, and what was on its way is dropped', () => {
  const sent = [];
  state.send = (message) => sent.push(message);
  const hello = { version: '1', device: 'cuda:0', index: 0, description: '', limit: 100, life: 2, pid: 10, unix_ms: 1_000_500, classes: ['a', 'b'], hz: 30 };
  const stat = (devices) => ['stat', 9, 1e6, { ops_s: 1, requests_s: 1, devices }];
  state.take(stat([['cuda:0', 5, 100], ['cuda:1', 50, 100]]));
  assert.deepEqual(state.devices.map(([name]) => name), ['cuda:0', 'cuda:1']);
  state.pause(state.now);
  state.watch(1);
  assert.deepEqual(sent, [['device', 1]]);
  assert.equal(state.paused, null);
  state.take(memory([4000], [9]));
  state.take(['end', 9, 0, 'of the other']);
  assert.equal(state.memory.last, undefined);
  assert.equal(state.end, null);
  state.take(['hello', 10, 0, { ...hello, device: 'cuda:1', index: 1, life: 3, pid: 11, unix_ms: 5_000_000 }]);
  state.take(memory([1000], [7]));
  assert.equal(state.life.hello.device, 'cuda:1');
  assert.equal(state.memory.last.used, 7);
  assert.equal(state.restarts.length, 0); // it is no restart
  state.connected(); // a new connection, which begins with the first device
  assert.deepEqual(sent.at(-1), ['device', 1]);
  state.take(['hello', 1, 0, hello]);
  state.take(memory([9000], [99]));
  assert.equal(state.life.hello.device, 'cuda:1');
  assert.equal(state.memory.last.used, 7);
  state.take(stat([['cuda:0', 5, 100]])); // the daemon was started anew with one
  assert.deepEqual([state.device, sent.at(-1)], [0, ['device', 0]]);
});
