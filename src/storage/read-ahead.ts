import type { KeyRange, Store } from './store.ts';

type Record = readonly [key: string, value: Uint8Array];

/** So many bytes are read at a time, and the record that reaches them. It is what one hop to LevelDB's thread brings. */
const chunk = 256 * 1024;

/**
 * Records that have been read and not been looked into yet. As bytes they cost the garbage collector nothing, however long
 * they lie; and what one hop to the disk brings is used to its end.
 */
export class ReadAhead {
  #store: Store | undefined;
  #records: Record[] = [];
  #at = 0;

  get empty(): boolean {
    return this.#at === this.#records.length;
  }

  /** What was read before from another store, of before a failure, may not stand in this one: it is let go. */
  use(store: Store): void {
    if (this.#store !== store) this.#clear();
    this.#store = store;
  }

  /** The next record; undefined when there is none. */
  take(): Record | undefined {
    const record = this.#records[this.#at];
    if (record === undefined) return undefined;
    if (++this.#at === this.#records.length) this.#clear();
    return record;
  }

  /** Reads the first records of a range; all that were read before have been taken. */
  async fill(range: KeyRange): Promise<void> {
    const store = this.#store;
    const records: Record[] = [];
    let bytes = 0;
    for await (const record of store?.scan(range) ?? []) {
      records.push(record);
      bytes += record[1].length;
      if (bytes >= chunk) break;
    }
    if (store === this.#store) this.#records = records;
  }

  #clear(): void {
    this.#records.length = this.#at = 0;
  }
}
