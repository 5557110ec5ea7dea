// The frame around each view, and a canvas that fits it. SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren, RefObject } from 'preact';
import { useEffect } from 'preact/hooks';
import { touch } from './frame';
import { t, type Text } from './i18n';
import { go, shown, type View } from './route';

export function Panel(props: { view: View; title: Text; aside?: ComponentChildren; children: ComponentChildren }) {
  const full = shown.view === props.view;
  return (
    <section class={`panel ${props.view}`} data-testid={props.view} aria-label={t(props.title)}>
      <header>
        <h2>{t(props.title)}</h2>
        <div class="aside">{props.aside}</div>
        <button
          class="icon"
          aria-label={t(full ? 'overview' : 'enlarge')}
          title={t(full ? 'overview' : 'enlarge')}
          onClick={() => go(full ? null : props.view)}
        >
          {full ? '⤡' : '⤢'}
        </button>
      </header>
      {props.children}
    </section>
  );
}

/** Gives the canvas as many pixels as its box has on the screen. Returns false if there is nothing to draw on. */
export function fit(canvas: HTMLCanvasElement): CanvasRenderingContext2D | null {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (width === 0 || height === 0) return null;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext('2d');
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Draws again when the element's size changes. */
export function useSize(ref: RefObject<HTMLElement>): void {
  useEffect(() => {
    const observer = new ResizeObserver(() => touch(true));
    if (ref.current) observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
}
