import { mkdir, realpath } from 'node:fs/promises';
import { storeError } from './store-error.ts';

/**
 * The folders that this process holds. LevelDB's lock is one of POSIX, which belongs to the process and ends when *any* of
 * its descriptors of the LOCK file is closed: LevelDB, asked to open a folder twice, refuses, and loses its lock by that
 * (`util/env_posix.cc`, `LockFile`). So it is never asked twice.
 */
const held = new Set<string>();

/**
 * Holds a folder against others of this process; returns its one name, however it was reached.
 *
 * @param create whether to make it when it is missing.
 * @throws {BusError} `STORE_LOCKED`, `STORE_FAILED`, `STORE_FULL`.
 */
export async function holdFolder(folder: string, create: boolean): Promise<string> {
  try {
    if (create) await mkdir(folder, { recursive: true });
    const place = await realpath(folder);
    if (held.has(place)) throw Object.assign(new Error('held by this process'), { code: 'LEVEL_LOCKED' });
    held.add(place);
    return place;
  } catch (error) {
    throw storeError(error, folder);
  }
}

/** Lets go of a folder, by the name that {@link holdFolder} gave. */
export function releaseFolder(place: string): void {
  held.delete(place);
}

/** Whether this process holds a folder. */
export async function isHeld(folder: string): Promise<boolean> {
  return held.has(await realpath(folder).catch(() => folder)); // what is missing is not held
}
