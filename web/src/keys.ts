// The keyboard. SPDX-License-Identifier: Apache-2.0
import { touch } from './frame';
import { fitGraph, nextHeat, pan, toggleBackward, zoom } from './graph';
import { go, shown, VIEWS } from './route';
import { state } from './state';
import { nextLanguage, nextTheme } from './theme';

const PAN = 60; // pixels
const PAGE = 5000; // ms

function step(forward: boolean): void {
  // Back from between two ops is to the one before the last that is seen.
  const from = forward ? state.time : (state.opsBefore(state.time, state.session, 1)[0]?.time ?? state.time);
  const time = state.neighbour(from, state.session, forward);
  if (time !== null) state.pause(time);
}

function arrow(event: KeyboardEvent, dx: number, dy: number): void {
  if (dx !== 0 && state.paused !== null && !event.shiftKey) step(dx > 0);
  else pan(dx * PAN, dy * PAN);
}

function escape(): void {
  if (shown.help) shown.help = false;
  else if (state.selected) state.selected = null;
  else if (state.followed) state.follow(0);
  else if (shown.view) go(null);
  touch(true);
}

/** What a key does; false: nothing. */
function press(event: KeyboardEvent): boolean | void {
  const digit = Number(event.key);
  if (event.key >= '1' && event.key <= '4') {
    const view = VIEWS[digit - 1]!;
    go(shown.view === view ? null : view);
    return;
  }
  switch (event.key.length === 1 ? event.key.toLowerCase() : event.key) {
    case '0': return go(null);
    case ' ': return state.pause(state.paused === null ? state.now : null);
    case 'ArrowLeft': return arrow(event, -1, 0);
    case 'ArrowRight': return arrow(event, 1, 0);
    case 'ArrowUp': return arrow(event, 0, -1);
    case 'ArrowDown': return arrow(event, 0, 1);
    case 'PageUp': return state.pause(state.time - PAGE);
    case 'PageDown': return state.pause(state.time + PAGE >= state.now ? null : state.time + PAGE);
    case 'End': return state.pause(null);
    case '+': case '=': return zoom(1.25);
    case '-': return zoom(1 / 1.25);
    case 'f': return fitGraph();
    case 'g': return toggleBackward();
    case 'h': return nextHeat();
    case 'u': shown.memoryBy = shown.memoryBy === 'class' ? 'user' : 'class'; return touch(true);
    case 't': shown.tables = !shown.tables; return touch(true);
    case 'd': return nextTheme();
    case 'l': return nextLanguage();
    case '?': shown.help = !shown.help; return touch(true);
    case 'Escape': return escape();
    default: return false;
  }
}

export function startKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const element = event.target as HTMLElement;
    if (event.key === ' ' && element.closest('button')) return; // presses it
    if (press(event) !== false) event.preventDefault();
  });
}
