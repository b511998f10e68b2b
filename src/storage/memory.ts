import { BusError } from '../core/errors.ts';
import type { KeyRange, Store, StoreOperation } from './store.ts';

/** Up to so many changes are put into their places one by one; more are merged. */
const few = 32;
/** At how many changes the order is brought up to date although nobody has asked for it. */
const many = 1024;

/**
 * A store that lasts as long as its process. Its keys are kept in order beside their values; what has changed since the
 * last scan is put into its place when the next one asks.
 */
export class MemoryStore implements Store {
  readonly #values = new Map<string, Uint8Array>();
  /** In order, as of the last scan. */
  #keys: string[] = [];
  #inOrder: Uint8Array[] = [];
  /** Put or deleted since then. */
  readonly #changed = new Set<string>();
  #closed = false;

  async write(operations: readonly StoreOperation[], _sync: boolean): Promise<void> {
    this.#check();
    for (const operation of operations) {
      const { key } = operation;
      if (operation.type === 'put') this.#values.set(key, operation.value);
      else if (!this.#values.delete(key)) continue;
      this.#changed.add(key);
    }
    if (this.#changed.size >= many && this.#changed.size >= this.#values.size) this.#order();
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#check();
    return this.#values.get(key);
  }

  async *scan(range: KeyRange): AsyncGenerator<readonly [string, Uint8Array]> {
    this.#check();
    this.#order();
    const from = place(this.#keys, range.gte);
    const to = Math.max(from, place(this.#keys, range.lt));
    // As it is now, whatever is written meanwhile.
    const keys = this.#keys.slice(from, to);
    const values = this.#inOrder.slice(from, to);
    for (let i = 0; i < keys.length; i++) {
      this.#check();
      const at = range.reverse === true ? keys.length - 1 - i : i;
      yield [keys[at] as string, values[at] as Uint8Array]; // at < length
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#values.clear();
    this.#changed.clear();
    this.#keys = [];
    this.#inOrder = [];
  }

  /** Puts what has changed into its place. */
  #order(): void {
    if (this.#changed.size === 0) return;
    if (this.#changed.size <= few) for (const key of this.#changed) this.#putInPlace(key);
    else this.#merge([...this.#changed].sort(byBytes));
    this.#changed.clear();
  }

  #putInPlace(key: string): void {
    const value = this.#values.get(key);
    const at = place(this.#keys, key);
    const there = this.#keys[at] === key;
    if (value === undefined) {
      if (!there) return;
      this.#keys.splice(at, 1);
      this.#inOrder.splice(at, 1);
    } else if (there) {
      this.#inOrder[at] = value;
    } else {
      this.#keys.splice(at, 0, key);
      this.#inOrder.splice(at, 0, value);
    }
  }

  #merge(changed: readonly string[]): void {
    const keys: string[] = [];
    const inOrder: Uint8Array[] = [];
    let old = 0;
    for (const key of changed) {
      const at = place(this.#keys, key, old);
      for (; old < at; old++) {
        keys.push(this.#keys[old] as string); // at <= length
        inOrder.push(this.#inOrder[old] as Uint8Array);
      }
      if (this.#keys[old] === key) old++;
      const value = this.#values.get(key);
      if (value === undefined) continue;
      keys.push(key);
      inOrder.push(value);
    }
    for (; old < this.#keys.length; old++) {
      keys.push(this.#keys[old] as string); // old < length
      inOrder.push(this.#inOrder[old] as Uint8Array);
    }
    this.#keys = keys;
    this.#inOrder = inOrder;
  }

  #check(): void {
    if (this.#closed) throw new BusError('CLOSED', 'the store is closed');
  }
}

/** Where a key stands in a list in order, or would. @param from not before that. */
function place(keys: readonly string[], key: string, from = 0): number {
  let low = from;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byBytes(keys[middle] as string, key) < 0)
      low = middle + 1; // middle < high
    else high = middle;
  }
  return low;
}

/** The order of UTF-8 bytes, which differs from that of UTF-16 units only where surrogates are. */
function byBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : isSurrogate(x) ? 1 : -1;
  }
  return a.length - b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}
