import { Alphabet } from './alphabet.ts';
import type { CharSet } from './charset.ts';
import type { Machine } from './machine.ts';
import type { Pattern } from './pattern.ts';

// Indexes into the arrays of this file are in range by construction: hence `as number` where they are read.

/** How many positions are visited at most: some 20 ms at worst. What needs more is not known to be included. */
const mostWork = 50_000;
const mostLiterals = 1_024;

/** What no topic holds. */
const controls: CharSet = [0, 0x1f, 0x7f, 0x9f, 0x2028, 0x2029];
/** What no topic begins with that a user's pattern matches. */
const dollar: CharSet = [36, 36];

/**
 * Whether every topic that a pattern matches is matched by one of `allow` and by none of `deny`. The patterns' machines are
 * followed side by side through every text there is; when that takes too long the answer is no.
 */
export function included(pattern: Pattern, allow: readonly Pattern[], deny: readonly Pattern[]): boolean {
  const { literals, prefixes, suffixes, rest } = pattern.shape;
  if (rest === undefined && prefixes.length + suffixes.length === 0 && literals.length <= mostLiterals) {
    return literals.every((topic) => allow.some((each) => each.test(topic)) && !deny.some((each) => each.test(topic)));
  }
  if (deny.length === 0 && allow.some(({ key }) => key === pattern.key)) return true;
  const machines: Machine[] = [];
  for (const each of [pattern, ...allow, ...deny]) {
    const machine = each.internal ? undefined : each.wholeMachine();
    if (machine !== undefined) machines.push(machine);
    else if (!each.internal)
      return false; // too large to be followed
    else machines.push(nothing);
  }
  return new Pursuit(machines, allow.length).holds();
}

/** It matches no text. */
const nothing: Machine = {
  size: 1,
  sets: [[]],
  setOf: Uint16Array.of(0),
  follow: [new Uint16Array(0)],
  accepts: new Uint8Array(1),
  roles: new Uint8Array(1),
};

/** Where each machine can stand after one text. */
type Stand = readonly (readonly number[])[];

class Pursuit {
  readonly #machines: readonly Machine[];
  readonly #allow: number;
  readonly #classes: readonly number[];
  readonly #dollar: Uint8Array;
  /** Per machine and set, which classes it reads. */
  readonly #reads: readonly (readonly Uint8Array[])[];
  #work = 0;

  /** @param machines the pattern's, then as many as `allow` says, then those that must not match. */
  constructor(machines: readonly Machine[], allow: number) {
    this.#machines = machines;
    this.#allow = allow;
    const alphabet = new Alphabet([controls, dollar, ...machines.flatMap(({ sets }) => sets)]);
    const control = alphabet.classesIn(controls);
    this.#classes = Array.from({ length: alphabet.size }, (_, k) => k).filter((k) => control[k] === 0);
    this.#dollar = alphabet.classesIn(dollar);
    this.#reads = machines.map(({ sets }) => sets.map((set) => alphabet.classesIn(set)));
  }

  holds(): boolean {
    const start: Stand = this.#machines.map(() => [0]);
    const seen = new Set<string>();
    const open: Stand[] = [start];
    for (let stand = open.pop(); stand !== undefined; stand = open.pop()) {
      for (const k of this.#classes) {
        if (stand === start && this.#dollar[k] === 1) continue;
        const next = this.#step(stand, k);
        if (next === undefined) continue;
        if (this.#work > mostWork || !this.#fits(next)) return false;
        const key = next.map((positions) => positions.join()).join('|');
        if (seen.has(key)) continue;
        seen.add(key);
        open.push(next);
      }
    }
    return true;
  }

  /** @returns undefined when the pattern matches nothing that begins so. */
  #step(stand: Stand, k: number): Stand | undefined {
    const next: number[][] = [];
    this.#work++;
    for (const [i, machine] of this.#machines.entries()) {
      const reached = new Set<number>();
      for (const from of stand[i] as readonly number[]) {
        for (const to of machine.follow[from] as Uint16Array) {
          this.#work++;
          const reads = this.#reads[i]?.[machine.setOf[to] as number] as Uint8Array;
          if (reads[k] === 1) reached.add(to);
        }
      }
      if (i === 0 && reached.size === 0) return undefined;
      next.push([...reached].sort((a, b) => a - b));
    }
    return next;
  }

  /** Whether what matches here is allowed, and not denied. */
  #fits(stand: Stand): boolean {
    const ends = (i: number): boolean => (stand[i] as readonly number[]).some((at) => this.#accepts(i, at));
    if (!ends(0)) return true;
    let allowed = false;
    for (let i = 1; i < this.#machines.length; i++) {
      if (i <= this.#allow) allowed ||= ends(i);
      else if (ends(i)) return false;
    }
    return allowed;
  }

  #accepts(i: number, at: number): boolean {
    return this.#machines[i]?.accepts[at] === 1;
  }
}
