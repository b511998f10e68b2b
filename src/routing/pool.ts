import { Automaton, maxAutomatonPositions } from './automaton.ts';
import type { Machine } from './machine.ts';
import type { Pattern } from './pattern.ts';

/** What a pool holds: something with a pattern. */
export interface Member {
  readonly pattern: Pattern;
}

// Measured once with 10,000 patterns behind one prefix, in shards of 64, 128, 256, 500 and 1,000: 45, 17, 10, 5 and 4 us
// a topic. But a change costs more (0.20 to 0.65 ms), and patterns full of `.*` get slower: 25 us at 64, 124 at 256.
const shardSize = 256;
// Below this, following each pattern's positions is as fast as one automaton, and needs no memory.
const fewPatterns = 4;

/**
 * Patterns that only a machine can decide, grouped into shards that are matched in one pass each. A pattern whose own
 * states explode (`.*a.{100}b`) is matched alone, told by its structure and not by a clock; a shard whose patterns are
 * tame one by one but not together is split.
 */
export class Pool<M extends Member> {
  readonly #shards: Shard<M>[] = [];

  /** Adds a member, whose pattern must have a machine. The shard that takes it is rebuilt when it is next used. */
  add(member: M): void {
    const size = machineOf(member).size;
    let shard = this.#shards.findLast((one) => one.takes(size));
    if (shard === undefined) {
      shard = new Shard(shardSize);
      this.#shards.push(shard);
    }
    shard.add(member);
  }

  /** Removes a member; the shard that held it is rebuilt when it is next used. */
  remove(member: M): void {
    const index = this.#shards.findIndex((shard) => shard.remove(member));
    if (this.#shards[index]?.isEmpty) this.#shards.splice(index, 1);
  }

  /** Calls `found` for each member whose pattern matches, possibly more than once. */
  match(topic: string, found: (member: M) => void): void {
    for (let i = 0; i < this.#shards.length; i++) {
      const shard = this.#shards[i] as Shard<M>;
      // Matched again after a split: its halves took its place.
      while (!shard.match(topic, found)) {
        this.#shards.push(shard.split());
      }
    }
  }

  get isEmpty(): boolean {
    return this.#shards.length === 0;
  }
}

class Shard<M extends Member> {
  #members: M[] = [];
  #size = 0;
  #limit: number;
  /** Members that are matched one by one, and those of the automaton: both follow from `#members`. */
  #alone: readonly M[] = [];
  #together: readonly M[] = [];
  #automaton: Automaton | undefined;
  #built = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isEmpty(): boolean {
    return this.#members.length === 0;
  }

  takes(size: number): boolean {
    return this.#members.length < this.#limit && this.#size + size <= maxAutomatonPositions;
  }

  add(member: M): void {
    this.#members.push(member);
    this.#size += machineOf(member).size;
    this.#built = false;
    // Asked for now, and remembered, so that the subscriber pays for it and not the next topic.
    if (this.#members.length > fewPatterns) isTame(machineOf(member));
  }

  remove(member: M): boolean {
    const index = this.#members.indexOf(member);
    if (index < 0) return false;
    this.#members.splice(index, 1);
    this.#size -= machineOf(member).size;
    this.#built = false;
    return true;
  }

  match(topic: string, found: (member: M) => void): boolean {
    if (!this.#built) this.#build();
    for (const member of this.#alone) if (member.pattern.test(topic)) found(member);
    return this.#automaton?.match(topic, (slot) => found(this.#together[slot] as M)) ?? true;
  }

  /** Gives the later half of the members to a new shard; neither grows past its size again. */
  split(): Shard<M> {
    const half = this.#members.length >> 1;
    const other = new Shard<M>(this.#members.length - half);
    for (const member of this.#members.slice(half)) {
      this.remove(member);
      other.add(member);
    }
    this.#limit = half;
    return other;
  }

  #build(): void {
    this.#built = true;
    const tame = this.#members.length > fewPatterns ? this.#members.filter((member) => isTame(machineOf(member))) : [];
    const members = new Set(tame.length > fewPatterns ? tame : []);
    this.#together = [...members];
    this.#alone = this.#members.filter((member) => !members.has(member));
    this.#automaton = members.size > 0 ? new Automaton(this.#together.map(machineOf)) : undefined;
  }
}

// Some milliseconds for the largest patterns, so that subscribing one stays quick.
const tamingWork = 50_000;
const tameness = new WeakMap<Machine, boolean>();

/** Whether the pattern alone has few states: about as many as positions, where a hostile one has 2 to their power. */
function isTame(machine: Machine): boolean {
  const known = tameness.get(machine);
  if (known !== undefined) return known;
  const tame = new Automaton([machine], 32 * machine.size + 1_024).fits(tamingWork);
  tameness.set(machine, tame);
  return tame;
}

function machineOf(member: Member): Machine {
  // The index gives a pool only patterns that have one.
  return member.pattern.machine as Machine;
}
