import { Alphabet } from './alphabet.ts';
import { type Machine, settled } from './machine.ts';

// Indexes into the arrays of this file are in range by construction: hence `as number` where they are read.

/**
 * One pattern matched by following all of its positions at once, a bit each (Baeza-Yates and Gonnet's shift-and, with
 * the exceptions that Hyperscan calls "LimEx"): most positions lead to the next or back to themselves, which is a
 * shift and a mask for 32 of them; only the others are followed one by one.
 *
 * Needs no memory that grows, so its worst case is its usual case: 1 us for `.*a.{90}b` on 60 characters and 3 us on
 * 250, where the states of a deterministic automaton double with each character of the gap.
 */
export class Simulation {
  readonly #words: number;
  readonly #alphabet: Alphabet;
  /** Per class of characters: the positions that read it. */
  readonly #reads: Int32Array;
  readonly #steps: Int32Array;
  readonly #stays: Int32Array;
  readonly #jumps: Int32Array;
  readonly #accepts: Int32Array;
  /** Positions after which the pattern has matched, whatever follows. */
  readonly #settled: Int32Array;
  /** Per position that jumps: what to add to the next positions, as pairs of a word's index and its bits. */
  readonly #targets: readonly (Int32Array | undefined)[];
  #now: Int32Array;
  #next: Int32Array;

  constructor(machine: Machine) {
    const words = (machine.size + 31) >> 5;
    this.#words = words;
    this.#alphabet = new Alphabet(machine.sets);
    this.#reads = new Int32Array(this.#alphabet.size * words);
    this.#steps = new Int32Array(words);
    this.#stays = new Int32Array(words);
    this.#jumps = new Int32Array(words);
    this.#accepts = new Int32Array(words);
    this.#settled = new Int32Array(words);
    this.#now = new Int32Array(words);
    this.#next = new Int32Array(words);
    const classes = machine.sets.map((set) => this.#alphabet.classesIn(set));
    const targets: (Int32Array | undefined)[] = [];
    for (let p = 0; p < machine.size; p++) {
      if (p > 0) {
        const within = classes[machine.setOf[p] as number] as Uint8Array;
        for (let k = 0; k < within.length; k++) if (within[k] === 1) set(this.#reads, p, k * words);
      }
      if (machine.accepts[p] === 1) set(this.#accepts, p);
      if (machine.roles[p] === settled) set(this.#settled, p);
      const others = new Map<number, number>();
      for (const q of machine.follow[p] as Uint16Array) {
        if (q === p) set(this.#stays, p);
        else if (q === p + 1) set(this.#steps, p);
        else others.set(q >> 5, (others.get(q >> 5) ?? 0) | (1 << (q & 31)));
      }
      if (others.size > 0) set(this.#jumps, p);
      targets.push(others.size > 0 ? Int32Array.from([...others].flat()) : undefined);
    }
    this.#targets = targets;
  }

  /** Whether the whole text matches. */
  test(text: string): boolean {
    const words = this.#words;
    let now = this.#now;
    let next = this.#next;
    now.fill(0);
    now[0] = 1;
    for (let i = 0; i < text.length; i++) {
      const reads = this.#alphabet.classOf(text.charCodeAt(i)) * words;
      let carry = 0;
      for (let w = 0; w < words; w++) {
        const bits = now[w] as number;
        const steps = bits & (this.#steps[w] as number);
        next[w] = (steps << 1) | carry | (bits & (this.#stays[w] as number));
        carry = steps >>> 31;
      }
      for (let w = 0; w < words; w++) {
        for (let bits = (now[w] as number) & (this.#jumps[w] as number); bits !== 0; bits &= bits - 1) {
          const targets = this.#targets[(w << 5) + 31 - Math.clz32(bits & -bits)] as Int32Array;
          for (let t = 0; t < targets.length; t += 2) {
            const at = targets[t] as number;
            next[at] = (next[at] as number) | (targets[t + 1] as number);
          }
        }
      }
      let alive = 0;
      for (let w = 0; w < words; w++) {
        const bits = (next[w] as number) & (this.#reads[reads + w] as number);
        if ((bits & (this.#settled[w] as number)) !== 0) return true;
        next[w] = bits;
        alive |= bits;
      }
      if (alive === 0) return false;
      [now, next] = [next, now];
    }
    for (let w = 0; w < words; w++) if (((now[w] as number) & (this.#accepts[w] as number)) !== 0) return true;
    return false;
  }
}

function set(bits: Int32Array, position: number, offset = 0): void {
  const at = offset + (position >> 5);
  bits[at] = (bits[at] as number) | (1 << (position & 31));
}
