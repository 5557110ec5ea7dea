// Cuts a session's ops into the steps of its training loop. SPDX-License-Identifier: Apache-2.0
import { BACKWARD, MADE_NODE, OPTIMISER } from './message';

/** A step of more ops is cut, so that a program without a loop cannot fill the page. */
export const STEP_OPS = 20000;

const HOLES = 64;

export class Steps {
  /** The number of the step that ops are added to, from 1. */
  current = 0;
  /** Ops of it so far. */
  count = 0;
  /** When it began, and how long the one before lasted. */
  began = 0;
  previousLength = Infinity;
  /** The newest step that is known from its first op to its last, and when it ended. */
  complete = 0;
  completed = -Infinity;
  /** Whether the current step goes on from one that was cut for its length. */
  cut = false;
  /** Whether records were lost at any time: then steps are at least as many as counted. */
  lossy = false;
  /** Steps of late during which records were lost. */
  readonly holes = new Set<number>();
  lastTime = -Infinity;
  private broken = true; // the page may have joined in the middle
  private walked = false;
  private stepped = false;

  /** The step that an op belongs to. A new one begins with the first forward op after an optimiser's step, or with the
   * first op that makes a node after a backward: what reads gradients in between, as clipping does, makes none. */
  add(flags: number, time: number): number {
    this.lastTime = time;
    if (this.current === 0) this.begin(time, false);
    else if (this.count >= STEP_OPS) {
      this.broken = true;
      this.begin(time, true);
    }
    if (flags & OPTIMISER) this.stepped = true;
    else if (flags & BACKWARD) this.walked = true;
    else if (this.stepped || (this.walked && flags & MADE_NODE)) this.begin(time, false);
    this.count++;
    return this.current;
  }

  /** Records were lost here. */
  gap(): void {
    this.broken = true;
    this.lossy = true;
    this.holes.add(this.current);
    if (this.holes.size > HOLES) this.holes.delete(this.holes.values().next().value!);
  }

  private begin(time: number, cut: boolean): void {
    if (this.current > 0) {
      this.previousLength = time - this.began;
      if (!this.broken) {
        this.complete = this.current;
        this.completed = time;
      }
      this.broken = cut;
    }
    this.current++;
    this.count = 0;
    this.began = time;
    this.cut = cut;
    this.walked = false;
    this.stepped = false;
  }
}
