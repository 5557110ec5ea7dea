// Which view is shown, in the address, and what the views share of how they show it. SPDX-License-Identifier: Apache-2.0
import { touch } from './frame';

export const VIEWS = ['memory', 'sessions', 'ops', 'graph'] as const;
export type View = (typeof VIEWS)[number];

export const shown = {
  /** null: all four. */
  view: null as View | null,
  tables: false,
  help: false,
  memoryBy: 'class' as 'class' | 'user',
  restartsClosed: 0,
};

function read(): void {
  const name = location.hash.replace(/^#\/?/, '');
  shown.view = (VIEWS as readonly string[]).includes(name) ? (name as View) : null;
  touch(true);
}

export function go(view: View | null): void {
  location.hash = view ? `#/${view}` : '#/';
}

export function startRoute(): void {
  addEventListener('hashchange', read);
  read();
}
