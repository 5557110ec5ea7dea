// Draws a computation graph on a canvas: what is in sight, in as much detail as there is room for.
// SPDX-License-Identifier: Apache-2.0
import { duration, shape, bytes } from './format';
import { t } from './i18n';
import { Edge, Kind, type Graph } from './layout';
import { dtypeName, FAILED, LEAF, VIEW } from './message';
import { state, type Op } from './state';
import type { Colours } from './theme';

/** One place of the layout, and the box in it, in units of the camera. */
export const CELL = { width: 196, height: 96 };
export const BOX = { width: 158, height: 46 };

export type Heat = 'off' | 'time' | 'bytes';

export interface Camera {
  x: number; // what lies in the middle of the canvas
  y: number;
  scale: number;
}

export interface Picture {
  graph: Graph<Op>;
  count: number; // nodes that are there yet
  camera: Camera;
  width: number;
  height: number;
  colours: Colours;
  heat: Heat;
  backward: boolean;
  /** Larger type and less of it, to be read from afar. */
  large: boolean;
  selected: number;
  newest: number;
}

/** Dark blue to yellow, told apart by colour-blind readers (cividis). */
const CIVIDIS = ['#00224e', '#35456c', '#666970', '#948e77', '#c8b866', '#fee838'];

export function heatColour(value: number): string {
  return CIVIDIS[Math.max(0, Math.min(CIVIDIS.length - 1, Math.round(value * (CIVIDIS.length - 1))))]!;
}

export function place(graph: Graph<Op>, i: number): [number, number] {
  return [graph.lane[i]! * CELL.width, graph.rank[i]! * CELL.height];
}

/** The node under a point of the camera's plane, or -1. */
export function nodeAt(graph: Graph<Op>, count: number, x: number, y: number): number {
  const lane = Math.round(x / CELL.width);
  const rank = Math.round(y / CELL.height);
  if (Math.abs(x - lane * CELL.width) > BOX.width / 2 || Math.abs(y - rank * CELL.height) > BOX.height / 2) return -1;
  return graph.find(rank, lane, count);
}

export function heatValue(op: Op, heat: Heat): number {
  return heat === 'time' ? op.duration : heat === 'bytes' ? op.bytes : 0;
}

export function draw(ctx: CanvasRenderingContext2D, p: Picture): void {
  const { graph, count, camera, width, height, colours: c } = p;
  const { scale } = camera;
  ctx.fillStyle = c.panel;
  ctx.fillRect(0, 0, width, height);
  const left = camera.x - width / 2 / scale;
  const top = camera.y - height / 2 / scale;
  const right = left + width / scale;
  const bottom = top + height / scale;
  ctx.save();
  ctx.scale(scale, scale);
  ctx.translate(-left, -top);

  const fine = scale > 0.3;
  const half = { x: BOX.width / 2, y: BOX.height / 2 };

  if (graph.left < 0 && p.backward) {
    // Between the halves.
    ctx.strokeStyle = c.line;
    ctx.lineWidth = 1 / scale;
    ctx.beginPath();
    ctx.moveTo(-CELL.width / 2, Math.max(top, (graph.top - 1) * CELL.height));
    ctx.lineTo(-CELL.width / 2, Math.min(bottom, (graph.bottom + 1) * CELL.height));
    ctx.stroke();
  }

  edges(ctx, p, left, top, right, bottom, fine);

  // Boxes, one colour at a time.
  const margin = CELL.width;
  const seen: number[] = [];
  for (let i = 0; i < count; i++) {
    const x = graph.lane[i]! * CELL.width;
    const y = graph.rank[i]! * CELL.height;
    if (x < left - margin || x > right + margin || y < top - CELL.height || y > bottom + CELL.height) continue;
    if (!p.backward && graph.lane[i]! < 0) continue;
    seen.push(i);
  }
  let most = 0;
  if (p.heat !== 'off') for (let i = 0; i < count; i++) most = Math.max(most, heatValue(graph.ops[i]!, p.heat));
  const warmth = (i: number) => {
    const value = heatValue(graph.ops[i]!, p.heat);
    return most > 0 && value > 0 ? Math.sqrt(value / most) : 0;
  };
  for (const i of [p.newest, p.selected]) {
    if (i < 0 || i >= count || (!p.backward && graph.lane[i]! < 0)) continue;
    const [x, y] = place(graph, i);
    ctx.strokeStyle = i === p.selected ? c.text : c.accent;
    ctx.lineWidth = Math.max(2.5, 2 / scale);
    ctx.beginPath();
    ctx.roundRect(x - half.x - 5, y - half.y - 5, BOX.width + 10, BOX.height + 10, 11);
    ctx.stroke();
  }
  // The forward op of what is chosen, and its backward ops.
  const tape = p.selected >= 0 ? graph.ops[p.selected]!.node : 0;
  if (tape !== 0) {
    ctx.strokeStyle = c.text;
    ctx.lineWidth = Math.max(1.2, 1 / scale);
    ctx.setLineDash([3, 3]);
    for (const i of seen) {
      if (graph.ops[i]!.node !== tape || i === p.selected) continue;
      const [x, y] = place(graph, i);
      ctx.strokeRect(x - half.x - 5, y - half.y - 5, BOX.width + 10, BOX.height + 10);
    }
    ctx.setLineDash([]);
  }
  const byKind = [c.forward, c.leaf, c.backward, c.optimiser, c.failed];
  if (scale < 0.22) {
    for (let kind = 0; kind < byKind.length; kind++) {
      ctx.fillStyle = byKind[kind]!;
      for (const i of seen) {
        if (graph.kind[i] !== kind) continue;
        if (p.heat !== 'off') ctx.fillStyle = heatColour(warmth(i));
        ctx.fillRect(graph.lane[i]! * CELL.width - half.x, graph.rank[i]! * CELL.height - half.y, BOX.width, BOX.height);
      }
    }
  } else {
    ctx.textBaseline = 'middle';
    for (const i of seen) box(ctx, p, i, byKind[graph.kind[i]!]!, warmth(i));
  }
  ctx.restore();
}

function edges(
  ctx: CanvasRenderingContext2D, p: Picture, left: number, top: number, right: number, bottom: number, fine: boolean,
): void {
  const { graph, count, colours: c } = p;
  const until = count > 0 ? graph.edgesUntil[count - 1]! : 0;
  const styles: [Edge, string, number[]][] = [
    [Edge.saved, c.dim, [4, 4]],
    [Edge.data, c.dim, []],
    [Edge.gradient, c.backward, []],
  ];
  for (const [kind, colour, dash] of styles) {
    ctx.strokeStyle = colour;
    ctx.globalAlpha = kind === Edge.saved ? 0.55 : 0.8;
    ctx.lineWidth = Math.max(1.3, 1 / p.camera.scale);
    ctx.setLineDash(fine ? dash : []);
    if (!fine) ctx.globalAlpha = kind === Edge.saved ? 0.15 : 0.45;
    ctx.beginPath();
    for (let e = 0; e < until; e++) {
      if (graph.edge[e] !== kind) continue;
      const from = graph.from[e]!;
      const to = graph.to[e]!;
      const fromLane = graph.lane[from]!;
      const toLane = graph.lane[to]!;
      if (!p.backward && (fromLane < 0 || toLane < 0)) continue;
      const x0 = fromLane * CELL.width;
      const x1 = toLane * CELL.width;
      const y0 = graph.rank[from]! * CELL.height;
      const y1 = graph.rank[to]! * CELL.height;
      const pad = CELL.width;
      if ((x0 < left - pad && x1 < left - pad) || (x0 > right + pad && x1 > right + pad)) continue;
      if ((y0 < top - pad && y1 < top - pad) || (y0 > bottom + pad && y1 > bottom + pad)) continue;
      if (!fine) {
        ctx.moveTo(x0, y0);
        ctx.lineTo(x1, y1);
      } else {
        curve(ctx, x0, y0, x1, y1, kind);
      }
    }
    ctx.stroke();
    if (fine) arrows(ctx, p, kind, until, colour);
  }
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
}

/** Where an edge leaves its source and enters its target: never through a box, since it runs between rows and lanes. */
function ends(x0: number, y0: number, x1: number, y1: number): [number, number, number, number] {
  const h = BOX.height / 2;
  const w = BOX.width / 2;
  if (y0 === y1) {
    const side = x1 < x0 ? -1 : 1;
    if (Math.abs(x1 - x0) <= CELL.width) return [x0 + side * w, y0, x1 - side * w, y1];
    return [x0 + side * w * 0.55, y0 + h, x1 - side * w * 0.55, y1 + h];
  }
  const down = y1 > y0 ? 1 : -1;
  // What comes from the other side enters at that side, apart from the flow along the half.
  const shift = Math.max(-1, Math.min(1, (x0 - x1) / CELL.width)) * w * 0.4;
  return [x0 - shift * 0.6, y0 + down * h, x1 + shift, y1 - down * h];
}

function curve(ctx: CanvasRenderingContext2D, x0: number, y0: number, x1: number, y1: number, kind: Edge): void {
  const [ax, ay, bx, by] = ends(x0, y0, x1, y1);
  ctx.moveTo(ax, ay);
  const gap = (CELL.height - BOX.height) / 2;
  if (y0 === y1) {
    if (ay === y0) ctx.lineTo(bx, by);
    else ctx.bezierCurveTo(ax, ay + gap, bx, by + gap, bx, by); // under the boxes in between
    return;
  }
  const down = y1 > y0 ? 1 : -1;
  if (Math.abs(y1 - y0) <= CELL.height * 1.01) {
    const bend = gap * 1.2;
    ctx.bezierCurveTo(ax, ay + down * bend, bx, by - down * bend, bx, by);
    return;
  }
  // A long one goes along the channel between two lanes.
  const side = x1 !== x0 ? Math.sign(x1 - x0) : kind === Edge.gradient ? -1 : 1;
  const channel = x0 + side * (CELL.width / 2) + (kind === Edge.saved ? side * 6 : 0);
  const leave = y0 + down * (CELL.height / 2);
  const enter = y1 - down * (CELL.height / 2);
  ctx.bezierCurveTo(ax, leave, channel, leave - down * gap * 0.4, channel, leave + down * gap);
  ctx.lineTo(channel, enter - down * gap);
  ctx.bezierCurveTo(channel, enter + down * gap * 0.4, bx, enter, bx, by);
}

function arrows(ctx: CanvasRenderingContext2D, p: Picture, kind: Edge, until: number, colour: string): void {
  const { graph, camera, width, height } = p;
  const left = camera.x - width / 2 / camera.scale;
  const top = camera.y - height / 2 / camera.scale;
  ctx.fillStyle = colour;
  ctx.beginPath();
  for (let e = 0; e < until; e++) {
    if (graph.edge[e] !== kind) continue;
    const from = graph.from[e]!;
    const to = graph.to[e]!;
    if (!p.backward && (graph.lane[from]! < 0 || graph.lane[to]! < 0)) continue;
    const x1 = graph.lane[to]! * CELL.width;
    const y1 = graph.rank[to]! * CELL.height;
    if (x1 < left - CELL.width || x1 > left + width / camera.scale + CELL.width) continue;
    if (y1 < top - CELL.height || y1 > top + height / camera.scale + CELL.height) continue;
    const x0 = graph.lane[from]! * CELL.width;
    const y0 = graph.rank[from]! * CELL.height;
    const [, ay, bx, by] = ends(x0, y0, x1, y1);
    if (y0 === y1 && ay === y0) {
      const side = x1 > x0 ? -1 : 1;
      ctx.moveTo(bx, by);
      ctx.lineTo(bx + side * 7, by - 4);
      ctx.lineTo(bx + side * 7, by + 4);
    } else {
      const down = y0 === y1 ? -1 : y1 > y0 ? 1 : -1;
      ctx.moveTo(bx, by);
      ctx.lineTo(bx - 4, by - down * 7);
      ctx.lineTo(bx + 4, by - down * 7);
    }
  }
  ctx.fill();
}

function clip(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function box(ctx: CanvasRenderingContext2D, p: Picture, i: number, colour: string, warmth: number): void {
  const { graph, colours: c, camera } = p;
  const op = graph.ops[i]!;
  const kind = graph.kind[i]!;
  const [x, y] = place(graph, i);
  const w = BOX.width;
  const h = BOX.height;
  const hot = p.heat !== 'off' && warmth > 0;
  const radius = kind === Kind.leaf ? h / 2 : kind === Kind.optimiser ? 2 : 6;
  ctx.beginPath();
  ctx.roundRect(x - w / 2, y - h / 2, w, h, radius);
  ctx.fillStyle = hot ? heatColour(warmth) : c.box;
  ctx.fill();
  ctx.strokeStyle = colour;
  ctx.lineWidth = op.flags & FAILED ? 3 : 1.6;
  if (op.flags & VIEW) ctx.setLineDash([5, 3]);
  ctx.stroke();
  ctx.setLineDash([]);
  if (kind !== Kind.leaf) {
    // A bar on the side that the flow's half is on.
    ctx.fillStyle = colour;
    ctx.fillRect(kind === Kind.backward ? x + w / 2 - 5 : x - w / 2, y - h / 2 + radius, 5, h - 2 * radius);
  }
  const pixels = 13 * camera.scale;
  if (pixels < 5.5) return;
  const bright = hot && warmth > 0.5;
  const ink = hot ? (bright ? '#111' : '#fff') : c.text;
  const dim = hot ? ink : c.dim;
  const mark = op.flags & FAILED ? '✕ ' : kind === Kind.backward ? '∂ ' : kind === Kind.optimiser ? '◆ ' : op.flags & LEAF ? '◇ ' : '';
  const time = p.large ? '' : p.heat === 'bytes' ? (op.bytes ? bytes(op.bytes) : '') : op.duration > 0 ? duration(op.duration) : '';
  const inset = kind === Kind.leaf ? 16 : 12;
  ctx.textAlign = 'left';
  ctx.fillStyle = op.flags & FAILED && !hot ? c.failed : ink;
  ctx.font = `600 ${p.large ? 18.5 : 13}px ${c.mono}`;
  const letters = p.large ? 12 : time ? 18 - Math.min(time.length, 8) : 17;
  ctx.fillText(clip(mark + state.opName(op.op), letters), x - w / 2 + inset, y - 9);
  ctx.font = `${p.large ? 15 : 11.5}px ${c.mono}`;
  ctx.fillStyle = dim;
  // Of what failed the inputs tell why.
  const text = op.flags & FAILED ? op.shapes.map(shape).join(' × ')
    : op.out ? `${shape(op.shape)} ${dtypeName(op.dtype)}` : `${op.in.length} ${t('tensors')}`;
  ctx.fillText(clip(text, p.large ? 15 : 20), x - w / 2 + inset, y + 11);
  if (time) {
    ctx.textAlign = 'right';
    ctx.font = `10.5px ${c.mono}`;
    ctx.fillText(time, x + w / 2 - inset + 2, y - 9);
  }
  const chips = graph.chips[i]!;
  if (chips.length > 0) {
    const leaf = chips.some((chip) => chip.leaf);
    const first = chips.find((chip) => chip.leaf) ?? chips[0]!;
    const label = chips.length > 2 ? `${chips.length}×` : chips.length > 1 ? `${shape(first.shape)} +1` : shape(first.shape);
    const shown = `${leaf ? '◇' : '·'} ${clip(label, p.large ? 9 : 13)}`;
    const type = p.large ? 14 : 10.5;
    ctx.font = `${type}px ${c.mono}`;
    const wide = shown.length * type * 0.605 + 12;
    const cx = x + Math.max(8, w / 2 - wide + 6); // right of where edges enter
    const cy = y - h / 2 - 9;
    ctx.beginPath();
    ctx.roundRect(cx, cy - type / 2 - 3, wide, type + 6, type / 2 + 3);
    ctx.fillStyle = c.panel;
    ctx.fill();
    ctx.strokeStyle = leaf ? c.leaf : c.dim;
    ctx.lineWidth = 1.2;
    ctx.stroke();
    ctx.fillStyle = leaf ? c.leaf : c.dim;
    ctx.textAlign = 'left';
    ctx.fillText(shown, cx + 7, cy + 0.5);
  }
}
