// What the page knows: lives of the worker and what happened in them, for a little more than a minute.
// Times are in ms since `epoch`, the wall time at which the first life seen began: small numbers keep their fractions.
// SPDX-License-Identifier: Apache-2.0
import { sampled, touch } from './frame';
import * as wire from './message';
import { Steps } from './steps';
import { Timeline } from './timeline';

export const MINUTE = 60_000;
const KEPT = MINUTE + 10_000;
const OPS_BYTES = 64 * 1024 * 1024; // of columns; more than a minute at the feed's usual rate
const LEAVES = 20_000; // parameters remembered of a session
const FAILURES = 500;

/** What is known of a session through its ops. */
export class Track {
  readonly steps = new Steps();
  readonly leaves = new Map<number, true>();
  lastNode = -Infinity; // when it last made a node of the tape
}

/** A worker's life. Numbers of sessions, strings and tensors mean something within one only. */
export class Life {
  readonly strings: string[] = [''];
  readonly tracks = new Map<number, Track>();
  readonly programs = new Map<number, string>();

  constructor(readonly hello: wire.Hello, readonly offset: number) {}

  track(session: number): Track {
    let track = this.tracks.get(session);
    if (!track) this.tracks.set(session, (track = new Track()));
    return track;
  }

  string(id: unknown): string {
    return typeof id === 'string' ? id : (this.strings[id as number] ?? '');
  }
}

export interface Memory {
  time: number;
  life: Life;
  t_us: number;
  used: number;
  reserved: number;
  peak: number;
  classes: Float64Array;
  uids: Uint32Array;
  users: Float64Array;
}

export interface Sessions {
  time: number;
  life: Life;
  rows: wire.Session[];
}

export interface Stat {
  time: number;
  stat: wire.Stat;
}

export interface Failure {
  time: number;
  life: Life;
  session: number;
  request: number;
  op: number;
  site: string;
  code: unknown;
  message: string;
}

/** The ops of one message, as columns: they become objects only when they are looked at. */
export interface Batch {
  time: number; // of its first op
  serial: number;
  life: Life;
  columns: wire.OpColumns;
  times: Float64Array;
  step: Uint32Array;
  bytes: number;
}

export interface Op {
  time: number;
  life: Life;
  session: number;
  request: number;
  op: number;
  dtype: number;
  flags: number;
  site: number;
  duration: number; // us; 0 where it was too short to be timed
  node: number;
  out: number;
  bytes: number;
  step: number;
  in: Uint32Array;
  shape: number[];
  shapes: number[][];
}

export type Connection = 'connecting' | 'open' | 'lost' | 'denied';

class State {
  epoch = 0;
  life: Life | null = null;
  /** How the worker ended, until the next life begins. */
  end: string | null = null;
  memory = new Timeline<Memory>();
  sessions = new Timeline<Sessions>();
  stats = new Timeline<Stat>();
  batches = new Timeline<Batch>();
  failures = new Timeline<Failure>();
  restarts: { time: number; cause: string | null }[] = [];
  names = new Map<number, { name: string; kind: string }>();
  connection: Connection = 'connecting';
  /** The device that is watched, as the server counts them, and what is known of each. */
  device = 0;
  devices: [name: string, used: number, limit: number][] = [];
  /** The newest time that the feed has told of. */
  now = 0;
  /** The time that is looked at while paused. */
  paused: number | null = null;
  /** When the pause began: what was known then is kept while it lasts. */
  pausedAt = 0;
  /** The session that the user chose; 0: none. */
  followed = 0;
  /** The session whose graph is shown while none is chosen. */
  automatic = 0;
  lostRecords = 0;
  skippedMessages = 0;
  /** The op looked at in detail. */
  selected: Op | null = null;
  /** Tells the server something; set by the feed. */
  send: (message: unknown[]) => void = () => {};
  private serial = 0;
  private opsBytes = 0;
  private feedPaused = false;
  /** What comes is of another device than the one that is watched now. */
  private foreign = false;

  /** The time that all views show. */
  get time(): number {
    return this.paused ?? this.now;
  }

  get session(): number {
    return this.followed || this.automatic;
  }

  /** Wall time of a time of ours, in ms. */
  wall(time: number): number {
    return this.epoch + time;
  }

  opName(op: number): string {
    return this.names.get(op)?.name ?? `op ${op}`;
  }

  take(message: unknown[]): void {
    const t_us = message[2] as number;
    if (message[0] === 'stat') this.takeDevices((message[3] as wire.Stat).devices ?? []);
    if (message[0] === 'hello') this.foreign = ((message[3] as wire.Hello).index ?? 0) !== this.device;
    if (this.foreign) return;
    switch (message[0]) {
      case 'hello':
        this.begin(message[3] as wire.Hello);
        break;
      case 'end':
        this.end = String(message[3] ?? '');
        break;
      case 'str':
        (message[4] as string[]).forEach((text, i) => this.life && (this.life.strings[(message[3] as number) + i] = text));
        break;
      case 'mem':
        this.takeMemory(message);
        break;
      case 'sess':
        this.takeSessions(t_us, message[3] as unknown[][]);
        break;
      case 'op':
        this.takeOps(wire.opColumns(message));
        break;
      case 'err':
        this.takeFailure(t_us, message);
        break;
      case 'gap':
        this.lostRecords += (message[3] as number) || 0;
        for (const track of this.life?.tracks.values() ?? []) track.steps.gap();
        break;
      case 'stat':
        if (this.life) this.stats.push({ time: this.life.offset + t_us / 1000, stat: message[3] as wire.Stat });
        break;
      default:
        return; // of a newer server
    }
    this.forget();
    touch();
  }

  pause(time: number | null): void {
    if (time === null) {
      if (this.paused === null) return;
      this.paused = null;
      this.stopFeed(false);
    } else {
      if (this.paused === null) this.pausedAt = this.now;
      this.paused = Math.max(this.oldest, Math.min(time, this.now));
    }
    touch(true);
  }

  /** The oldest time that can be looked at. */
  get oldest(): number {
    return (this.paused === null ? this.now : this.pausedAt) - MINUTE;
  }

  follow(session: number): void {
    this.followed = session;
    this.selected = null;
    this.send(['follow', session]);
    touch(true);
  }

  /** Watches another device: nothing of the one before holds there. */
  watch(device: number): void {
    if (device === this.device) return;
    this.device = device;
    this.foreign = true; // what is on its way
    this.life = this.end = this.paused = this.selected = null;
    this.memory = new Timeline();
    this.sessions = new Timeline();
    this.stats = new Timeline();
    this.batches = new Timeline();
    this.failures = new Timeline();
    this.restarts = [];
    this.now = this.opsBytes = this.followed = this.automatic = 0;
    this.stopFeed(false);
    this.send(['device', device]);
    touch(true);
  }

  stopFeed(stop: boolean): void {
    if (stop === this.feedPaused) return;
    this.feedPaused = stop;
    this.send(['pause', stop]);
  }

  get feedStopped(): boolean {
    return this.feedPaused;
  }

  /** What the server must be told again on a new connection. */
  connected(): void {
    this.feedPaused = false;
    if (this.device > 0) this.send(['device', this.device]);
    if (this.followed) this.send(['follow', this.followed]);
  }

  op(batch: Batch, i: number): Op {
    const c = batch.columns;
    const shapes: number[][] = [];
    for (let j = c.inAt[i]!; j < c.inAt[i + 1]!; j++) shapes.push(Array.from(c.inDims.subarray(c.inDimsAt[j]!, c.inDimsAt[j + 1]!)));
    return {
      time: batch.times[i]!,
      life: batch.life,
      session: c.session[i]!,
      request: c.request[i]!,
      op: c.op[i]!,
      dtype: c.dtype[i]!,
      flags: c.flags[i]!,
      site: c.site[i]!,
      duration: c.duration[i]!,
      node: c.node[i]!,
      out: c.out[i]!,
      bytes: c.bytes[i]!,
      step: batch.step[i]!,
      in: c.in.subarray(c.inAt[i]!, c.inAt[i + 1]!),
      shape: Array.from(c.dims.subarray(c.dimsAt[i]!, c.dimsAt[i + 1]!)),
      shapes,
    };
  }

  /** The newest ops that are not later than `time`, newest first; of one session, or of all for 0. */
  opsBefore(time: number, session: number, most: number): Op[] {
    const found: Op[] = [];
    for (let b = this.batches.index(time); b >= 0 && found.length < most; b--) {
      const batch = this.batches.items[b]!;
      for (let i = batch.times.length - 1; i >= 0 && found.length < most; i--) {
        if (batch.times[i]! <= time && (session === 0 || batch.columns.session[i] === session)) found.push(this.op(batch, i));
      }
    }
    return found;
  }

  /** The time of the next op after `time`, or of the one before it; null if there is none. */
  neighbour(time: number, session: number, forward: boolean): number | null {
    const { items } = this.batches;
    const start = Math.max(0, this.batches.index(time));
    for (let b = start; b >= 0 && b < items.length; b += forward ? 1 : -1) {
      const { times, columns } = items[b]!;
      for (let k = 0; k < times.length; k++) {
        const i = forward ? k : times.length - 1 - k;
        if (session !== 0 && columns.session[i] !== session) continue;
        if (forward ? times[i]! > time : times[i]! < time) return times[i]!;
      }
    }
    return null;
  }

  failureOf(op: { life: Life; session: number; request: number }): Failure | undefined {
    const { items } = this.failures;
    for (let i = items.length - 1; i >= 0; i--) {
      const f = items[i]!;
      if (f.life === op.life && f.session === op.session && f.request === op.request) return f;
    }
    return undefined;
  }

  private begin(hello: wire.Hello): void {
    const old = this.life;
    if (!old) this.epoch = hello.unix_ms;
    const same = old && old.hello.life === hello.life && old.hello.pid === hello.pid && old.hello.unix_ms === hello.unix_ms;
    if (same) {
      // A new connection to what we know: only what happened in between is missing.
      for (const track of old.tracks.values()) track.steps.gap();
      return;
    }
    // Time goes on, even where the machine's clock was set back between two lives.
    this.life = new Life(hello, Math.max(hello.unix_ms - this.epoch, this.now));
    if (old) {
      this.now = this.life.offset;
      if (this.followed) this.send(['follow', 0]);
      this.restarts = [...this.restarts.slice(-9), { time: this.life.offset, cause: this.end }];
      this.followed = 0;
      if (this.paused === null) this.selected = null;
    }
    this.automatic = 0;
    this.end = null;
  }

  /** A daemon that was started anew may have fewer. */
  private takeDevices(devices: [string, number, number][]): void {
    this.devices = devices;
    if (this.device > 0 && this.device >= devices.length) this.watch(0);
  }

  private takeMemory(message: unknown[]): void {
    const { life } = this;
    if (!life) return;
    const c = wire.memoryColumns(message);
    const kinds = life.hello.classes.length;
    const users = c.uids.length;
    const before = this.memory.last?.time ?? -Infinity;
    for (let i = 0; i < c.n; i++) {
      const time = life.offset + c.times[i]! / 1000;
      if (time <= before) continue; // known from the connection before
      this.memory.push({
        time,
        life,
        t_us: c.times[i]!,
        used: c.used[i]!,
        reserved: c.reserved[i]!,
        peak: c.peak[i]!,
        classes: c.classes.subarray(i * kinds, (i + 1) * kinds),
        uids: c.uids,
        users: c.users.subarray(i * users, (i + 1) * users),
      });
      this.saw(time);
    }
    if (c.n === 1) sampled(this.wall(life.offset + c.times[0]! / 1000));
  }

  private takeSessions(t_us: number, rows: unknown[][]): void {
    const { life } = this;
    if (!life) return;
    const time = life.offset + t_us / 1000;
    const sessions = rows.map(wire.session);
    for (const row of sessions) life.programs.set(row.number, row.program);
    this.sessions.push({ time, life, rows: sessions });
    this.saw(time);
  }

  private takeOps(columns: wire.OpColumns): void {
    const { life } = this;
    if (!life || columns.n === 0) return;
    const { n } = columns;
    const times = new Float64Array(n);
    const step = new Uint32Array(n);
    let number = 0;
    let track: Track | undefined;
    for (let i = 0; i < n; i++) {
      const time = life.offset + columns.t_us[i]! / 1000;
      const flags = columns.flags[i]!;
      if (columns.session[i] !== number || !track) track = life.track((number = columns.session[i]!));
      times[i] = time;
      step[i] = track.steps.add(flags, time);
      if (flags & wire.LEAF && track.leaves.size < LEAVES) track.leaves.set(columns.out[i]!, true);
      else if (track.leaves.size > 0 && !(flags & wire.IN_PLACE)) track.leaves.delete(columns.out[i]!);
      if (flags & wire.MADE_NODE) track.lastNode = time;
    }
    let bytes = times.byteLength + step.byteLength;
    for (const value of Object.values(columns)) if (typeof value !== 'number') bytes += value.byteLength;
    this.batches.push({ time: times[0]!, serial: this.serial++, life, columns, times, step, bytes });
    this.opsBytes += bytes;
    this.saw(times[n - 1]!);
    sampled(this.wall(times[n - 1]!));
    this.choose(life);
  }

  /** Without a choice of the user's the graph is that of a session that makes nodes, and stays with it while it does. */
  private choose(life: Life): void {
    const current = life.tracks.get(this.automatic);
    if (current && this.now - current.steps.lastTime < 5000) return;
    let best = this.automatic;
    let value = current ? Math.max(current.lastNode, current.steps.lastTime - MINUTE) : -Infinity;
    for (const [number, track] of life.tracks) {
      const worth = Math.max(track.lastNode, track.steps.lastTime - MINUTE);
      if (worth > value) [best, value] = [number, worth];
    }
    this.automatic = best;
  }

  private takeFailure(t_us: number, message: unknown[]): void {
    const { life } = this;
    if (!life) return;
    const [session, request, op, site, code, text] = message.slice(3) as [number, number, number, unknown, unknown, string];
    const time = life.offset + t_us / 1000;
    this.failures.push({ time, life, session, request, op, site: life.string(site), code, message: String(text) });
    if (this.failures.items.length > FAILURES) this.failures.items.shift();
    this.saw(time);
  }

  private saw(time: number): void {
    if (time > this.now) this.now = time;
    // A pause keeps its minute, and takes in one more; then the feed rests.
    if (this.paused !== null && this.now - this.pausedAt > MINUTE) this.stopFeed(true);
  }

  private forget(): void {
    const horizon = (this.paused === null ? this.now : Math.min(this.now, this.pausedAt)) - KEPT;
    for (const line of [this.memory, this.sessions, this.stats, this.failures]) line.forget(horizon);
    const { items } = this.batches;
    let gone = 0;
    while (gone < items.length - 1 && (items[gone + 1]!.time < horizon || this.opsBytes > OPS_BYTES)) {
      this.opsBytes -= items[gone]!.bytes;
      gone++;
    }
    if (gone > 0) items.splice(0, gone);
    const { life } = this;
    const open = this.sessions.last;
    if (life && open && life.tracks.size > 2 * open.rows.length + 64) {
      const known = new Set(open.rows.map((row) => row.number));
      for (const number of life.tracks.keys()) {
        if (known.has(number)) continue;
        life.tracks.delete(number);
        life.programs.delete(number);
      }
    }
  }
}

export const state = new State();
