// The last minute as a ruler: what was, where one looks, and the way back to now. SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import { clock, number } from './format';
import { onFrame, useFrames } from './frame';
import { t } from './i18n';
import { fit, useSize } from './panel';
import { MINUTE, state } from './state';
import { colours } from './theme';

export function Ruler() {
  useFrames(200);
  const ref = useRef<HTMLCanvasElement>(null);
  useSize(ref);
  useEffect(() => {
    const canvas = ref.current!;
    const stop = onFrame(() => paint(canvas), 100);
    const scrub = (event: PointerEvent) => {
      const share = Math.max(0, Math.min(1, event.offsetX / canvas.clientWidth));
      const [from, to] = range();
      const time = from + share * (to - from);
      state.pause(time >= state.now - 30 && share > 0.995 ? null : time);
    };
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      scrub(event);
    };
    canvas.onpointermove = (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) scrub(event);
    };
    return stop;
  }, []);
  const behind = (state.time - state.now) / 1000;
  const live = state.paused === null;
  const flows = live && state.connection === 'open' && state.end === null;
  return (
    <div class="ruler">
      <button class={`pill ${flows ? 'on' : ''}`} data-testid="live" aria-pressed={live} onClick={() => state.pause(live ? state.now : null)}>
        <i aria-hidden="true">{live ? '●' : '▶'}</i> {t('live')}
      </button>
      <canvas
        ref={ref}
        data-testid="ruler"
        role="slider"
        tabIndex={0}
        aria-label={t('ruler')}
        aria-valuemin={-60}
        aria-valuemax={0}
        aria-valuenow={Math.round(behind)}
        aria-valuetext={`${clock(state.time, 3)}, ${number(-behind, 1)} ${t('ago')}`}
      />
      <output data-testid="time" data-time={state.time}>
        {state.life ? clock(state.time, live ? 0 : 3) : '–'}
        {!live && <small> {number(behind, 1)} s</small>}
      </output>
    </div>
  );
}

/** From a minute before now; while paused the minute before the pause stays, and time goes on at its end. */
function range(): [number, number] {
  return [state.oldest, Math.max(state.oldest + MINUTE, state.now)];
}

function paint(canvas: HTMLCanvasElement): void {
  const ctx = fit(canvas);
  if (!ctx || !state.life) return;
  const c = colours();
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const [from, to] = range();
  const x = (time: number) => ((time - from) / (to - from)) * width;
  ctx.fillStyle = c.panel;
  ctx.fillRect(0, 0, width, height);
  const base = height - c.small * 1.35;

  // Memory as a shape, to know the place again.
  let high = 1;
  const { items } = state.memory;
  const first = Math.max(0, state.memory.index(from));
  for (let i = first; i < items.length; i++) high = Math.max(high, items[i]!.used);
  ctx.fillStyle = c.accent;
  ctx.globalAlpha = 0.28;
  ctx.beginPath();
  ctx.moveTo(x(items[first]?.time ?? from), base);
  for (let i = first; i < items.length; i++) ctx.lineTo(x(items[i]!.time), base - (items[i]!.used / high) * (base - 4));
  ctx.lineTo(x(items[items.length - 1]?.time ?? from), base);
  ctx.fill();
  ctx.globalAlpha = 1;

  // When ops ran that can be looked at.
  ctx.fillStyle = c.dim;
  let lastX = -2;
  for (const batch of state.batches.items) {
    const px = Math.round(x(batch.time));
    if (px === lastX || px < 0) continue;
    lastX = px;
    ctx.fillRect(px, base - 3, 1, 3);
  }
  ctx.font = `${c.small * 0.94}px ${c.sans}`;
  ctx.textBaseline = 'bottom';
  const every = width / 60 > c.small * 1.3 ? 5 : width / 60 > c.small * 0.6 ? 10 : 20;
  for (let time = Math.ceil(state.wall(from) / 1000) * 1000 - state.epoch; time <= to; time += 1000) {
    const second = Math.round(state.wall(time) / 1000);
    const px = x(time);
    const large = second % every === 0;
    ctx.fillStyle = c.dim;
    ctx.fillRect(px, base, 1, large ? 5 : 2.5);
    if (large && px > c.rem * 2 && px < width - c.rem * 2) {
      ctx.textAlign = 'center';
      ctx.fillText(clock(time + 1), px, height);
    }
  }
  ctx.fillStyle = c.failed;
  for (const failure of state.failures.items) {
    const px = x(failure.time);
    ctx.beginPath();
    ctx.moveTo(px, base - 12);
    ctx.lineTo(px + 5, base - 2);
    ctx.lineTo(px - 5, base - 2);
    ctx.fill();
  }
  for (const restart of state.restarts) ctx.fillRect(x(restart.time) - 1, 2, 2, base - 2);
  const px = x(state.time);
  ctx.fillStyle = state.paused === null ? c.accent : c.text;
  ctx.fillRect(px - 1, 0, 2, base + 5);
  ctx.beginPath();
  ctx.moveTo(px - 6, 0);
  ctx.lineTo(px + 6, 0);
  ctx.lineTo(px, 8);
  ctx.fill();
}
