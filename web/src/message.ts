// The feed's messages as values: columns of little-endian numbers become typed arrays.
// SPDX-License-Identifier: Apache-2.0

export interface Hello {
  version: string;
  device: string;
  /** Of the device, as the server counts them. */
  index?: number;
  description: string;
  limit: number;
  life: number;
  pid: number;
  unix_ms: number;
  classes: string[];
  hz: number;
}

export interface Stat {
  ops_s: number;
  requests_s: number;
  bytes_in_s: number;
  bytes_out_s: number;
  busy: number;
  heartbeat_age_ms: number;
  viewers: number;
  /** Of a device that has such instruments; below 0: it does not tell. */
  power_watts?: number;
  temperature_celsius?: number;
  busy_ratio?: number;
  /** Of each device its name, the bytes used and those that may be. */
  devices?: [string, number, number][];
}

export const MADE_NODE = 1;
export const BACKWARD = 2;
export const FAILED = 4;
export const VIEW = 8;
export const IN_PLACE = 16;
export const LEAF = 32;
export const ON_THREAD = 64;
export const OPTIMISER = 128;

/** Ids of protocol/dtypes.def: append-only, so a table here cannot become wrong, only short. */
const DTYPES: Record<number, string> = { 1: 'bool', 5: 'i32', 6: 'i64', 9: 'f32', 10: 'f64' };

export function dtypeName(id: number): string {
  return id === 0 ? '' : (DTYPES[id] ?? `dtype ${id}`);
}

type Column<T> = { new (buffer: ArrayBuffer): T; BYTES_PER_ELEMENT: number };

/** A `bin` lies unaligned in its message, so it is copied. */
export function column<T>(bin: unknown, type: Column<T>): T {
  if (!(bin instanceof Uint8Array)) throw new TypeError('a column is not a bin');
  const whole = bin.length - (bin.length % type.BYTES_PER_ELEMENT);
  return new type(bin.slice(0, whole).buffer as ArrayBuffer);
}

export interface MemoryColumns {
  n: number;
  times: Float64Array;
  used: Float64Array;
  reserved: Float64Array;
  peak: Float64Array;
  classes: Float64Array;
  uids: Uint32Array;
  users: Float64Array;
}

export function memoryColumns(message: unknown[]): MemoryColumns {
  return {
    n: message[3] as number,
    times: column(message[4], Float64Array),
    used: column(message[5], Float64Array),
    reserved: column(message[6], Float64Array),
    peak: column(message[7], Float64Array),
    classes: column(message[8], Float64Array),
    uids: column(message[10], Uint32Array),
    users: column(message[11], Float64Array),
  };
}

export interface Session {
  number: number;
  uid: number;
  pid: number;
  program: string;
  opened_us: number;
  closed: boolean;
  requests: number;
  ops: number;
  bytes: number;
  tensors: number;
  nodes: number;
  device_us: number;
  state: number;
  p50: number;
  p99: number;
  max: number;
}

export function session(row: unknown[]): Session {
  return {
    number: row[0] as number,
    uid: row[1] as number,
    pid: row[2] as number,
    program: String(row[3] ?? ''),
    opened_us: row[4] as number,
    closed: !!row[5],
    requests: row[6] as number,
    ops: row[7] as number,
    bytes: row[8] as number,
    tensors: row[9] as number,
    nodes: row[10] as number,
    device_us: row[11] as number,
    state: row[12] as number,
    p50: row[13] as number,
    p99: row[14] as number,
    max: row[15] as number,
  };
}

export interface OpColumns {
  n: number;
  session: Uint32Array;
  request: Uint32Array;
  op: Uint16Array;
  dtype: Uint8Array;
  flags: Uint16Array;
  site: Uint32Array;
  t_us: Float64Array;
  duration: Float32Array;
  node: Uint32Array;
  out: Uint32Array;
  bytes: Float64Array;
  inAt: Uint32Array;
  in: Uint32Array;
  dimsAt: Uint32Array;
  dims: Uint32Array;
  inDimsAt: Uint32Array;
  inDims: Uint32Array;
}

export function opColumns(message: unknown[]): OpColumns {
  return {
    n: message[3] as number,
    session: column(message[4], Uint32Array),
    request: column(message[5], Uint32Array),
    op: column(message[6], Uint16Array),
    dtype: column(message[7], Uint8Array),
    flags: column(message[8], Uint16Array),
    site: column(message[9], Uint32Array),
    t_us: column(message[10], Float64Array),
    duration: column(message[11], Float32Array),
    node: column(message[12], Uint32Array),
    out: column(message[13], Uint32Array),
    bytes: column(message[14], Float64Array),
    inAt: column(message[15], Uint32Array),
    in: column(message[16], Uint32Array),
    dimsAt: column(message[17], Uint32Array),
    dims: column(message[18], Uint32Array),
    inDimsAt: column(message[19], Uint32Array),
    inDims: column(message[20], Uint32Array),
  };
}
