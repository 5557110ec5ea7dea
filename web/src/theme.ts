// Theme and language, as chosen or as the system says, and the colours for canvases. SPDX-License-Identifier: Apache-2.0
import { touch } from './frame';
import { currentLanguage, setLanguage, type Language } from './i18n';

export type Theme = 'light' | 'dark' | 'projector';

/** Okabe and Ito's palette, in an order in which neighbours differ most: told apart by colour-blind readers too. */
const SERIES = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#8a8f98'];

export interface Colours {
  background: string;
  panel: string;
  line: string;
  text: string;
  dim: string;
  accent: string;
  forward: string;
  leaf: string;
  backward: string;
  optimiser: string;
  failed: string;
  box: string;
  rem: number;
  /** Pixels of small type on charts; on a projector nothing is small. */
  small: number;
  sans: string;
  mono: string;
}

let cached: Colours | null = null;
let current: Theme = 'light';

export function theme(): Theme {
  return current;
}

export function series(i: number): string {
  return SERIES[Math.min(i, SERIES.length - 1)]!;
}

export const SERIES_MOST = SERIES.length;

export function colours(): Colours {
  if (cached) return cached;
  const style = getComputedStyle(document.documentElement);
  const value = (name: string) => style.getPropertyValue(`--${name}`).trim();
  cached = {
    background: value('background'),
    panel: value('panel'),
    line: value('line'),
    text: value('text'),
    dim: value('dim'),
    accent: value('accent'),
    forward: value('forward'),
    leaf: value('leaf'),
    backward: value('backward'),
    optimiser: value('optimiser'),
    failed: value('failed'),
    box: value('box'),
    rem: parseFloat(style.fontSize),
    small: parseFloat(style.fontSize) * (current === 'projector' ? 1 : 0.8),
    sans: value('sans'),
    mono: value('mono'),
  };
  return cached;
}

function remember(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Not kept, then.
  }
}

function remembered(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function setTheme(to: Theme): void {
  current = to;
  cached = null;
  document.documentElement.dataset.theme = to;
  touch(true);
}

export function nextTheme(): void {
  setTheme(current === 'light' ? 'dark' : current === 'dark' ? 'projector' : 'light');
  remember('theme', current);
}

export function nextLanguage(): void {
  const to: Language = currentLanguage() === 'en' ? 'tr' : 'en';
  setLanguage(to);
  remember('language', to);
  touch(true);
}

export function startTheme(): void {
  const language = remembered('language');
  setLanguage(language === 'tr' || (!language && navigator.language.startsWith('tr')) ? 'tr' : 'en');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const kept = remembered('theme');
  setTheme(kept === 'light' || kept === 'dark' || kept === 'projector' ? kept : system.matches ? 'dark' : 'light');
  system.addEventListener('change', () => {
    if (!remembered('theme')) setTheme(system.matches ? 'dark' : 'light');
  });
}
