import { Alphabet } from './alphabet.ts';
import type { CharSet } from './charset.ts';
import { floating, type Machine, settled } from './machine.ts';

// Indexes into the arrays of this file are in range by construction: hence `as number` where they are read.

/** Where the automaton stands: the positions that the topic so far can have led to, and what comes of them. */
interface State {
  /** Sorted; without the floating and settled ones. */
  readonly positions: Uint16Array;
  /** The patterns that match if the topic ends here. */
  readonly ends: readonly number[];
  /** The patterns that match whatever follows. */
  readonly settled: readonly number[];
  /** Per class of characters, where known. */
  readonly next: (State | undefined)[];
}

/** The most positions that one automaton can hold. */
export const maxAutomatonPositions = 0xffff;

// As in RE2: an automaton that makes a state for every tenth character saves nothing over following the positions.
const charactersPerState = 10;
// What a state costs beside its positions, in the same unit.
const stateCost = 16;

/**
 * Many patterns matched in one pass over the topic: a deterministic automaton whose states are made when a topic first
 * leads there (Thompson 1968, as in RE2) and kept within a budget.
 *
 * Two kinds of position are kept out of the states, which would otherwise double with every pattern: floating ones
 * (their successors are tried at every character, so that many searched words become the automaton of Aho and
 * Corasick) and settled ones (the match is noted once).
 */
export class Automaton {
  readonly #machines: readonly Machine[];
  readonly #alphabet: Alphabet;
  /** Each pattern's first position. */
  readonly #offsets: Uint16Array;
  /** Each position's pattern, and its set as an index into `#reads`. */
  readonly #slots: Uint16Array;
  readonly #sets: Uint16Array;
  readonly #reads: readonly Uint8Array[];
  /** What follows the floating positions. */
  readonly #afloat: Uint16Array;
  readonly #marks: Uint32Array;
  #mark = 0;
  readonly #budget: number;
  #spent = 0;
  #characters = 0;
  readonly #states = new Map<string, State>();
  #start: State | undefined;

  /** `budget`: the most positions to keep in all states together. */
  constructor(machines: readonly Machine[], budget?: number) {
    const size = machines.reduce((sum, machine) => sum + machine.size, 0);
    this.#machines = machines;
    this.#budget = budget ?? Math.min(64 * size + 16_384, 1_000_000);
    this.#offsets = new Uint16Array(machines.length);
    this.#slots = new Uint16Array(size);
    this.#sets = new Uint16Array(size);
    this.#marks = new Uint32Array(size);
    const sets: CharSet[] = [];
    const known = new Map<string, number>();
    const afloat = new Set<number>();
    let offset = 0;
    for (const [slot, machine] of machines.entries()) {
      const indexes = machine.sets.map((set) => {
        const key = set.join();
        const index = known.get(key) ?? sets.push(set) - 1;
        known.set(key, index);
        return index;
      });
      for (let p = 0; p < machine.size; p++) {
        this.#sets[offset + p] = indexes[machine.setOf[p] as number] as number;
        if (machine.roles[p] === floating) for (const q of machine.follow[p] as Uint16Array) afloat.add(offset + q);
      }
      this.#offsets[slot] = offset;
      this.#slots.fill(slot, offset, offset + machine.size);
      offset += machine.size;
    }
    const alphabet = new Alphabet(sets);
    this.#alphabet = alphabet;
    this.#reads = sets.map((set) => alphabet.classesIn(set));
    this.#afloat = Uint16Array.from(afloat);
  }

  /**
   * Calls `found` with the index of every pattern that the whole topic matches, possibly more than once. Returns false
   * when it gave up: states are made faster than they are of use, and the caller should match in smaller groups.
   */
  match(topic: string, found: (slot: number) => void): boolean {
    const floats = this.#afloat.length > 0;
    let state = this.#start ?? this.#begin();
    for (let i = 0; i < topic.length; i++) {
      const k = this.#alphabet.classOf(topic.charCodeAt(i));
      this.#characters++;
      const next: State | undefined = state.next[k] ?? this.#step(state, k);
      if (next === undefined) return false;
      state = next;
      for (const slot of state.settled) found(slot);
      if (state.positions.length === 0 && !floats) return true;
    }
    for (const slot of state.ends) found(slot);
    return true;
  }

  /** Whether all states that any topic can lead to fit into the budget, told with about `work` visits of a position. */
  fits(work: number): boolean {
    this.#begin();
    let left = work;
    // A Map's walk visits what is added meanwhile.
    for (const state of this.#states.values()) {
      left -= (state.positions.length + 1) * this.#alphabet.size;
      if (left < 0) return false;
      for (let k = 0; k < this.#alphabet.size; k++) if (this.#step(state, k) === undefined) return false;
    }
    return true;
  }

  #begin(): State {
    this.#states.clear();
    this.#spent = 0;
    this.#characters = 0;
    this.#start = this.#add('start', this.#offsets, []);
    return this.#start;
  }

  /** The state behind `state` and a character of class `k`, or undefined when making it is not worth while. */
  #step(state: State, k: number): State | undefined {
    this.#mark++;
    const positions: number[] = [];
    const done: number[] = [];
    for (const position of state.positions) {
      const offset = this.#offsets[this.#slots[position] as number] as number;
      const machine = this.#machines[this.#slots[position] as number] as Machine;
      for (const target of machine.follow[position - offset] as Uint16Array) {
        this.#reach(offset + target, k, positions, done);
      }
    }
    if (state !== this.#start) for (const position of this.#afloat) this.#reach(position, k, positions, done);
    positions.sort((a, b) => a - b);
    const key = `${String.fromCharCode(...positions)}|${done.join()}`;
    let next = this.#states.get(key);
    if (next === undefined) {
      if (this.#spent > this.#budget) {
        if (this.#characters < charactersPerState * this.#states.size) return undefined;
        this.#begin();
      }
      next = this.#add(key, Uint16Array.from(positions), done);
    }
    state.next[k] = next;
    return next;
  }

  #reach(position: number, k: number, positions: number[], done: number[]): void {
    if (this.#marks[position] === this.#mark) return;
    this.#marks[position] = this.#mark;
    if ((this.#reads[this.#sets[position] as number] as Uint8Array)[k] === 0) return;
    const slot = this.#slots[position] as number;
    const machine = this.#machines[slot] as Machine;
    const role = machine.roles[position - (this.#offsets[slot] as number)];
    if (role === settled) done.push(slot);
    else if (role !== floating) positions.push(position);
  }

  #add(key: string, positions: Uint16Array, done: readonly number[]): State {
    const ends: number[] = [];
    for (const position of positions) {
      const slot = this.#slots[position] as number;
      const machine = this.#machines[slot] as Machine;
      if (machine.accepts[position - (this.#offsets[slot] as number)] === 1) ends.push(slot);
    }
    const next = new Array<State | undefined>(this.#alphabet.size).fill(undefined);
    const state: State = { positions, ends, settled: done, next };
    this.#states.set(key, state);
    this.#spent += stateCost + positions.length;
    return state;
  }
}
