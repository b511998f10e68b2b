import { lstat, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { BusError } from '../core/errors.ts';
import { exists } from './files.ts';
import { holdFolder, releaseFolder } from './held-folders.ts';
import { LevelStore } from './level.ts';
import { storeError } from './store-error.ts';

/** What the databases of lock holders are called, and of those who try. */
const prefix = 'lock-';
/** What is older than one's own by so much was left by who was killed, in milliseconds: trying takes a moment. */
const leftBehind = 60_000;

/**
 * Says whose turn it is in a folder: held by one process at a time, and free as soon as that has ended, however it ended.
 *
 * Node has no locks for files, LevelDB does. So the holder opens an empty database of its own whose LOCK is a link to the
 * folder's, as a repair does: what such a database holds is worth nothing, so there is nothing in it that a crash could spoil.
 */
export class FolderLock {
  readonly #folder: string;
  readonly #place: string;
  readonly #database: LevelStore;

  private constructor(folder: string, place: string, database: LevelStore) {
    this.#folder = folder;
    this.#place = place;
    this.#database = database;
  }

  /**
   * Takes the lock of a folder, which must exist.
   *
   * @returns undefined when somebody else has it: another process, or another part of this one.
   * @throws {BusError} `STORE_FULL`, `STORE_FAILED`.
   */
  static async take(folder: string): Promise<FolderLock | undefined> {
    let held: string;
    try {
      held = await holdFolder(folder, false);
    } catch (error) {
      return unlessHeld(storeError(error, folder));
    }
    let place: string | undefined;
    try {
      place = await mkdtemp(join(held, prefix));
      const database = await openLinked(place, join(held, 'LOCK'));
      const lock = new FolderLock(held, place, database);
      await lock.#sweep().catch(() => undefined); // the next one tries again
      return lock;
    } catch (error) {
      // Whoever was stopped for long in here finds that swept away which it was making.
      const swept = place !== undefined && !(await exists(place));
      if (place !== undefined) await rm(place, { recursive: true, force: true });
      releaseFolder(held);
      return swept ? undefined : unlessHeld(storeError(error, folder));
    }
  }

  /** Lets the next one have it. */
  async release(): Promise<void> {
    await this.#database.close();
    await rm(this.#place, { recursive: true, force: true });
    releaseFolder(this.#folder);
  }

  /** What holders have left that were killed. Who is just trying is left alone. */
  async #sweep(): Promise<void> {
    const { mtimeMs: now } = await stat(this.#place);
    for (const name of await readdir(this.#folder)) {
      if (!name.startsWith(prefix)) continue;
      const place = join(this.#folder, name);
      const found = await stat(place).catch(() => undefined); // it has gone by itself
      if (found !== undefined && now - found.mtimeMs > leftBehind) await rm(place, { recursive: true, force: true });
    }
  }
}

/**
 * Takes a lock of another folder: opens an empty database whose LOCK is a link to that one.
 *
 * @param place a folder of its own, new and empty.
 * @throws {BusError} `STORE_LOCKED` when somebody has it, or has swept the place away meanwhile.
 */
export async function openLinked(place: string, lock: string): Promise<LevelStore> {
  const link = join(place, 'LOCK');
  await symlink(lock, link);
  const database = await LevelStore.open(place);
  // Had the link been swept away as LevelDB came to it, LevelDB would have made a file in its place, and locked that.
  const found = await lstat(link).catch(() => undefined);
  if (found?.isSymbolicLink() === true) return database;
  await database.close();
  throw new BusError('STORE_LOCKED', `the lock ${lock} was taken by another process`);
}

function unlessHeld(error: ReturnType<typeof storeError>): undefined {
  if (error.code !== 'STORE_LOCKED') throw error;
  return undefined;
}
