// The device's memory over time, stacked by class or by user. SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { onFrame, useFrames } from './frame';
import { bytes, clock, number, percent, user } from './format';
import { t } from './i18n';
import { Panel, useSize } from './panel';
import { shown } from './route';
import { MINUTE, state, type Memory } from './state';
import { colours, series, SERIES_MOST, theme } from './theme';

interface Part {
  label: string;
  value: (sample: Memory) => number;
  now: number;
}

const sum = (values: Float64Array) => values.reduce((a, b) => a + b, 0);

function ofUser(sample: Memory, uid: number): number {
  const i = sample.uids.indexOf(uid);
  return i < 0 ? 0 : sample.users[i]!;
}

/** What the total is made of. Of many users the largest have a colour each; the rest is one part. */
function parts(sample: Memory): Part[] {
  if (shown.memoryBy === 'class') {
    return sample.life.hello.classes.map((label, i) => ({
      label,
      value: (s) => s.classes[i] ?? 0,
      now: sample.classes[i] ?? 0,
    }));
  }
  const most = SERIES_MOST - 1;
  const uids = Array.from(sample.uids);
  let named = uids;
  if (uids.length > most) {
    named = uids.slice().sort((a, b) => ofUser(sample, b) - ofUser(sample, a)).slice(0, most).sort((a, b) => a - b);
  }
  const list: Part[] = named.map((uid) => ({
    label: uid === 0 ? user(uid) : `${t('user')} ${user(uid)}`,
    value: (s) => ofUser(s, uid),
    now: ofUser(sample, uid),
  }));
  if (uids.length > most) {
    const rest = (s: Memory) => s.used - named.reduce((all, uid) => all + ofUser(s, uid), 0);
    list.push({ label: `${uids.length - most} ${t('others')}`, value: rest, now: rest(sample) });
  }
  return list;
}

/** When the highest use of the life was reached, as far back as samples tell. */
function peakTime(sample: Memory): number | null {
  const { items } = state.memory;
  let found: number | null = null;
  for (let i = state.memory.index(sample.time); i >= 0; i--) {
    const item = items[i]!;
    if (item.life !== sample.life || item.peak !== sample.peak) return found;
    found = item.time;
  }
  // The oldest sample has the peak already: it may be older. If it is the peak itself, it is known after all.
  return found !== null && items[0]?.used === sample.peak ? found : null;
}

function Chart() {
  const host = useRef<HTMLDivElement>(null);
  useSize(host);
  useEffect(() => {
    let plot: uPlot | null = null;
    let made = '';
    const stop = onFrame(() => {
      const box = host.current;
      const sample = state.memory.at(state.time);
      if (!box || !sample || box.clientWidth === 0) return;
      const list = parts(sample);
      const kind = [theme(), shown.memoryBy, list.length].join();
      const x: number[] = [];
      const stacks: number[][] = list.map(() => []);
      const total: number[] = [];
      const from = state.oldest;
      let last: Memory | null = null;
      const { items } = state.memory;
      for (let i = Math.max(0, state.memory.index(from)); i < items.length; i++) {
        const item = items[i]!;
        if (last && (item.life !== last.life || item.time - last.time > 2000)) {
          // A restart or a pause of the feed is a hole, not a slope.
          x.push(last.time + 0.01);
          for (const stack of stacks) stack.push(null as never);
          total.push(null as never);
        }
        last = item;
        x.push(item.time);
        let below = 0;
        for (let p = 0; p < list.length; p++) stacks[p]!.push((below += list[p]!.value(item)));
        total.push(item.used);
      }
      if (!plot || made !== kind) {
        plot?.destroy();
        made = kind;
        plot = new uPlot(options(list.length), [x, total, ...stacks.slice().reverse()] as uPlot.AlignedData, box);
      }
      if (plot.width !== box.clientWidth || plot.height !== box.clientHeight) {
        plot.setSize({ width: box.clientWidth, height: box.clientHeight });
      }
      plot.batch(() => {
        plot!.setData([x, total, ...stacks.slice().reverse()] as uPlot.AlignedData, false);
        const { limit } = sample.life.hello;
        let high = 1024;
        for (const value of total) if (value > high) high = value;
        const peakAt = peakTime(sample);
        if (peakAt !== null && peakAt >= from) high = Math.max(high, sample.peak);
        if (limit > 0 && high > limit * 0.4) high = Math.max(high, limit);
        plot!.setScale('x', { min: from, max: from + MINUTE });
        plot!.setScale('y', { min: 0, max: high * 1.12 });
      });
    }, 100);
    return () => {
      stop();
      plot?.destroy();
    };
  }, []);
  return <div class="chart" ref={host} role="img" aria-label={t('deviceMemory')} />;
}

function options(count: number): uPlot.Options {
  const c = colours();
  const ratio = devicePixelRatio || 1;
  const size = c.small;
  const font = `${size}px ${c.sans}`;
  const axis: uPlot.Axis = { stroke: c.dim, font, grid: { stroke: c.line, width: 1 }, ticks: { show: false } };
  const stacks: uPlot.Series[] = [];
  for (let i = count - 1; i >= 0; i--) {
    stacks.push({ stroke: c.panel, width: 1, fill: series(i), points: { show: false } });
  }
  return {
    width: 100,
    height: 100,
    padding: [size * 0.6, size, 0, 0],
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { time: false }, y: {} },
    axes: [
      {
        ...axis,
        size: size * 2.2,
        space: size * 9,
        incrs: [1000, 5000, 10_000, 15_000, 30_000],
        values: (_, ticks) => ticks.map((tick) => clock(tick)),
        splits: (_u, _a, min, max, incr) => {
          // On whole seconds of the wall clock, so that they go with the data.
          const first = Math.ceil(state.wall(min) / incr) * incr - state.epoch;
          const list: number[] = [];
          for (let tick = first; tick <= max; tick += incr) list.push(tick);
          return list;
        },
      },
      {
        ...axis,
        size: size * 5.6,
        space: size * 2.8,
        splits: (plot, _a, _min, max) => {
          // Powers of two, as many as there is room for.
          const most = Math.max(1, Math.min(8, (plot.height - size * 3) / (size * 2.6)));
          const power = 2 ** Math.ceil(Math.log2(max / most));
          const list: number[] = [];
          for (let tick = 0; tick <= max; tick += power) list.push(tick);
          return list;
        },
        values: (_, ticks) => ticks.map((tick) => bytes(tick).replace(/[.,]0+ /, ' ')),
      },
    ],
    series: [{}, { stroke: c.text, width: 1.5, points: { show: false } }, ...stacks],
    hooks: {
      draw: [
        (plot) => {
          const sample = state.memory.at(state.time);
          if (!sample) return;
          const { ctx, bbox } = plot;
          ctx.save();
          ctx.beginPath();
          ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
          ctx.clip();
          ctx.font = `${size * ratio}px ${c.sans}`;
          ctx.textBaseline = 'middle';
          // The total lies over the stacks, whose own fills would hide it.
          ctx.strokeStyle = c.text;
          ctx.lineWidth = 2 * ratio;
          ctx.lineJoin = 'round';
          ctx.beginPath();
          let pen = false;
          plot.data[0].forEach((time, i) => {
            const value = plot.data[1]![i];
            if (value == null) {
              pen = false;
              return;
            }
            const px = plot.valToPos(time, 'x', true);
            const py = plot.valToPos(value, 'y', true);
            if (pen) ctx.lineTo(px, py);
            else ctx.moveTo(px, py);
            pen = true;
          });
          ctx.stroke();
          const { limit } = sample.life.hello;
          if (limit > 0 && limit <= (plot.scales.y!.max ?? 0)) {
            const y = plot.valToPos(limit, 'y', true);
            ctx.setLineDash([6 * ratio, 4 * ratio]);
            ctx.strokeStyle = ctx.fillStyle = c.failed;
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
            ctx.setLineDash([]);
            ctx.textAlign = 'left';
            ctx.fillText(`${t('limit')} ${bytes(limit)}`, bbox.left + 8 * ratio, y + size * ratio * 0.9);
          }
          for (const restart of state.restarts) {
            const px = plot.valToPos(restart.time, 'x', true);
            ctx.strokeStyle = c.failed;
            ctx.lineWidth = ratio;
            ctx.setLineDash([2 * ratio, 3 * ratio]);
            ctx.beginPath();
            ctx.moveTo(px, bbox.top);
            ctx.lineTo(px, bbox.top + bbox.height);
            ctx.stroke();
            ctx.setLineDash([]);
          }
          const peakAt = peakTime(sample);
          if (peakAt !== null) {
            const px = plot.valToPos(peakAt, 'x', true);
            const py = plot.valToPos(sample.peak, 'y', true);
            ctx.fillStyle = c.text;
            ctx.beginPath();
            ctx.moveTo(px, py + 1);
            ctx.lineTo(px - 5 * ratio, py - 8 * ratio);
            ctx.lineTo(px + 5 * ratio, py - 8 * ratio);
            ctx.fill();
            const text = `${t('peak')} ${bytes(sample.peak)}`;
            const right = px + ctx.measureText(text).width + 12 * ratio > bbox.left + bbox.width;
            ctx.textAlign = right ? 'right' : 'left';
            ctx.fillText(text, px + (right ? -8 : 8) * ratio, Math.max(py - 6 * ratio, bbox.top + size * ratio * 0.6));
          }
          if (state.paused !== null) {
            const px = plot.valToPos(state.paused, 'x', true);
            ctx.strokeStyle = c.accent;
            ctx.lineWidth = 2 * ratio;
            ctx.beginPath();
            ctx.moveTo(px, bbox.top);
            ctx.lineTo(px, bbox.top + bbox.height);
            ctx.stroke();
          }
          ctx.restore();
        },
      ],
    },
  };
}

function Twin() {
  const end = state.memory.index(state.time);
  const rows = state.memory.items.slice(Math.max(0, end - 99), end + 1).reverse();
  const list = rows[0] ? parts(rows[0]) : [];
  return (
    <div class="scroll" data-testid="memory-table">
      <table>
        <thead>
          <tr>
            <th>{t('time')}</th>
            <th class="n">{t('total')}</th>
            {list.map((part) => (
              <th class="n">{part.label}</th>
            ))}
            <th class="n">{t('reserved')}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.time}>
              <td>{clock(row.time, 1)}</td>
              <td class="n">{bytes(row.used)}</td>
              {list.map((part) => (
                <td class="n">{bytes(part.value(row))}</td>
              ))}
              <td class="n">{bytes(row.reserved)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function MemoryView() {
  useFrames(100);
  const sample = state.memory.at(state.time);
  const by = (kind: 'class' | 'user') => (
    <button
      aria-pressed={shown.memoryBy === kind}
      onClick={() => {
        shown.memoryBy = kind;
        state.pause(state.paused); // draws again
      }}
    >
      {t(kind === 'class' ? 'byClass' : 'byUser')}
    </button>
  );
  const peakAt = sample ? peakTime(sample) : null;
  const limit = sample?.life.hello.limit ?? 0;
  return (
    <Panel view="memory" title="deviceMemory" aside={<div class="switch" role="group">{by('class')}{by('user')}</div>}>
      {sample ? (
        <>
          <div class="headline">
            <strong
              class="big"
              data-testid="memory-total"
              data-used={sample.used}
              data-t-us={sample.t_us}
              data-peak={sample.peak}
              data-reserved={sample.reserved}
              data-classes-sum={sum(sample.classes)}
              data-users-sum={sum(sample.users)}
              title={`${number(sample.used)} B`}
            >
              {bytes(sample.used)}
            </strong>
            {limit > 0 && (
              <span class="meter-line">
                <meter min={0} max={limit} value={sample.used} aria-label={t('limit')} />
                <span>
                  {percent(sample.used / limit)} / {bytes(limit)}
                </span>
              </span>
            )}
            <span class="dim exact">{number(sample.used)} B</span>
            <span class="dim">
              {t('peak')} {bytes(sample.peak)}{' '}
              {peakAt === null ? `${t('before')} ${clock(state.memory.items[0]!.time)}` : `${t('at')} ${clock(peakAt)}`}
            </span>
            <span class="dim reserved">
              {t('reserved')} {bytes(sample.reserved)}
            </span>
          </div>
          {shown.tables ? <Twin /> : <Chart />}
          <ul class="legend">
            {parts(sample)
              .map((part, i) => (
                <li key={part.label}>
                  <i class={`swatch s${Math.min(i, SERIES_MOST - 1)}`} />
                  {part.label} <b>{bytes(part.now)}</b>
                </li>
              ))
              .reverse()}
          </ul>
        </>
      ) : (
        <p class="empty">{t('noMemory')}</p>
      )}
    </Panel>
  );
}
