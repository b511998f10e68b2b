import { maxTopicBytes } from '../core/topic.ts';
import { type CharSet, complement, everyUnit, intersect, maxUnit } from './charset.ts';
import type { Assertion, Tree } from './tree.ts';

// Indexes into the arrays of this file are in range by construction: hence `as number` where they are read.

/** The largest pattern: its length when all counts are written out. */
export const maxSize = 1_000;
// A repeated list of 128 words reaches it. The slowest pattern found below it takes 0.4 ms for the longest topic, the
// slowest with twice as many edges 1.5 ms.
const maxEdges = 16_384;

/**
 * A pattern as a position automaton (Glushkov 1961): no empty moves, and nothing left of `^`, `$` and `\b`, which are
 * decided while it is built. Position 0 is the start; every other one is a character that was read.
 */
export interface Machine {
  /** How many positions there are, the start included. */
  readonly size: number;
  /** The distinct sets of characters. */
  readonly sets: readonly CharSet[];
  /** Each position's set, as an index into `sets`. */
  readonly setOf: Uint16Array;
  /** The positions that can come next, per position. */
  readonly follow: readonly Uint16Array[];
  /** 1 where the pattern matches if the topic ends here. */
  readonly accepts: Uint8Array;
  /** What is special about a position: {@link ordinary}, {@link floating} or {@link settled}. */
  readonly roles: Uint8Array;
}

/** A position like any other. */
export const ordinary = 0;
/** A loop over any character that begins the pattern: reached by every topic, and never left. */
export const floating = 1;
/** A loop over any character that ends the pattern: once reached, the topic matches. */
export const settled = 2;

/** The length of a tree when all counts are written out: what {@link buildMachine} takes must be bounded by this. */
export function sizeOf(tree: Tree): number {
  switch (tree.type) {
    case 'empty':
      return 0;
    case 'concat':
      return tree.parts.reduce((sum, part) => sum + sizeOf(part), 0);
    case 'alternate':
      return tree.branches.reduce((sum, branch) => sum + sizeOf(branch), 0);
    case 'repeat':
      return sizeOf(tree.body) * (tree.max === Number.POSITIVE_INFINITY ? tree.min + 1 : tree.max);
    default:
      return 1;
  }
}

/**
 * Builds the machine of a tree of at most {@link maxSize}, or returns undefined when it has too many edges. `words` is
 * what `\b` takes for a word.
 */
export function buildMachine(tree: Tree, words: CharSet): Machine | undefined {
  try {
    return new Builder(words, hasBoundary(tree)).build(tree);
  } catch (error) {
    if (error instanceof TooLarge) return undefined;
    throw error;
  }
}

class TooLarge extends Error {}

/** A part of the pattern: the nodes that can begin it and end it, and whether it matches the empty text. */
interface Fragment {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

type Node = CharSet | Assertion | 'accept';

class Builder {
  readonly #words: CharSet;
  readonly #splitsWords: boolean;
  readonly #nodes: Node[] = [[]];
  readonly #follow: number[][] = [[]];
  #edges = 0;

  constructor(words: CharSet, splitsWords: boolean) {
    this.#words = words;
    this.#splitsWords = splitsWords;
  }

  build(tree: Tree): Machine {
    const body = this.#fragment(tree);
    const end = this.#node('accept');
    this.#link([0], body.nullable ? [...body.first, ...end.first] : body.first);
    this.#link(body.last, end.first);
    return this.#machine();
  }

  #fragment(tree: Tree): Fragment {
    switch (tree.type) {
      case 'empty':
        return nothing;
      case 'assert':
        return this.#node(tree.kind);
      case 'set':
        return this.#set(tree.set);
      case 'concat':
        return tree.parts.reduce<Fragment>((before, part) => this.#then(before, this.#fragment(part)), nothing);
      case 'alternate': {
        const branches = tree.branches.map((branch) => this.#fragment(branch));
        return {
          nullable: branches.some((branch) => branch.nullable),
          first: branches.flatMap((branch) => branch.first),
          last: branches.flatMap((branch) => branch.last),
        };
      }
      case 'repeat':
        return this.#repeat(tree.body, tree.min, tree.max);
    }
  }

  /**
   * Counts are written out: `x{2,}` is `xxx*`, and `x{2,4}` is `xx((x)?x)?`: that way round it is entered anywhere and
   * left at its end, so that all but one position have a single successor, which the simulation does 32 at a time.
   */
  #repeat(body: Tree, min: number, max: number): Fragment {
    let head = nothing;
    for (let i = 0; i < min; i++) head = this.#then(head, this.#fragment(body));
    let tail = nothing;
    if (max > maxTopicBytes) {
      const loop = this.#fragment(body);
      this.#link(loop.last, loop.first);
      tail = { ...loop, nullable: true };
    } else {
      for (let i = min; i < max; i++) tail = { ...this.#then(tail, this.#fragment(body)), nullable: true };
    }
    return this.#then(head, tail);
  }

  #then(a: Fragment, b: Fragment): Fragment {
    this.#link(a.last, b.first);
    return {
      nullable: a.nullable && b.nullable,
      first: a.nullable ? [...a.first, ...b.first] : a.first,
      last: b.nullable ? [...b.last, ...a.last] : b.last,
    };
  }

  /** With `\b` about, a set is split into its word characters and the others, so that each edge knows what it crosses. */
  #set(set: CharSet): Fragment {
    if (!this.#splitsWords) return this.#node(set);
    const inside = this.#node(intersect(set, this.#words));
    const outside = this.#node(intersect(set, complement(this.#words, maxUnit)));
    const both = [...inside.first, ...outside.first];
    return { nullable: false, first: both, last: both };
  }

  #node(node: Node): Fragment {
    const id = this.#nodes.push(node) - 1;
    this.#follow.push([]);
    return { nullable: false, first: [id], last: [id] };
  }

  #link(from: readonly number[], to: readonly number[]): void {
    this.#edges += from.length * to.length;
    if (this.#edges > maxEdges) throw new TooLarge();
    for (const source of from) (this.#follow[source] as number[]).push(...to);
  }

  /** Renumbers the characters without the assertions, whose edges are followed through. */
  #machine(): Machine {
    const real = this.#nodes.flatMap((node, id) => (typeof node === 'string' ? [] : [id]));
    const idOf = new Map(real.map((id, i) => [id, i]));
    const keys = new Map<string, number>();
    const sets: CharSet[] = [];
    const setOf = new Uint16Array(real.length);
    const accepts = new Uint8Array(real.length);
    const roles = new Uint8Array(real.length);
    const follow: Uint16Array[] = [];
    let edges = 0;
    for (const [i, id] of real.entries()) {
      const set = this.#nodes[id] as CharSet;
      const key = set.join();
      let index = keys.get(key);
      if (index === undefined) {
        index = sets.push(set) - 1;
        keys.set(key, index);
      }
      setOf[i] = index;
      const targets = this.#reachable(id);
      const next = new Set<number>();
      for (const target of targets) {
        const known = idOf.get(target);
        if (known === undefined) accepts[i] = 1;
        else next.add(known);
      }
      edges += next.size;
      if (edges > maxEdges) throw new TooLarge();
      follow.push(Uint16Array.from(next).sort());
      if (!next.has(i) || key !== everyKey) continue;
      if (accepts[i] === 1) roles[i] = settled;
      else if (follow[0]?.includes(i)) roles[i] = floating;
    }
    return { size: real.length, sets, setOf, follow, accepts, roles };
  }

  /** The characters (and the end) that can come after a character, through assertions that hold on the way. */
  #reachable(from: number): Set<number> {
    const found = new Set<number>();
    const seen = new Set<number>();
    // `next` is what the assertions passed so far want of the next character: a word character, none, or no matter.
    const visit = (source: number, atEnd: boolean, next: boolean | undefined): void => {
      for (const id of this.#follow[source] as number[]) {
        const node = this.#nodes[id] as Node;
        if (typeof node !== 'string') {
          if (!atEnd && (next === undefined || next === this.#isWord(id))) found.add(id);
        } else if (node === 'accept') {
          if (next !== true) found.add(id);
        } else if (node !== 'start' || from === 0) {
          let wanted = next;
          if (node === 'boundary' || node === 'no-boundary') {
            wanted = this.#isWord(from) !== (node === 'boundary');
            if (next !== undefined && next !== wanted) continue;
          }
          const end = atEnd || node === 'end';
          const key = id * 6 + (end ? 3 : 0) + (wanted === undefined ? 2 : Number(wanted));
          if (seen.has(key)) continue;
          seen.add(key);
          visit(id, end, wanted);
        }
      }
    };
    visit(from, false, undefined);
    return found;
  }

  #isWord(id: number): boolean {
    if (id === 0) return false;
    const set = this.#nodes[id] as CharSet;
    return set.length > 0 && intersect(set, this.#words).length > 0;
  }
}

const nothing: Fragment = { nullable: true, first: [], last: [] };
const everyKey = everyUnit.join();

function hasBoundary(tree: Tree): boolean {
  switch (tree.type) {
    case 'assert':
      return tree.kind === 'boundary' || tree.kind === 'no-boundary';
    case 'concat':
      return tree.parts.some(hasBoundary);
    case 'alternate':
      return tree.branches.some(hasBoundary);
    case 'repeat':
      return hasBoundary(tree.body);
    default:
      return false;
  }
}
