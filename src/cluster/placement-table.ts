import { encodedSize } from '../core/encoded-size.ts';
import type { PlacementEntry } from '../wire/placement-entry.ts';

/** Hears what changes, at once and in order. */
export type PlacementListener = (entry: PlacementEntry, before: PlacementEntry | undefined) => void;

/** Every placement that a node knows of, removed ones included: they are kept, so that no older word
 * brings one back. */
export class PlacementTable implements Iterable<PlacementEntry> {
  readonly #entries = new Map<string, PlacementEntry>();
  /** Those that run, or are to; and those that were removed and have not stopped everywhere. By id. */
  readonly #live = new Map<string, PlacementEntry>();
  /** The names of removed ones that had an owner, the oldest first: nobody will ask for them again. */
  readonly #ended = new Set<string>();
  readonly #listeners: PlacementListener[] = [];
  readonly #droppers: ((name: string) => void)[] = [];

  onChange(listener: PlacementListener): void {
    this.#listeners.push(listener);
  }

  /** Calls back when a removed placement is forgotten. */
  onDrop(dropper: (name: string) => void): void {
    this.#droppers.push(dropper);
  }

  /** Those that run, or are to; and those that were removed and have not stopped everywhere. */
  live(): Iterable<PlacementEntry> {
    return this.#live.values();
  }

  /** One of those. */
  byId(id: string): PlacementEntry | undefined {
    return this.#live.get(id);
  }

  [Symbol.iterator](): Iterator<PlacementEntry> {
    return this.#entries.values();
  }

  /** A placement by its name; undefined also when it is removed. */
  get(name: string): PlacementEntry | undefined {
    const entry = this.#entries.get(name);
    return entry?.removed === true ? undefined : entry;
  }

  /** What is known of a name, removed or not. */
  entry(name: string): PlacementEntry | undefined {
    return this.#entries.get(name);
  }

  /** Takes what is said of a placement. @returns whether that was news. */
  apply(entry: PlacementEntry): boolean {
    const before = this.#entries.get(entry.name);
    if (before !== undefined && before.version >= entry.version) return false;
    this.#entries.set(entry.name, entry);
    if (before !== undefined && before.id !== entry.id) this.#live.delete(before.id);
    if (entry.removed && entry.assigned.length === 0) this.#live.delete(entry.id);
    else this.#live.set(entry.id, entry);
    for (const listener of this.#listeners) listener(entry, before);
    this.#forget(entry);
    return true;
  }

  /** Placements that end with their owner have names of their own: of those that have ended only the latest are remembered. */
  #forget({ name, owner, removed, assigned }: PlacementEntry): void {
    this.#ended.delete(name);
    if (owner === undefined || !removed || assigned.length > 0) return;
    this.#ended.add(name);
    if (this.#ended.size <= mostEnded) return;
    const [oldest] = this.#ended;
    if (oldest === undefined) return;
    this.#ended.delete(oldest);
    this.#entries.delete(oldest);
    for (const dropper of this.#droppers) dropper(oldest);
  }
}

/** How many placements that have ended with their owner are remembered. */
const mostEnded = 1000;
/** How many entries, and how many bytes of them, go into one frame. */
const batch = { entries: 200, bytes: 512 * 1024 };

/** Takes as many entries as fit into one frame from the front of a list. @returns how many. */
export function fittingPlacements(entries: readonly PlacementEntry[]): number {
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    bytes += encodedSize(entries[i]); // all of it: somebody else may have written it
    if (i >= batch.entries || (i > 0 && bytes > batch.bytes)) return i;
  }
  return entries.length;
}

/** The version, or the generation, that follows one: a leader of a higher term goes above all that others have given. */
export function following(last: number, term: number): number {
  return Math.min(Math.max(last + 1, term * 2 ** 32), 2 ** 52); // what a frame may hold, whatever somebody has told
}
