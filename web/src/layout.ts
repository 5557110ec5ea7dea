// The computation graph and where its nodes lie. A node's place is final when it arrives: nothing ever moves.
//
// Ops arrive in the order they ran, which is a topological order, so rank = 1 + the highest rank of the inputs needs no
// second look. Forward nodes take the lane nearest to their first data input, lanes >= 0. A backward op takes the rank of
// its forward node and the lane nearest to its mirror image, lanes < 0: gradients flow up on the left, and what was saved
// is a short way across.
// SPDX-License-Identifier: Apache-2.0
import { BACKWARD, FAILED, LEAF, OPTIMISER } from './message';

/** What the layout reads of an op. */
export interface Placed {
  time: number;
  flags: number;
  node: number;
  out: number;
  in: ArrayLike<number>;
  shapes: number[][];
}

/** An input that is drawn beside its op instead of as a node far away. */
export interface Chip {
  tensor: number;
  shape: number[];
  leaf: boolean;
}

export const enum Edge {
  data,
  saved,
  gradient,
}

export const enum Kind {
  forward,
  leaf,
  backward,
  optimiser,
  failed,
}

const WIDEST = 12; // forward nodes in a row; then the next row is taken
const REACH = 16; // lanes looked at to each side for a free one, so that a node costs the same in a wide row
const LEAF_REACH = 2; // ranks over which a leaf's edge is drawn; further away it is a chip

interface Row {
  lanes: Set<number>;
  lowest: number;
  highest: number;
  forward: number;
}

export class Graph<T extends Placed = Placed> {
  readonly ops: T[] = [];
  readonly kind: Kind[] = [];
  readonly rank: number[] = [];
  readonly lane: number[] = [];
  readonly chips: Chip[][] = [];
  readonly from: number[] = [];
  readonly to: number[] = [];
  readonly edge: Edge[] = [];
  /** How many edges there were when the node had arrived. */
  readonly edgesUntil: number[] = [];
  top = 0;
  bottom = 0;
  left = 0;
  right = 0;
  private readonly producer = new Map<number, number>();
  private readonly forwardOf = new Map<number, number>();
  private readonly rows = new Map<number, Row>();
  private readonly open = new Map<number, number>(); // a full row -> a row further down that may not be
  private frontier = 0; // the rank of the newest forward node: what is made from nothing goes there

  constructor(private readonly isLeaf: (tensor: number) => boolean = () => false) {}

  get length(): number {
    return this.ops.length;
  }

  /** The forward node that made this node of the tape, or -1. */
  forward(node: number): number {
    return node === 0 ? -1 : (this.forwardOf.get(node) ?? -1);
  }

  /** The node at a place, or -1. Linear, as it is asked once a click. */
  find(rank: number, lane: number, count = this.length): number {
    for (let i = 0; i < count; i++) if (this.rank[i] === rank && this.lane[i] === lane) return i;
    return -1;
  }

  /** How many nodes there were at a time. */
  until(time: number): number {
    let low = 0;
    let high = this.ops.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ops[middle]!.time <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(op: T): number {
    const index = this.ops.length;
    const backward = (op.flags & BACKWARD) !== 0;
    const optimiser = (op.flags & OPTIMISER) !== 0;
    const sources: number[] = [];
    const chips: Chip[] = [];
    let deepest = -Infinity;
    let data = -1;
    for (let i = 0; i < op.in.length; i++) {
      const tensor = op.in[i]!;
      const source = this.producer.get(tensor);
      if (source === undefined) {
        if (tensor !== 0) chips.push({ tensor, shape: op.shapes[i] ?? [], leaf: this.isLeaf(tensor) });
        continue;
      }
      sources.push(source);
      deepest = Math.max(deepest, this.rank[source]!);
      if (this.kind[source] !== Kind.leaf && (data < 0 || (backward && this.lane[data]! >= 0))) data = source;
    }
    const leaf = !backward && !optimiser && op.in.length === 0;
    let rank: number;
    let lane: number;
    if (optimiser) {
      rank = this.top - 1;
      lane = this.free(rank, -1);
    } else if (backward) {
      const forward = this.forward(op.node);
      const follows = data >= 0 && this.lane[data]! < 0; // a gradient comes in
      rank = forward >= 0 ? this.rank[forward]! : follows ? this.rank[data]! - 1 : this.bottom;
      lane = this.free(rank, forward >= 0 ? Math.min(-1, -1 - this.lane[forward]!) : follows ? this.lane[data]! : -1);
    } else {
      rank = this.roomy(leaf ? this.frontier : deepest === -Infinity ? this.frontier : deepest + 1);
      lane = this.free(rank, data >= 0 ? Math.max(0, this.lane[data]!) : 0);
      this.frontier = rank;
    }
    this.ops.push(op);
    this.kind.push(
      op.flags & FAILED ? Kind.failed : optimiser ? Kind.optimiser : backward ? Kind.backward
        : leaf || op.flags & LEAF ? Kind.leaf : Kind.forward,
    );
    this.rank.push(rank);
    this.lane.push(lane);
    this.chips.push(chips);
    for (const source of sources) this.connect(source, index);
    this.edgesUntil.push(this.from.length);
    this.top = Math.min(this.top, rank);
    this.bottom = Math.max(this.bottom, rank);
    this.left = Math.min(this.left, lane);
    this.right = Math.max(this.right, lane);
    if (op.out !== 0) this.producer.set(op.out, index);
    if (!backward && op.node !== 0) this.forwardOf.set(op.node, index);
    return index;
  }

  private connect(source: number, index: number): void {
    const away = Math.abs(this.rank[source]! - this.rank[index]!);
    if (this.kind[source] === Kind.leaf && away > LEAF_REACH) {
      const op = this.ops[index]!;
      for (let i = 0; i < op.in.length; i++) {
        const tensor = op.in[i]!;
        if (this.producer.get(tensor) !== source) continue;
        if (this.chips[index]!.some((chip) => chip.tensor === tensor)) continue;
        this.chips[index]!.push({ tensor, shape: op.shapes[i] ?? [], leaf: (this.ops[source]!.flags & LEAF) !== 0 });
      }
      return;
    }
    this.from.push(source);
    this.to.push(index);
    const fromBackward = this.lane[source]! < 0;
    this.edge.push(fromBackward ? Edge.gradient : this.lane[index]! < 0 ? Edge.saved : Edge.data);
  }

  /** The first row from `rank` on that is not full of forward nodes. */
  private roomy(rank: number): number {
    let found = rank;
    while (this.open.has(found)) found = this.open.get(found)!;
    for (let r = rank; r !== found; ) {
      const next = this.open.get(r)!;
      this.open.set(r, found);
      r = next;
    }
    return found;
  }

  /** Takes the free lane nearest to the wanted one, on its side of zero. */
  private free(rank: number, wanted: number): number {
    let row = this.rows.get(rank);
    if (!row) this.rows.set(rank, (row = { lanes: new Set(), lowest: 0, highest: -1, forward: 0 }));
    const outward = wanted < 0 ? -1 : 1;
    let lane = wanted < 0 ? Math.min(row.lowest, 0) - 1 : row.highest + 1;
    for (let d = 0; d <= REACH; d++) {
      if (!row.lanes.has(wanted + d * outward)) {
        lane = wanted + d * outward;
        break;
      }
      const inner = wanted - d * outward;
      if (inner < 0 === wanted < 0 && !row.lanes.has(inner)) {
        lane = inner;
        break;
      }
    }
    row.lanes.add(lane);
    row.lowest = Math.min(row.lowest, lane);
    row.highest = Math.max(row.highest, lane);
    if (lane >= 0 && ++row.forward >= WIDEST) this.open.set(rank, rank + 1);
    return lane;
  }
}
