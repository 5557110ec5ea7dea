// A server that plays a scripted session to the page, as web/README.md describes the feed: several users, one MLP trained
// step by step so that each op can be seen, one trained fast, an error, the worker's end and its new life.
// Content follows from the tick alone, so that two runs draw the same. Run by itself it prints its address.
// SPDX-License-Identifier: Apache-2.0
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decode, encode } from '@msgpack/msgpack';
import { WebSocketServer } from 'ws';

export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:";
const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CLASSES = ['tensors', 'saved', 'gradients', 'scratch', 'programs'];
const OPS = {
  from: [32, 'create'], randn: [38, 'random'], zeros: [33, 'create'], transpose: [42, 'view'], reshape: [40, 'view'], fill_: [50, 'in place'],
  add_: [51, 'in place'], tanh: [63, 'fresh'], relu: [64, 'fresh'], exp: [61, 'fresh'], add: [70, 'fresh'], sub: [71, 'fresh'],
  mul: [72, 'fresh'], gt: [84, 'fresh'], sum: [100, 'fresh'], mean: [101, 'fresh'], matmul: [110, 'fresh'], softmax: [187, 'fresh'],
  gelu: [174, 'fresh'], cross_entropy: [121, 'fresh'], sgd_step_: [140, 'step'],
};
const MADE = 1, BACKWARD = 2, FAILED = 4, VIEW = 8, LEAF = 32, THREAD = 64, OPTIMISER = 128;
const F32 = 9, I64 = 6;

const elements = (shape) => shape.reduce((a, b) => a * b, 1);
const bin = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** One program: emits ops as plain objects. */
class Program {
  constructor(number, name, sites) {
    Object.assign(this, { number, name, sites, tensor: 0, node: 0, request: 0, ops: [], shapes: new Map(), total: 0, seed: number * 7919 });
  }

  random() {
    this.seed = (Math.imul(this.seed, 1103515245) + 12345) >>> 0;
    return (this.seed >>> 8) / (1 << 24);
  }

  op(name, inputs, shape, { flags = 0, node = 0, site = 1, dtype = F32, out = true, us } = {}) {
    const tensor = out ? ++this.tensor : 0;
    if (flags & MADE) node = ++this.node;
    if (out) this.shapes.set(tensor, shape);
    const work = name === 'matmul' ? 90 + elements(shape) / 250 : name === 'cross_entropy' ? 60 : 12;
    this.ops.push({
      session: this.number, request: ++this.request, op: OPS[name][0], dtype, flags, site: this.sites[site - 1] ?? 0,
      duration: flags & VIEW ? 0 : us ?? work * (0.8 + 0.4 * this.random()), node, out: tensor, bytes: flags & VIEW || !out ? 0 : elements(shape) * (dtype === I64 ? 8 : 4),
      in: inputs, dims: shape, inDims: inputs.map((i) => this.shapes.get(i) ?? [1]),
    });
    return tensor;
  }

  made(name, inputs, shape, options = {}) {
    const out = this.op(name, inputs, shape, { ...options, flags: MADE | (options.flags ?? 0) });
    return [out, this.node];
  }

  parameters() {
    const leaf = (shape, site) => this.op('randn', [], shape, { flags: LEAF, site });
    this.p = { w1: leaf([784, 128], 1), b1: leaf([128], 1), w2: leaf([128, 10], 2), b2: leaf([10], 2) };
  }

  /** A step of an MLP: forward, backward, SGD. */
  step() {
    if (!this.p) this.parameters();
    const { w1, b1, w2, b2 } = this.p;
    const x = this.op('from', [], [64, 784], { site: 3 });
    const y = this.op('from', [], [64], { site: 3, dtype: I64 });
    const [m1, n1] = this.made('matmul', [x, w1], [64, 128], { site: 4, flags: THREAD });
    const [a1, n2] = this.made('add', [m1, b1], [64, 128], { site: 4 });
    const [h, n3] = this.made('relu', [a1], [64, 128], { site: 4 });
    const [m2, n4] = this.made('matmul', [h, w2], [64, 10], { site: 5 });
    const [z, n5] = this.made('add', [m2, b2], [64, 10], { site: 5 });
    const [, n6] = this.made('cross_entropy', [z, y], [], { site: 6 });
    const back = (name, inputs, shape, node, site, flags = 0) => this.op(name, inputs, shape, { flags: BACKWARD | flags, node, site });
    const s = back('softmax', [z], [64, 10], n6, 6);
    const gz = back('sub', [s, y], [64, 10], n6, 6);
    back('sum', [gz], [10], n5, 5);
    const w2t = back('transpose', [w2], [10, 128], n4, 5, VIEW);
    const gh = back('matmul', [gz, w2t], [64, 128], n4, 5);
    const ht = back('transpose', [h], [128, 64], n4, 5, VIEW);
    back('matmul', [ht, gz], [128, 10], n4, 5);
    const mask = back('gt', [h], [64, 128], n3, 4);
    const ga = back('mul', [gh, mask], [64, 128], n3, 4);
    back('sum', [ga], [128], n2, 4);
    const xt = back('transpose', [x], [784, 64], n1, 4, VIEW);
    back('matmul', [xt, ga], [784, 128], n1, 4);
    this.op('sgd_step_', [w1, b1, w2, b2], [], { flags: OPTIMISER, site: 7, out: false, us: 41 });
  }

  /** Residual blocks, forward and backward, until there are `count` ops: a graph of a size. */
  blocks(count) {
    let x = this.op('from', [], [32, 64, 256], { site: 3 });
    const layers = [];
    const start = this.ops.length;
    while (this.ops.length - start < count * 0.42) {
      const [q] = this.made('matmul', [x], [32, 64, 256]);
      const [k] = this.made('matmul', [x], [32, 64, 256]);
      const [v] = this.made('matmul', [x], [32, 64, 256]);
      const [s] = this.made('matmul', [q, k], [32, 64, 64]);
      const [a, na] = this.made('softmax', [s], [32, 64, 64]);
      const [o, no] = this.made('matmul', [a, v], [32, 64, 256]);
      const [r, nr] = this.made('add', [x, o], [32, 64, 256]);
      layers.push([q, k, v, s, a, o, na, no, nr]);
      x = r;
    }
    let g = this.op('fill_', [x], [32, 64, 256], { flags: BACKWARD, node: this.node });
    while (this.ops.length - start < count - 1) {
      const layer = layers.pop();
      if (!layer) break;
      const [q, k, v, , a, , na, no, nr] = layer;
      const back = (name, inputs, node) => this.op(name, inputs, [32, 64, 256], { flags: BACKWARD, node });
      const go = back('mul', [g], nr);
      const gv = back('matmul', [a, go], no);
      const ga = back('matmul', [go, v], no);
      const gs = back('mul', [ga, a], na);
      const gq = back('matmul', [gs, k], na);
      const gk = back('matmul', [gs, q], na);
      const sum = back('add', [gq, gk], nr);
      g = back('add', [sum, gv], nr);
    }
  }

  take() {
    const { ops } = this;
    this.ops = [];
    this.total += ops.length;
    return ops;
  }
}

/** One `op` message's columns. */
export function opMessage(ops, timeOf) {
  const inAt = [0], ins = [], dimsAt = [0], dims = [], inDimsAt = [0], inDims = [];
  for (const op of ops) {
    ins.push(...op.in);
    inAt.push(ins.length);
    dims.push(...op.dims);
    dimsAt.push(dims.length);
    for (const shape of op.inDims) {
      inDims.push(...shape);
      inDimsAt.push(inDims.length);
    }
  }
  const of = (Type, key) => bin(Type.from(ops, (op) => op[key]));
  const u32 = (list) => bin(Uint32Array.from(list));
  return [
    ops.length, of(Uint32Array, 'session'), of(Uint32Array, 'request'), of(Uint16Array, 'op'), of(Uint8Array, 'dtype'), of(Uint16Array, 'flags'),
    of(Uint32Array, 'site'), bin(Float64Array.from(ops, (_, i) => timeOf(i))), of(Float32Array, 'duration'), of(Uint32Array, 'node'),
    of(Uint32Array, 'out'), of(Float64Array, 'bytes'), u32(inAt), u32(ins), u32(dimsAt), u32(dims), u32(inDimsAt), u32(inDims),
  ];
}

export class Mock {
  /** `story`: errors and a restart come by themselves; `fast`: a program trains fast; `pace`: ticks for each op of the slow
   * one; `still`: nobody computes; `devices`: how many there are, all with the same to show. */
  constructor({ denied = false, story = true, fast = true, pace = 2, still = false, devices = 1 } = {}) {
    Object.assign(this, { denied, story, fast, pace, still, devices });
    this.clients = new Set();
    this.samples = new Map(); // t_us -> what was sent: what the page must show to the byte
    this.acks = 0;
    this.heard = [];
    this.life = 0;
    this.live();
  }

  live() {
    this.life++;
    this.tick = 0;
    this.began = Date.now();
    this.origin = performance.now();
    this.ended = false;
    this.peak = 0;
    this.history = [];
    this.strings = ['train.c:18', 'train.c:19', 'train.c:27', 'train.c:29', 'train.c:30', 'train.c:31', 'train.c:34',
      'charlm.c:88', 'charlm.c:91', 'charlm.c:120', 'charlm.c:124', 'charlm.c:125', 'charlm.c:131', 'charlm.c:140', 'lesson.c:12'];
    this.slow = new Program(3, 'train', [1, 2, 3, 4, 5, 6, 7]);
    this.quick = new Program(5, 'charlm', [8, 9, 10, 11, 12, 13, 14]);
    this.lesson = new Program(7, 'lesson', [15]);
    this.queue = [];
  }

  now() {
    return (performance.now() - this.origin) * 1000;
  }

  async listen(port = 0) {
    this.server = createServer((request, response) => void this.answer(request, response));
    const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'tensord.dash.1' });
    this.server.on('upgrade', (request, socket, head) => {
      if (request.url !== '/live' || this.denied || this.away) {
        socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(request, socket, head, (ws) => this.join(ws));
    });
    await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    this.timer = setInterval(() => this.beat(), 33);
    return this;
  }

  async close() {
    clearInterval(this.timer);
    this.drop();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async answer(request, response) {
    const path = new URL(request.url, 'http://x').pathname;
    const headers = { 'content-security-policy': CSP, 'x-content-type-options': 'nosniff', 'cache-control': 'no-cache' };
    const say = (status, type, body) => response.writeHead(status, { ...headers, 'content-type': type }).end(body);
    if (path === '/live') return say(this.denied ? 401 : 426, 'text/plain', '');
    if (path === '/ops.json') return say(200, 'application/json', JSON.stringify(Object.entries(OPS).map(([name, [id, kind]]) => ({ id, name, kind }))));
    try {
      const name = path === '/' ? 'index.html' : path.slice(1).replaceAll('/', '');
      say(200, TYPES[extname(name)] ?? 'application/octet-stream', await readFile(DIST + name));
    } catch {
      say(404, 'text/plain', '');
    }
  }

  join(ws) {
    const client = { ws, seq: 0, follow: 0, paused: false, device: 0 };
    this.clients.add(client);
    ws.on('close', () => this.clients.delete(client));
    ws.on('message', (data) => {
      const message = decode(data);
      if (message[0] === 'ack') this.acks = Math.max(this.acks, message[1]);
      else this.heard.push(message);
      if (message[0] === 'follow') client.follow = message[1];
      if (message[0] === 'pause') client.paused = message[1];
      if (message[0] === 'device' && message[1] < this.devices) {
        client.device = message[1];
        client.follow = 0;
        this.greet(client);
      }
    });
    this.greet(client);
  }

  greet(client) {
    this.send(client, 'hello', {
      version: '1.0.0', device: this.devices > 1 ? `cuda:${client.device}` : 'cpu', index: client.device, description: '2 cores, AVX-512', limit: 256 * 1024 * 1024, life: this.life, pid: 4100 + this.life,
      unix_ms: this.began, classes: CLASSES, hz: 30,
    });
    this.send(client, 'str', 1, this.strings);
    if (this.history.length > 0) this.send(client, 'mem', ...this.memoryMessage(this.history));
  }

  send(client, type, ...rest) {
    if (client.ws.readyState === 1) client.ws.send(encode([type, ++client.seq, this.now(), ...rest]));
  }

  all(type, ...rest) {
    for (const client of this.clients) if (!client.paused) this.send(client, type, ...rest);
  }

  drop() {
    for (const { ws } of this.clients) ws.terminate();
  }

  /** The worker ends; its next life begins with the next `rise`. */
  end(cause) {
    this.ended = true;
    this.all('end', cause);
  }

  rise() {
    this.samples.clear();
    this.live();
    for (const client of this.clients) this.greet(client);
  }

  /** An op of the lesson fails. */
  fail() {
    const p = this.lesson;
    const a = p.op('zeros', [], [3, 4]);
    const b = p.op('zeros', [], [5, 6]);
    p.op('matmul', [a, b], [], { flags: FAILED });
    const { request } = p.ops[p.ops.length - 1];
    this.ops(p.take());
    this.all('err', 7, request, OPS.matmul[0], 15, 3, 'matmul: the inner sizes differ: [3,4] and [5,6]');
  }

  ops(list) {
    if (list.length === 0) return;
    const now = this.now();
    const span = Math.min(30_000, list.length * 300);
    for (const client of this.clients) {
      const wanted = client.follow ? list.filter((op) => op.session === client.follow) : list;
      if (wanted.length > 0 && !client.paused) {
        this.send(client, 'op', ...opMessage(wanted, (i) => now - span + ((i + 1) * span) / wanted.length));
      }
    }
  }

  sample() {
    const k = this.tick;
    const wave = (period, phase) => 0.5 + 0.5 * Math.sin(((k + phase) / period) * 2 * Math.PI);
    const users = [
      [0, 786_432],
      [1000, Math.round(28e6 + 9e6 * wave(75, 0)) + (k % 75 > 40 ? 8_126_464 : 0)],
      [1001, Math.round(61e6 + 3e6 * wave(11, 4) + Math.min(k, 600) * 21_000)],
      [1002, k > 120 ? 17_301_504 + (k % 200 > 140 ? 12_582_912 : 0) : 1_048_576],
    ];
    const used = users.reduce((all, [, bytes]) => all + bytes, 0);
    const saved = Math.round(used * (0.16 + 0.1 * wave(75, 10)));
    const gradients = Math.round(used * 0.12 * wave(75, 40));
    const scratch = Math.round(used * 0.03);
    const programs = 1_572_864;
    this.peak = Math.max(this.peak, used);
    return {
      t: this.now(), used, reserved: 192 * 1024 * 1024, peak: this.peak, users,
      classes: [used - saved - gradients - scratch - programs, saved, gradients, scratch, programs],
    };
  }

  memoryMessage(list) {
    const f64 = (values) => bin(Float64Array.from(values));
    const uids = list[0].users.map(([uid]) => uid);
    return [
      list.length, f64(list.map((s) => s.t)), f64(list.map((s) => s.used)), f64(list.map((s) => s.reserved)), f64(list.map((s) => s.peak)),
      f64(list.flatMap((s) => s.classes)), uids.length, bin(Uint32Array.from(uids)), f64(list.flatMap((s) => s.users.map(([, bytes]) => bytes))),
    ];
  }

  sessions() {
    const k = this.tick;
    const t = this.now();
    const row = (number, uid, program, opened, closed, requests, ops, bytes, tensors, nodes, device, state, p50, p99) =>
      [number, uid, 2000 + number, program, opened, closed, requests, ops, bytes, tensors, nodes, device, state, p50, p99, p99 * 3];
    return [
      row(2, 0, 'tensorctl', 0, 0, 40 + Math.floor(t / 4e5), 4, 786_432, 3, 0, t * 0.001, 0, 9.8, 31),
      row(3, 1000, 'train', 1e5, 0, this.slow.total * 2, this.slow.total, 37_748_736, 42, this.slow.ops.length % 7, t * 0.03, k % 30 < 15 ? 1 : 0, 41, 1180),
      row(5, 1001, 'charlm', 2e5, 0, this.quick.total * 1.2, this.quick.total * 40, 65_011_712, 318, 96, t * 0.62, 2, 12.4, 96),
      row(7, 1002, 'lesson', 3e5, 0, this.lesson.total, this.lesson.total, 17_301_504, 9, 3, t * 0.002, 0, 88, 240),
      row(6, 1002, 'hello', 2.5e5, 1, 31, 12, 0, 0, 0, 900, 3, 14, 60),
    ];
  }

  beat() {
    if (this.ended) return;
    this.tick++;
    const k = this.tick;
    if (!this.still && this.queue.length === 0 && k % 3 === 0) {
      this.slow.step();
      this.queue = this.slow.take();
    }
    let list = k % this.pace === 0 ? this.queue.splice(0, 1) : [];
    if (this.fast && !this.still && k > 20) {
      for (let i = 0; i < 4; i++) this.quick.step();
      list = [...this.quick.take(), ...list];
    }
    this.ops(list);
    if (k % 3 === 0) {
      const sample = this.sample();
      this.history.push(sample);
      if (this.history.length > 600) this.history.shift();
      this.samples.set(sample.t, sample);
      this.all('mem', ...this.memoryMessage([sample]));
    }
    if (k % 15 === 0) {
      this.all('sess', this.sessions());
      this.all('stat', {
        ops_s: this.fast ? 118_400 + (k % 90) * 100 : 31, requests_s: 4200 + (k % 60), bytes_in_s: 2.1e6, bytes_out_s: 4e4, busy: 0.64 + 0.1 * Math.sin(k / 40),
        heartbeat_age_ms: 12, viewers: this.clients.size,
        power_watts: 312.4, power_limit_watts: 700, temperature_celsius: 51, clock_hertz: 1.98e9, memory_clock_hertz: -1, busy_ratio: 0.64, used_bytes: 5e9,
        devices: Array.from({ length: this.devices }, (_, i) => [`cuda:${i}`, (i + 1) * 6.4e7, 256 * 1024 * 1024]),
      });
      if (this.fast && k % 60 === 0) this.all('gap', 1280, 81_920);
    }
    if (this.story && k % 400 === 220) this.fail();
    if (this.story && k === 1500) {
      this.end('signal 11 in matmul (session 7)');
      setTimeout(() => this.rise(), 1500);
    }
  }
}

export function graphOps(count) {
  const program = new Program(9, 'large', [4]);
  program.blocks(count);
  return program.take();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await new Mock().listen(Number(process.env.PORT ?? 0));
  console.log(mock.url);
}
