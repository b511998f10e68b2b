import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { BusError } from '../core/errors.ts';
import { syncPath } from './files.ts';
import { unfinished } from './inspection.ts';
import { LevelStore } from './level.ts';
import type { KeyRange, Store, StoreOperation } from './store.ts';
import { storeError } from './store-error.ts';

/** What a backup holds. */
export interface BackupReport {
  readonly entries: number;
  /** Of values, and of keys in UTF-8. */
  readonly bytes: number;
}

/** Every key but those that begin with eight of the last code point, which nobody uses. */
const everything: KeyRange = { gte: '', lt: '\u{10ffff}'.repeat(8) };

/** What is in memory at a time: one value more at most. */
const batch = Object.freeze({ entries: 1000, bytes: 1024 * 1024 });

/**
 * Copies everything in a store, as it is at this moment, into a new store in another folder, which is made when it is
 * missing. The store may be written to meanwhile. When it resolves, the copy is on the disk. Until then the folder bears a
 * file `UNFINISHED`, with which `openFolder` refuses it; after a failure what was written is removed.
 *
 * @throws {BusError} `OPTION_INVALID` when the folder is a file or holds something; `STORE_FULL`, `STORE_FAILED`.
 */
export async function backup(store: Store, folder: string): Promise<BackupReport> {
  const path = resolve(folder);
  const made = await prepare(path);
  let copy: LevelStore | undefined;
  try {
    copy = await LevelStore.open(path);
    const report = await copyAll(store, copy);
    await copy.close();
    await rm(join(path, unfinished));
    await syncPath(path);
    return report;
  } catch (error) {
    await copy?.close().catch(() => undefined); // the failure that counts is the one at hand
    for (const name of made ? [] : await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
    if (made) await rm(path, { recursive: true, force: true });
    throw storeError(error, path);
  }
}

/** Makes the folder and marks it; whether it was missing. */
async function prepare(path: string): Promise<boolean> {
  try {
    const made = await mkdir(path, { recursive: true });
    const [name] = await readdir(path);
    if (name !== undefined) {
      throw new BusError('OPTION_INVALID', `a backup needs an empty folder: ${path} holds ${name}`);
    }
    await writeFile(join(path, unfinished), '', { flag: 'wx', flush: true });
    await syncPath(path);
    await syncPath(dirname(made ?? path));
    return made !== undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new BusError('OPTION_INVALID', `a backup needs an empty folder: ${path} is a file, or taken`, {
        cause: error,
      });
    }
    throw storeError(error, path);
  }
}

async function copyAll(from: Store, to: Store): Promise<BackupReport> {
  let [entries, bytes, size] = [0, 0, 0];
  let operations: StoreOperation[] = [];
  // Each batch is synced: when LevelDB begins another log, syncing that one does not sync the one before.
  const write = async (): Promise<void> => {
    await to.write(operations, true);
    [operations, size] = [[], 0];
  };
  for await (const [key, value] of from.scan(everything)) {
    operations.push({ type: 'put', key, value });
    const length = Buffer.byteLength(key) + value.length;
    entries++;
    bytes += length;
    size += length;
    if (operations.length >= batch.entries || size >= batch.bytes) await write();
  }
  await write();
  return { entries, bytes };
}
