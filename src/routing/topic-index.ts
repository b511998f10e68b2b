import type { Pattern } from './pattern.ts';
import { TextTable } from './text-table.ts';

/** A pattern, and what was added under it or under others with the same key. */
interface Entry<T> {
  readonly pattern: Pattern;
  /** Each value with its place in the order of addition. */
  readonly values: Map<T, number>;
  /** The last match that met this entry, so that one filed under several texts counts once. */
  round: number;
}

interface Found<T> {
  readonly value: T;
  readonly order: number;
}

/**
 * Values by the patterns they belong to, found by topic. Everything in it takes time linear in the topic: tables for
 * the patterns that are a text, or begin or end with one, and automata for what a text leaves open. A change touches
 * only the patterns that share its text.
 */
export class TopicIndex<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #literals = new TextTable<Entry<T>>('whole');
  readonly #prefixes = new TextTable<Entry<T>>('prefix');
  readonly #suffixes = new TextTable<Entry<T>>('suffix');
  /** Apart, for no other pattern matches a topic of the bus' own; few, so each is tried. */
  readonly #internal = new Set<Entry<T>>();
  #size = 0;
  #added = 0;
  #round = 0;

  /** How many pairs of a pattern and a value are held. */
  get size(): number {
    return this.#size;
  }

  /** Adds a value under a pattern. A pair that is there already keeps its place in the order. */
  add(pattern: Pattern, value: T): void {
    let entry = this.#entries.get(pattern.key);
    if (entry === undefined) {
      entry = { pattern, values: new Map(), round: 0 };
      this.#entries.set(pattern.key, entry);
      if (pattern.internal) this.#internal.add(entry);
      else for (const place of this.#places(pattern)) place.table.add(place.text, entry, place.decided);
    }
    if (entry.values.has(value)) return;
    entry.values.set(value, this.#added++);
    this.#size++;
  }

  /** Removes a value from under a pattern or one equal to it. False when it was not there. */
  remove(pattern: Pattern, value: T): boolean {
    const entry = this.#entries.get(pattern.key);
    if (entry === undefined || !entry.values.delete(value)) return false;
    this.#size--;
    if (entry.values.size > 0) return true;
    this.#entries.delete(pattern.key);
    if (pattern.internal) this.#internal.delete(entry);
    else for (const place of this.#places(pattern)) place.table.remove(place.text, entry, place.decided);
    return true;
  }

  /**
   * The values whose pattern matches, in the order in which they were added; a value under two such patterns is there
   * twice. Expects a valid topic, or one of the bus' own, which starts with `$`.
   */
  match(topic: string): T[] {
    const round = ++this.#round;
    const matches: Found<T>[] = [];
    const found = (entry: Entry<T>): void => {
      if (entry.round === round) return;
      entry.round = round;
      for (const [value, order] of entry.values) matches.push({ value, order });
    };
    if (topic.startsWith('$')) {
      for (const entry of this.#internal) if (entry.pattern.test(topic)) found(entry);
    } else {
      this.#literals.match(topic, found);
      this.#prefixes.match(topic, found);
      this.#suffixes.match(topic, found);
    }
    if (matches.length > 1) matches.sort((a, b) => a.order - b.order);
    return matches.map((match) => match.value);
  }

  /** Where a pattern's entry is filed, and whether the text there decides. */
  #places(pattern: Pattern): { table: TextTable<Entry<T>>; text: string; decided: boolean }[] {
    const { literals, prefixes, suffixes, rest } = pattern.shape;
    const place = (table: TextTable<Entry<T>>, decided: boolean) => (text: string) => ({ table, text, decided });
    return [
      ...literals.map(place(this.#literals, true)),
      ...prefixes.map(place(this.#prefixes, true)),
      ...suffixes.map(place(this.#suffixes, true)),
      ...(rest?.affixes ?? []).map(place(rest?.side === 'suffix' ? this.#suffixes : this.#prefixes, false)),
    ];
  }
}
