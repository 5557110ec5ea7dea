// Numbers and shapes as text. SPDX-License-Identifier: Apache-2.0
import { currentLanguage, t } from './i18n';
import { dtypeName, FAILED } from './message';
import { state, type Op } from './state';

const formats = new Map<string, Intl.NumberFormat>();

export function number(value: number, digits = 0): string {
  const key = currentLanguage() + digits;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(currentLanguage(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
    formats.set(key, format);
  }
  return format.format(value);
}

/** Three digits that count. */
function short(value: number): string {
  return number(value, value >= 99.95 || value === 0 ? 0 : value >= 9.995 ? 1 : 2);
}

export function bytes(value: number): string {
  if (value < 1024) return `${number(value)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let unit = -1;
  do {
    value /= 1024;
    unit++;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${short(value)} ${units[unit]}`;
}

export function count(value: number): string {
  if (value < 10_000) return number(Math.round(value));
  return value < 999_500 ? `${short(value / 1e3)} k` : value < 999.5e6 ? `${short(value / 1e6)} M` : `${short(value / 1e9)} G`;
}

export function duration(us: number): string {
  if (!(us > 0)) return '–';
  return us < 999.5 ? `${short(us)} µs` : us < 999_500 ? `${short(us / 1e3)} ms` : `${short(us / 1e6)} s`;
}

export function percent(share: number): string {
  const value = share * 100;
  const text = number(value, value > 0 && value < 9.95 ? 1 : 0);
  return currentLanguage() === 'tr' ? `%${text}` : `${text} %`;
}

export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

export function clock(time: number, digits = 0): string {
  const date = new Date(state.wall(time));
  const two = (n: number) => String(n).padStart(2, '0');
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return digits ? `${text}.${String(date.getMilliseconds()).padStart(3, '0').slice(0, digits)}` : text;
}

export function shape(dims: readonly number[]): string {
  return `[${dims.join(',')}]`;
}

/** `[64,784] × [784,256] → [64,256] f32`. Long lists of inputs, as an optimiser's, are counted instead. */
export function signature(op: Op): string {
  const inputs = op.shapes.length > 4 ? `${op.shapes.length} ${t('tensors')}` : op.shapes.map(shape).join(' × ');
  const output = op.out && !(op.flags & FAILED) ? `${shape(op.shape)} ${dtypeName(op.dtype)}` : '';
  return inputs && output ? `${inputs} → ${output}` : inputs || output;
}

/** A user by number: the feed knows no names. */
export function user(uid: number): string {
  return uid === 0 ? 'root' : String(uid);
}
