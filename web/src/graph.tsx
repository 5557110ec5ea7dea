// The computation graph of a session as it grows. SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import { BOX, draw, heatColour, nodeAt, place, type Camera, type Heat } from './draw';
import { bytes, clock, duration, number, shape, signature } from './format';
import { onFrame, touch, useFrames } from './frame';
import { currentLanguage, t } from './i18n';
import { Graph, Kind } from './layout';
import { BACKWARD, dtypeName, FAILED, IN_PLACE, LEAF, ON_THREAD, OPTIMISER, VIEW } from './message';
import { fit, Panel, useSize } from './panel';
import { shown } from './route';
import { state, type Batch, type Life, type Op } from './state';
import { colours, theme } from './theme';

const REFRESH = 1000; // ms for which a step of a fast program is shown
const MANY = 400; // nodes of which nobody reads each
const OLD = 3000; // ms after which a complete step gives way to one with holes

/** The step that is shown. */
interface Shown {
  life: Life;
  session: number;
  step: number;
  graph: Graph<Op>;
  batch: number; // serial of the batch to go on with, and the op in it
  index: number;
  since: number;
}

let view: Shown | null = null;
let camera: Camera = { x: 0, y: 0, scale: 1 };
let following = true;
let fresh = true; // the camera goes to its place at once
let heat: Heat = 'off';
let backward = true;
let size = { width: 0, height: 0 };

/** Which step of the session is to be shown now. */
function wantedStep(session: number, now: number): number {
  const life = state.life!;
  const steps = life.tracks.get(session)?.steps;
  if (!steps || steps.current === 0) return 0;
  if (state.paused !== null) return state.opsBefore(state.paused, session, 1)[0]?.step ?? 0;
  const same = view && view.life === life && view.session === session;
  if (same && view!.step === steps.current) return steps.current;
  if (same && now - view!.since < REFRESH) return view!.step;
  // Slow enough to be watched: the step that is being made. Else the newest whole one, if there is one.
  const slow = state.now - steps.began > REFRESH || steps.previousLength > REFRESH;
  if (slow || steps.complete === 0 || state.now - steps.completed > OLD) return steps.current;
  return steps.complete;
}

function follow(now: number): void {
  const { session } = state;
  let life = state.life;
  if (state.paused !== null) life = state.batches.at(state.paused)?.life ?? life;
  if (!life || session === 0) {
    if (!life || state.paused === null) view = null;
    return;
  }
  const step = life === state.life ? wantedStep(session, now) : (state.opsBefore(state.paused ?? state.now, session, 1)[0]?.step ?? 0);
  if (step === 0) {
    view = null;
    return;
  }
  if (!view || view.life !== life || view.session !== session || view.step !== step) {
    if (!view || view.life !== life || view.session !== session) {
      following = true;
      fresh = true;
    }
    const leaves = life.track(session).leaves;
    view = { life, session, step, graph: new Graph<Op>((id) => leaves.has(id)), batch: start(life, session, step), index: 0, since: now };
  }
  grow(view);
}

/** The serial of the batch that the step begins in. */
function start(life: Life, session: number, step: number): number {
  const { items } = state.batches;
  let found = items[items.length - 1]?.serial ?? 0;
  for (let b = items.length - 1; b >= 0; b--) {
    const batch = items[b]!;
    if (batch.life !== life) {
      if (found !== items[items.length - 1]?.serial) break;
      continue;
    }
    const c = batch.columns;
    let before = false;
    for (let i = c.n - 1; i >= 0; i--) {
      if (c.session[i] !== session) continue;
      if (batch.step[i] === step) found = batch.serial;
      else if (batch.step[i]! < step) before = true;
    }
    if (before) break;
  }
  return found;
}

/** Adds what came since. */
function grow(to: Shown): void {
  const { items } = state.batches;
  const first = items[0]?.serial ?? 0;
  for (let b = Math.max(0, to.batch - first); b < items.length; b++) {
    const batch: Batch = items[b]!;
    const { n, session } = batch.columns;
    if (batch.serial !== to.batch) to.index = 0;
    to.batch = batch.serial;
    for (; to.index < n && batch.life === to.life; to.index++) {
      if (session[to.index] !== to.session) continue;
      if (batch.step[to.index]! > to.step) return;
      if (batch.step[to.index] === to.step) to.graph.add(state.op(batch, to.index));
    }
  }
}

function visibleCount(): number {
  return view ? (state.paused === null ? view.graph.length : view.graph.until(state.paused)) : 0;
}

function selectedNode(): number {
  const op = state.selected;
  if (!view || !op || op.life !== view.life || op.session !== view.session || op.step !== view.step) return -1;
  const { ops } = view.graph;
  for (let i = 0; i < ops.length; i++) if (ops[i]!.time === op.time && ops[i]!.out === op.out && ops[i]!.request === op.request) return i;
  return -1;
}

/** The camera that shows all, or, where that would be too small to read, the newest node. */
function target(count: number): Camera {
  const graph = view!.graph;
  const rem = colours().rem / 14;
  const { width, height } = size;
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  // While paused, the extent of all that was there then, and not of what is seen yet: scrubbing must not move the picture.
  const all = state.paused === null ? count : Math.max(count, graph.until(state.pausedAt));
  for (let i = 0; i < all; i++) {
    if (!backward && graph.lane[i]! < 0) continue;
    const [x, y] = place(graph, i);
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  if (left > right) return { x: 0, y: 0, scale: rem };
  left -= BOX.width / 2 + 16;
  right += BOX.width / 2 + 16;
  top -= BOX.height / 2 + 30;
  bottom += BOX.height / 2 + 16;
  const whole = Math.min(width / (right - left), height / (bottom - top));
  // What grows before an audience is read node by node; a whole step is first of all a picture.
  const steps = view!.life.tracks.get(view!.session)?.steps;
  const watched = theme() === 'projector' && steps !== undefined && view!.step === steps.current;
  const readable = (all > MANY ? 0.12 : watched ? 0.75 : 0.45) * rem;
  if (whole >= readable) return { x: (left + right) / 2, y: (top + bottom) / 2, scale: Math.min(whole, 1.15 * rem) };
  const newest = Math.max(0, count - 1);
  const [x, y] = place(graph, newest);
  // As wide as it is, if that can be read.
  const scale = Math.max(readable, Math.min(width / (right - left), 0.9 * rem));
  const fitsAcross = (right - left) * scale <= width;
  const fitsDown = (bottom - top) * scale <= height;
  return {
    x: fitsAcross ? (left + right) / 2 : x,
    y: fitsDown ? (top + bottom) / 2 : Math.max(top + height / 2 / scale, Math.min(y, bottom - height / 2 / scale)),
    scale,
  };
}

const calm = matchMedia('(prefers-reduced-motion: reduce)');

function move(count: number): boolean {
  if (!following || !view || count === 0 || size.width === 0) return false;
  const to = target(count);
  if (fresh || calm.matches) {
    camera = to;
    fresh = false;
    return false;
  }
  const ease = (a: number, b: number) => a + (b - a) * 0.22;
  camera = { x: ease(camera.x, to.x), y: ease(camera.y, to.y), scale: ease(camera.scale, to.scale) };
  const off = Math.max(Math.abs(camera.x - to.x), Math.abs(camera.y - to.y)) * camera.scale + Math.abs(camera.scale / to.scale - 1) * 100;
  if (off < 0.5) camera = to;
  return off >= 0.5;
}

export function zoom(factor: number, px = size.width / 2, py = size.height / 2): void {
  following = false;
  const scale = Math.max(0.004, Math.min(4, camera.scale * factor));
  const dx = (px - size.width / 2) * (1 / camera.scale - 1 / scale);
  const dy = (py - size.height / 2) * (1 / camera.scale - 1 / scale);
  camera = { x: camera.x + dx, y: camera.y + dy, scale };
  touch(true);
}

export function pan(dx: number, dy: number): void {
  following = false;
  camera = { ...camera, x: camera.x + dx / camera.scale, y: camera.y + dy / camera.scale };
  touch(true);
}

export function fitGraph(): void {
  following = true;
  touch(true);
}

export function toggleBackward(): void {
  backward = !backward;
  touch(true);
}

export function nextHeat(): void {
  heat = heat === 'off' ? 'time' : heat === 'time' ? 'bytes' : 'off';
  touch(true);
}

function look(i: number): void {
  if (!view || i < 0) return;
  state.selected = view.graph.ops[i]!;
  const [x, y] = place(view.graph, i);
  const { width, height } = size;
  if (Math.abs(x - camera.x) * camera.scale > width / 2 - 60 || Math.abs(y - camera.y) * camera.scale > height / 2 - 40) {
    following = false;
    camera = { ...camera, x, y };
  }
  touch(true);
}

function Canvas() {
  const ref = useRef<HTMLCanvasElement>(null);
  useSize(ref);
  useEffect(() => {
    const canvas = ref.current!;
    let drawn = '';
    let drawnGraph: Graph<Op> | undefined;
    fresh = true;
    const stop = onFrame((now) => {
      const ctx = fit(canvas);
      if (!ctx) return;
      if (size.width !== canvas.clientWidth || size.height !== canvas.clientHeight) {
        size = { width: canvas.clientWidth, height: canvas.clientHeight };
        fresh = true;
      }
      follow(now);
      const count = visibleCount();
      const moves = move(count);
      canvas.dataset.nodes = String(count);
      canvas.dataset.edges = String(view && count > 0 ? view.graph.edgesUntil[count - 1] : 0);
      canvas.dataset.step = String(view?.step ?? 0);
      canvas.dataset.scale = camera.scale.toFixed(3);
      const selected = selectedNode();
      // Most frames of a feed change nothing here, and a large picture costs.
      const { x, y, scale } = camera;
      const picture = [
        count, x, y, scale, canvas.width, canvas.height, heat, backward, theme(), currentLanguage(), selected, state.names.size,
      ].join();
      if (picture === drawn && view?.graph === drawnGraph) return moves;
      drawn = picture;
      drawnGraph = view?.graph;
      if (view) {
        draw(ctx, {
          graph: view.graph, count, camera, width: size.width, height: size.height, colours: colours(), heat, backward,
          large: theme() === 'projector', selected, newest: count - 1,
        });
      } else {
        ctx.clearRect(0, 0, size.width, size.height);
      }
      return moves;
    });
    const pointers = new Map<number, { x: number; y: number }>();
    let moved = 0;
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
      moved = 0;
    };
    canvas.onpointermove = (event) => {
      const old = pointers.get(event.pointerId);
      if (!old) return;
      const point = { x: event.offsetX, y: event.offsetY };
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)![1];
        const before = Math.hypot(old.x - other.x, old.y - other.y);
        const after = Math.hypot(point.x - other.x, point.y - other.y);
        if (before > 0) zoom(after / before, (point.x + other.x) / 2, (point.y + other.y) / 2);
        moved = 9;
      } else {
        moved += Math.abs(point.x - old.x) + Math.abs(point.y - old.y);
        if (moved > 4) pan(old.x - point.x, old.y - point.y);
      }
      pointers.set(event.pointerId, point);
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => {
      pointers.delete(event.pointerId);
      if (moved > 4 || event.type === 'pointercancel' || !view) return;
      const x = camera.x + (event.offsetX - size.width / 2) / camera.scale;
      const y = camera.y + (event.offsetY - size.height / 2) / camera.scale;
      const node = nodeAt(view.graph, visibleCount(), x, y);
      state.selected = node < 0 || (!backward && view.graph.lane[node]! < 0) ? null : view.graph.ops[node]!;
      touch(true);
    };
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
    };
    canvas.addEventListener('wheel', wheel, { passive: false });
    return () => {
      stop();
      canvas.removeEventListener('wheel', wheel);
    };
  }, []);
  return (
    <div class="frame">
      <canvas class="graph-canvas" data-testid="graph-canvas" role="img" aria-label={t('computationGraph')} ref={ref} />
    </div>
  );
}

function Detail() {
  const op = state.selected;
  if (!op) return null;
  const node = selectedNode();
  const graph = view?.graph;
  const failure = op.flags & FAILED ? state.failureOf(op) : undefined;
  const kind = [
    op.flags & BACKWARD ? t('backward') : op.flags & OPTIMISER ? t('optimiser') : t('forward'),
    op.flags & LEAF && t('parameter'),
    op.flags & VIEW && t('view'),
    op.flags & IN_PLACE && t('inPlace'),
    op.flags & ON_THREAD && t('deviceThread'),
    op.flags & FAILED && t('failed'),
  ].filter(Boolean);
  const links: [string, number][] = [];
  if (graph && node >= 0) {
    if (op.flags & BACKWARD) {
      const forward = graph.forward(op.node);
      if (forward >= 0) links.push([t('forwardOp'), forward]);
    } else if (op.node !== 0) {
      for (let i = 0; i < graph.length && links.length < 12; i++) {
        const other = graph.ops[i]!;
        if (other.flags & BACKWARD && other.node === op.node) links.push([t('backwardOps'), i]);
      }
    }
  }
  return (
    <aside class="detail" data-testid="detail" aria-label={t('details')}>
      <header>
        <h3>{state.opName(op.op)}</h3>
        <button class="icon" aria-label={t('close')} onClick={() => { state.selected = null; touch(true); }}>×</button>
      </header>
      {op.flags & FAILED ? <p class="message">✕ {failure?.message ?? t('failed')}</p> : null}
      <p class="mono">{signature(op)}</p>
      <dl>
        <dt>{t('kind')}</dt><dd>{kind.join(', ')}</dd>
        <dt>{t('line')}</dt><dd class="mono">{op.life.string(op.site) || '–'}</dd>
        <dt>{t('duration')}</dt><dd>{op.duration > 0 ? duration(op.duration) : t('untimed')}</dd>
        <dt>{t('bytes')}</dt><dd>{bytes(op.bytes)}</dd>
        <dt>{t('time')}</dt><dd>{clock(op.time, 3)}</dd>
        {op.shapes.length > 0 && (
          <>
            <dt>{t('inputs')}</dt>
            <dd class="mono">{op.shapes.slice(0, 8).map((dims, i) => <div key={i}>{shape(dims)}</div>)}{op.shapes.length > 8 ? `+${op.shapes.length - 8}` : ''}</dd>
          </>
        )}
        {op.out ? <><dt>{t('output')}</dt><dd class="mono">{shape(op.shape)} {dtypeName(op.dtype)}</dd></> : null}
        <dt>{t('session')}</dt><dd>{op.life.programs.get(op.session) ?? ''} #{op.session}</dd>
        <dt>{t('request')}</dt><dd>{number(op.request)}</dd>
        {op.node ? <><dt>{t('tapeNode')}</dt><dd>{number(op.node)}</dd></> : null}
      </dl>
      {links.length > 0 && (
        <>
          <h4>{links[0]![0]}</h4>
          <div class="links">
            {links.map(([, i]) => (
              <button key={i} onClick={() => look(i)}>{state.opName(graph!.ops[i]!.op)}</button>
            ))}
          </div>
        </>
      )}
    </aside>
  );
}

function Twin({ count }: { count: number }) {
  const graph = view?.graph;
  const list: number[] = [];
  for (let i = count - 1; i >= 0 && list.length < 300; i--) list.push(i);
  return (
    <div class="scroll" data-testid="graph-table">
      <table>
        <thead>
          <tr><th class="n">#</th><th>{t('op')}</th><th>{t('result')}</th><th>{t('kind')}</th><th class="n">{t('duration')}</th><th>{t('line')}</th></tr>
        </thead>
        <tbody>
          {graph && list.map((i) => {
            const op = graph.ops[i]!;
            return (
              <tr key={i} onClick={() => look(i)} class={op.flags & FAILED ? 'failed' : ''}>
                <td class="n">{i + 1}</td><td class="mono">{state.opName(op.op)}</td><td class="mono">{signature(op)}</td>
                <td>{t((['forward', 'parameter', 'backward', 'optimiser', 'failed'] as const)[graph.kind[i] as Kind])}</td>
                <td class="n">{duration(op.duration)}</td><td class="dim">{op.life.string(op.site)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function GraphView() {
  useFrames(150);
  if (shown.tables) follow(performance.now());
  const count = visibleCount();
  const steps = view?.life.tracks.get(view.session)?.steps;
  const program = view ? `${view.life.programs.get(view.session) ?? ''} #${view.session}` : '';
  const whole = !!steps && !!view && view.step === steps.current && steps.cut;
  return (
    <Panel
      view="graph"
      title="computationGraph"
      aside={
        <>
          {view && (
            <span class="caption">
              <b>{program}</b> · {t('step')} {steps?.lossy ? '≥ ' : ''}{number(view.step)} · {number(count)} {t('nodes')}
              {steps?.holes.has(view.step) && <span class="warn"> · {t('incomplete')}</span>}
              {whole && <span class="warn"> · {t('cut')}</span>}
            </span>
          )}
          <span class="tools">
            <button class="zoom" aria-label={t('zoomOut')} title={t('zoomOut')} onClick={() => zoom(1 / 1.25)}>−</button>
            <button class="zoom" aria-label={t('zoomIn')} title={t('zoomIn')} onClick={() => zoom(1.25)}>+</button>
            <button aria-label={t('fit')} title={t('fit')} aria-pressed={following} onClick={fitGraph}>F</button>
            <button aria-label={t('toggleBackward')} title={t('toggleBackward')} aria-pressed={backward} onClick={toggleBackward}>G</button>
            <button aria-label={t('heat')} title={t('heat')} aria-pressed={heat !== 'off'} onClick={nextHeat}>H</button>
          </span>
        </>
      }
    >
      <div class="stage">
        {shown.tables ? <Twin count={count} /> : <Canvas />}
        {!view && <p class="empty">{t('noGraph')}</p>}
        <Detail />
      </div>
      <ul class="legend">
        {heat === 'off' ? (
          <>
            <li><i class="key forward" />{t('forward')}</li>
            <li><i class="key backward" />∂ {t('backward')}</li>
            <li><i class="key leaf" />{t('input')}, ◇ {t('parameter')}</li>
            <li><i class="key optimiser" />◆ {t('optimiser')}</li>
            <li><i class="key failed" />✕ {t('failed')}</li>
            <li><i class="key chip" />· {t('earlier')}</li>
            <li><i class="key saved" />{t('saved')}</li>
          </>
        ) : (
          <li class="scale">
            {t('heatOf')} {t(heat === 'time' ? 'heatTime' : 'heatBytes')} 0
            {[0, 0.2, 0.4, 0.6, 0.8, 1].map((value) => <Patch key={value} colour={heatColour(value)} />)}
            {view && count > 0 ? most(count) : ''}
          </li>
        )}
      </ul>
    </Panel>
  );
}

function most(count: number): string {
  let high = 0;
  for (let i = 0; i < count; i++) high = Math.max(high, heat === 'time' ? view!.graph.ops[i]!.duration : view!.graph.ops[i]!.bytes);
  return heat === 'time' ? duration(high) : bytes(high);
}

/** Colours from numbers are set by script: the page's policy allows no style attributes. */
function Patch({ colour }: { colour: string }) {
  return <i class="patch" ref={(element) => { if (element) element.style.background = colour; }} />;
}

