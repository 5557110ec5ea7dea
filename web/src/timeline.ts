// What was, in order of time, for as long as it is kept. SPDX-License-Identifier: Apache-2.0

export interface Timed {
  time: number;
}

export class Timeline<T extends Timed> {
  items: T[] = [];

  get last(): T | undefined {
    return this.items[this.items.length - 1];
  }

  push(item: T): void {
    this.items.push(item);
  }

  /** The index of the last item that is not later than `time`, or -1. */
  index(time: number): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle]!.time <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  at(time: number): T | undefined {
    return this.items[this.index(time)];
  }

  /** Forgets what is older than `time`, but for the newest of those: it still holds at `time`. */
  forget(time: number): void {
    const index = this.index(time);
    if (index > 0) this.items.splice(0, index);
  }
}
