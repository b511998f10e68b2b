import { BusError } from '../core/errors.ts';
import type { KeyRange, Store, StoreOperation } from './store.ts';

/** A store that lasts as long as its process. Sorts its keys when a scan asks for them and they have changed. */
export class MemoryStore implements Store {
  readonly #values = new Map<string, Uint8Array>();
  #sorted: string[] | undefined;
  #closed = false;

  async write(operations: readonly StoreOperation[], _sync: boolean): Promise<void> {
    this.#check();
    for (const operation of operations) {
      if (operation.type === 'put') {
        if (!this.#values.has(operation.key)) this.#sorted = undefined;
        this.#values.set(operation.key, operation.value);
      } else if (this.#values.delete(operation.key)) {
        this.#sorted = undefined;
      }
    }
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#check();
    return this.#values.get(key);
  }

  async *scan(range: KeyRange): AsyncGenerator<readonly [string, Uint8Array]> {
    this.#check();
    this.#sorted ??= [...this.#values.keys()].sort(byBytes);
    const found: [string, Uint8Array][] = [];
    for (const key of this.#sorted) {
      if (byBytes(key, range.gte) < 0) continue;
      if (byBytes(key, range.lt) >= 0) break;
      const value = this.#values.get(key);
      if (value !== undefined) found.push([key, value]);
    }
    if (range.reverse === true) found.reverse();
    for (const entry of found) {
      this.#check();
      yield entry;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#values.clear();
    this.#sorted = undefined;
  }

  #check(): void {
    if (this.#closed) throw new BusError('CLOSED', 'the store is closed');
  }
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
