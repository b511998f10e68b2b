import { Level } from 'level';
import { BusError } from '../core/errors.ts';
import { holdFolder, releaseFolder } from './held-folders.ts';
import type { KeyRange, Store, StoreOperation } from './store.ts';
import { storeError } from './store-error.ts';

/** How a {@link LevelStore} is opened. */
export interface LevelOptions {
  /** Bytes that LevelDB gathers in memory, twice at most, before it writes a table. @default 4 MiB */
  readonly writeBuffer?: number;
  /** Bytes of blocks read that LevelDB keeps. @default 8 MiB */
  readonly cache?: number;
  /** Whether to make the folder and a database in it when there is none. @default true */
  readonly create?: boolean;
}
/*
 * Measured on 2 busy cores, virtual disk, medians of 3 interleaved runs, batches a second. 512 small puts (chained), buffer
 * of 4 / 16 / 32 MiB: 1,133 / 825 / 677, synced 742 / 503 / 477: a larger skip list misses the caches more often. 4 small
 * operations and a value of 30 KiB: 4,543 / 4,074 / 4,370, synced 1,681 / 1,931 / 1,728: all noise. Compression off: 3,795 /
 * 3,810 / 4,183 and 1,504 / 1,493 / 1,931: no faster, and it takes more disk. So LevelDB's own defaults stand.
 */
const defaults: Required<LevelOptions> = Object.freeze({ writeBuffer: 4 << 20, cache: 8 << 20, create: true });

/**
 * A hop to LevelDB's thread brings so many entries or bytes. Measured with values of 30 KiB, entries a second: 23,000 to
 * 32,000 with Level's own 16 KiB, 60,000 to 68,000 with 64 KiB, 88,000 to 98,000 with 256 KiB, 60,000 to 74,000 with 1 MiB;
 * with small ones 840,000 to 940,000 with 1,000 entries at any size, 380,000 to 700,000 with 100.
 */
const chunk = Object.freeze({ entries: 1000, bytes: 256 * 1024 });

/** Level's type of many drivers has less than its only driver in Node. */
type Tools = { repair(location: string): Promise<void> };
type Database = Level<string, Uint8Array> & { compactRange(start: string, end: string): Promise<void> };

/**
 * A {@link Store} in a folder of LevelDB. After a write that failed every other write is refused with the same code until
 * the folder is opened again: LevelDB would confirm them behind a torn record, where no reader finds them.
 */
export class LevelStore implements Store {
  /** As it was given to {@link LevelStore.open}. */
  readonly folder: string;
  readonly #place: string;
  readonly #db: Database;
  #status: 'open' | 'closing' | 'closed' = 'open';
  #failure: BusError | undefined;
  /** The end of the last write: LevelDB's threads would let one write pass another. */
  #turn: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  private constructor(folder: string, place: string, db: Database) {
    [this.folder, this.#place, this.#db] = [folder, place, db];
  }

  /**
   * Opens a folder, and holds it against every other opener until {@link LevelStore.close}.
   *
   * @throws {BusError} `STORE_LOCKED`, `STORE_CORRUPT` (also: nothing there, with `create: false`), `STORE_FULL`,
   * `STORE_FAILED`.
   */
  static async open(folder: string, options: LevelOptions = {}): Promise<LevelStore> {
    const { writeBuffer, cache, create } = { ...defaults, ...options };
    const place = await holdFolder(folder, create);
    const db = new Level<string, Uint8Array>(place, {
      keyEncoding: 'utf8',
      valueEncoding: 'view',
      writeBufferSize: writeBuffer,
      cacheSize: cache,
      createIfMissing: create,
    }) as Database;
    try {
      await db.open();
    } catch (error) {
      releaseFolder(place);
      throw storeError(error, folder);
    }
    return new LevelStore(folder, place, db);
  }

  /**
   * LevelDB's repair, in place: keeps what it can read of logs and tables, without looking at checksums, and puts away the
   * rest in `lost/`. It takes no lock, so nobody else may know the folder.
   */
  static async repair(folder: string): Promise<void> {
    try {
      await (Level as unknown as Tools).repair(folder);
    } catch (error) {
      throw storeError(error, folder);
    }
  }

  async write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    this.#check();
    const write = this.#turn.then(() => this.#apply(operations, sync));
    this.#turn = write.catch(() => undefined);
    return write;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#check();
    return this.#named(this.#db.get(key) as Promise<Uint8Array | undefined>);
  }

  async *scan(range: KeyRange): AsyncGenerator<readonly [string, Uint8Array]> {
    this.#check();
    const iterator = this.#db.iterator({
      gte: range.gte,
      lt: range.lt,
      reverse: range.reverse === true,
      highWaterMarkBytes: chunk.bytes,
      fillCache: false,
    });
    try {
      for (;;) {
        const entries = await this.#named(iterator.nextv(chunk.entries));
        if (entries.length === 0) return;
        for (const entry of entries) {
          this.#check();
          yield entry;
        }
      }
    } finally {
      await iterator.close();
    }
  }

  /** Merges all tables, which frees what deleted and replaced values take. The more there is, the longer it takes. */
  async compact(): Promise<void> {
    this.#check();
    await this.#named(this.#db.compactRange('', '\u{10ffff}'.repeat(8)));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #apply(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    if (this.#failure !== undefined) {
      throw new BusError(
        this.#failure.code,
        `the store in ${this.folder} takes no writes after one that failed: open it again`,
        {
          cause: this.#failure,
        },
      );
    }
    try {
      await (isMany(operations) ? this.#chained(operations, sync) : this.#db.batch([...operations], { sync }));
    } catch (error) {
      this.#failure = storeError(error, this.folder);
      throw this.#failure;
    }
  }

  #chained(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    const batch = this.#db.batch();
    for (const operation of operations) {
      if (operation.type === 'put') batch.put(operation.key, operation.value);
      else batch.del(operation.key);
    }
    return batch.write({ sync } as object);
  }

  async #close(): Promise<void> {
    this.#status = 'closing';
    await this.#turn;
    try {
      await this.#named(this.#db.close());
    } finally {
      releaseFolder(this.#place);
      this.#status = 'closed';
    }
  }

  #check(): void {
    if (this.#status !== 'open') throw new BusError('CLOSED', `the store in ${this.folder} is ${this.#status}`);
  }

  async #named<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw storeError(error, this.folder);
    }
  }
}

/**
 * Whether a batch is better given piece by piece. Measured (one run), batches a second as array / as chain: 512 small puts 223 / 794,
 * 32 of them 6,300 / 10,800, two 25,800 / 22,300. But a chain's memory is given back by the garbage collector alone: at five
 * values of 200 KB a batch the process grew to 196 MiB instead of 43. So large values and short batches go as an array.
 */
function isMany(operations: readonly StoreOperation[]): boolean {
  if (operations.length <= 8) return false;
  let bytes = 0;
  for (const operation of operations) if (operation.type === 'put') bytes += operation.value.length;
  return bytes < operations.length * 1024;
}
