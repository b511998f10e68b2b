import { readdirSync, statSync } from 'node:fs';
import { mkdir, statfs } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { StoreSource } from '../../actors/admin.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { type BackupReport, backup } from '../../storage/backup.ts';
import { Ballast } from '../../storage/ballast.ts';
import { openFolder } from '../../storage/folder.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { Store } from '../../storage/store.ts';

/** The store in a node's data folder. */
export class FolderSource implements StoreSource {
  readonly name: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #lost: (reason: string) => void;
  #ballast: Ballast | undefined;

  /** @param lost is told when an opening finds that the store has lost something. */
  constructor(dataDir: string, clock: Clock, log: Logger, lost: (reason: string) => void) {
    this.name = dataDir;
    this.#clock = clock;
    this.#log = log;
    this.#lost = lost;
  }

  async open(): Promise<Store> {
    const writeBuffer = await writeBufferOn(this.name);
    const { store, report } = await openFolder(join(this.name, 'store'), { clock: this.#clock, writeBuffer });
    const { repaired, droppedBytes, notes } = report;
    if (repaired !== undefined)
      this.#log.warn({ folder: this.name, ...repaired }, 'the store was damaged and is repaired');
    if (droppedBytes > 0) {
      this.#log.error({ folder: this.name, droppedBytes, notes }, 'the store has lost bytes: something is missing');
      this.#lost(`the store in ${this.name} has lost ${droppedBytes} bytes`);
    }
    this.#ballast ??= await Ballast.open(join(this.name, 'ballast'), this.#clock);
    return store;
  }

  async relieve(): Promise<void> {
    await this.#ballast?.release();
  }

  async restore(): Promise<void> {
    await this.#ballast?.restore();
  }
}

/**
 * LevelDB's log grows to the size of its write buffer, and stays beside the table that is made of it until that is whole. So
 * on a volume of less than 64 MiB the buffer is a sixteenth of it; otherwise LevelDB's own 4 MiB.
 */
async function writeBufferOn(folder: string): Promise<number> {
  await mkdir(folder, { recursive: true }).catch(() => undefined); // openFolder() says what is wrong with it
  const volume = await statfs(folder).catch(() => undefined);
  const share = volume === undefined ? largestBuffer : Math.floor((volume.blocks * volume.bsize) / 16);
  return Math.min(largestBuffer, Math.max(smallestBuffer, share));
}

const largestBuffer = 4 * 1024 * 1024;
/** LevelDB takes no smaller one. */
const smallestBuffer = 64 * 1024;

/** A store that ends with its process. */
export class MemorySource implements StoreSource {
  readonly name = 'memory';
  readonly #store: Store;

  constructor(store: Store = new MemoryStore()) {
    this.#store = store;
  }

  async open(): Promise<Store> {
    return this.#store;
  }

  async relieve(): Promise<void> {}

  async restore(): Promise<void> {}
}

/** The bytes that the store in a data folder takes; undefined when they cannot be told now. */
export function bytesOf(dataDir: string): number | undefined {
  const folder = join(dataDir, 'store');
  try {
    const names = readdirSync(folder);
    return names.reduce((sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0);
  } catch {
    return undefined; // it is being repaired, or gone
  }
}

/** What `backup()` has made, and where. */
export interface BackupResult extends BackupReport {
  folder: string;
}

/** Copies a node's store to `backups/<name>` in its data folder. */
export async function backUp(store: Store, dataDir: string | undefined, name: string): Promise<BackupResult> {
  if (dataDir === undefined)
    throw new BusError('STORE_REQUIRED', 'there is nothing to back up: this node has no dataDir');
  const folder = resolve(dataDir, 'backups', name);
  await mkdir(folder, { recursive: true });
  return { folder, ...(await backup(store, join(folder, 'store'))) };
}
