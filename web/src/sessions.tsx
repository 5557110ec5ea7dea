// The table of sessions. SPDX-License-Identifier: Apache-2.0
import { touch, useFrames } from './frame';
import { age, bytes, count, duration, percent, user } from './format';
import { t, type Text } from './i18n';
import type { Session } from './message';
import { Panel } from './panel';
import { state } from './state';

interface Row extends Session {
  requestRate: number;
  opRate: number;
  share: number;
  age: number;
}

interface Column {
  key: string;
  title: Text;
  value: (row: Row) => number | string;
  show: (row: Row) => preact.ComponentChildren;
  text?: boolean;
  /** Left out where there is little room: the larger, the earlier. */
  wide?: 1 | 2 | 3;
}

const STATES: [Text, string][] = [
  ['idle', '○'],
  ['work', '◐'],
  ['onThread', '●'],
  ['closing', '◌'],
];

const columns: Column[] = [
  { key: 'program', title: 'program', text: true, value: (r) => r.program, show: (r) => <><b>{r.program || '?'}</b> <span class="dim">#{r.number}</span></> },
  { key: 'uid', title: 'user', value: (r) => r.uid, show: (r) => user(r.uid) },
  { key: 'bytes', title: 'held', value: (r) => r.bytes, show: (r) => bytes(r.bytes) },
  { key: 'tensors', title: 'tensors', wide: 1, value: (r) => r.tensors, show: (r) => count(r.tensors) },
  { key: 'nodes', title: 'nodes', wide: 1, value: (r) => r.nodes, show: (r) => count(r.nodes) },
  { key: 'requests', title: 'requestsPerSecond', wide: 2, value: (r) => r.requestRate, show: (r) => count(r.requestRate) },
  { key: 'ops', title: 'opsPerSecond', value: (r) => r.opRate, show: (r) => count(r.opRate) },
  { key: 'share', title: 'share', value: (r) => r.share, show: (r) => percent(r.share) },
  { key: 'state', title: 'state', text: true, value: (r) => (r.closed ? 9 : r.state), show: (r) => <State row={r} /> },
  { key: 'p50', title: 'median', wide: 2, value: (r) => r.p50, show: (r) => duration(r.p50) },
  { key: 'p99', title: 'worst', wide: 3, value: (r) => r.p99, show: (r) => duration(r.p99) },
  { key: 'age', title: 'age', wide: 2, value: (r) => r.age, show: (r) => age(r.age) },
];

let sortBy = 'bytes';
let ascending = false;

function State({ row }: { row: Row }) {
  const [text, sign] = row.closed ? (['closed', '×'] as [Text, string]) : (STATES[row.state] ?? ['idle', '?']);
  return (
    <span class={`state s-${text}`}>
      <i aria-hidden="true">{sign}</i> {t(text)}
    </span>
  );
}

/** The sessions at the time looked at, with rates over the second before. */
function rows(): Row[] {
  const { items } = state.sessions;
  const index = state.sessions.index(state.time);
  const sample = items[index];
  if (!sample) return [];
  let first = index;
  while (first > 0 && items[first - 1]!.life === sample.life && sample.time - items[first]!.time < 950) first--;
  const before = new Map(items[first]!.rows.map((row) => [row.number, row]));
  const seconds = (sample.time - items[first]!.time) / 1000;
  return sample.rows.map((row) => {
    const old = before.get(row.number);
    const rate = (now: number, then: number | undefined) =>
      seconds > 0 && then !== undefined ? Math.max(0, now - then) / seconds : 0;
    return {
      ...row,
      requestRate: rate(row.requests, old?.requests),
      opRate: rate(row.ops, old?.ops),
      share: Math.min(1, rate(row.device_us, old?.device_us) / 1e6),
      age: sample.time - sample.life.offset - row.opened_us / 1000,
    };
  });
}

function sort(list: Row[]): Row[] {
  const column = columns.find((c) => c.key === sortBy)!;
  const sign = ascending ? 1 : -1;
  return list.sort((a, b) => {
    if (a.closed !== b.closed) return a.closed ? 1 : -1;
    const x = column.value(a);
    const y = column.value(b);
    return (x < y ? -1 : x > y ? 1 : 0) * sign || a.number - b.number;
  });
}

function onKey(event: KeyboardEvent, row: Row): void {
  const element = event.currentTarget as HTMLElement;
  if (event.key === 'Enter') select(row);
  else if (event.key === 'ArrowDown') (element.nextElementSibling as HTMLElement | null)?.focus();
  else if (event.key === 'ArrowUp') (element.previousElementSibling as HTMLElement | null)?.focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function select(row: Row): void {
  state.follow(state.followed === row.number ? 0 : row.number);
}

export function SessionsView() {
  useFrames(250);
  const list = sort(rows());
  return (
    <Panel
      view="sessions"
      title="sessions"
      aside={
        state.followed ? (
          <button onClick={() => state.follow(0)}>
            {t('following')} #{state.followed} · {t('unfollow')}
          </button>
        ) : (
          <span class="dim">{list.filter((row) => !row.closed).length || ''}</span>
        )
      }
    >
      {list.length === 0 ? (
        <p class="empty">{t('noSessions')}</p>
      ) : (
        <div class="scroll">
          <table role="grid">
            <thead>
              <tr>
                {columns.map((column) => (
                  <th
                    key={column.key}
                    class={`${column.text ? '' : 'n'} w${column.wide ?? 0}`}
                    aria-sort={sortBy === column.key ? (ascending ? 'ascending' : 'descending') : 'none'}
                  >
                    <button
                      data-sort={column.key}
                      onClick={() => {
                        ascending = sortBy === column.key ? !ascending : !!column.text;
                        sortBy = column.key;
                        touch(true);
                      }}
                    >
                      {t(column.title)}
                      <i aria-hidden="true">{sortBy === column.key ? (ascending ? ' ▴' : ' ▾') : ''}</i>
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {list.map((row) => (
                <tr
                  key={row.number}
                  data-session={row.number}
                  tabIndex={0}
                  aria-selected={state.followed === row.number}
                  class={row.closed ? 'gone' : ''}
                  onClick={() => select(row)}
                  onKeyDown={(event) => onKey(event, row)}
                >
                  {columns.map((column) => (
                    <td key={column.key} class={`${column.text ? '' : 'n'} w${column.wide ?? 0}`}>
                      {column.show(row)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
