// When things are drawn: once a frame at most, and each view no more often than it asks for.
// SPDX-License-Identifier: Apache-2.0
import { useEffect, useReducer } from 'preact/hooks';

interface Drawer {
  draw: (now: number) => boolean | void;
  every: number;
  last: number;
  dirty: boolean;
}

const drawers = new Set<Drawer>();
const channel = new MessageChannel();
let scheduled = false;
let fresh = -1; // wall time of the newest sample that no frame has shown yet
let latencies: number[] = [];
let told = 0;

/** Everything may have changed; `now` is for what a person did, which waits for no interval. */
export function touch(now = false): void {
  for (const drawer of drawers) {
    drawer.dirty = true;
    if (now) drawer.last = -Infinity;
  }
  schedule();
}

/** A sample of this wall time (ms) has come: measures how old it is when its frame is out. */
export function sampled(unixMs: number): void {
  fresh = Math.max(fresh, unixMs);
}

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(frame);
}

function frame(now: number): void {
  scheduled = false;
  let again = false;
  let drawn = false;
  for (const drawer of drawers) {
    if (!drawer.dirty) continue;
    if (now - drawer.last < drawer.every) {
      again = true;
      continue;
    }
    drawer.dirty = false;
    drawer.last = now;
    drawn = true;
    if (drawer.draw(now)) drawer.dirty = again = true; // it moves
  }
  if (again) schedule();
  if (drawn && fresh > 0) {
    channel.port2.postMessage(fresh); // arrives after this frame has been handed over
    fresh = -1;
  }
}

channel.port1.onmessage = (event: MessageEvent<number>) => {
  const now = Date.now();
  latencies.push(now - event.data);
  if (latencies.length > 120) latencies = latencies.slice(-60);
  if (now - told < 500) return;
  told = now;
  const sorted = latencies.slice().sort((a, b) => a - b);
  document.documentElement.dataset.eventToPixelMs = sorted[sorted.length >> 1]!.toFixed(1);
};

/** Calls `draw` in frames in which something may have changed, at most every `every` ms. Returns how to stop that. */
export function onFrame(draw: (now: number) => boolean | void, every = 0): () => void {
  const drawer = { draw, every, last: -Infinity, dirty: true };
  drawers.add(drawer);
  schedule();
  return () => drawers.delete(drawer);
}

/** Renders the component again when something may have changed, at most every `every` ms. */
export function useFrames(every: number): void {
  const [, render] = useReducer((n: number) => n + 1, 0);
  useEffect(() => onFrame(() => render(undefined as never), every), [every]);
}
