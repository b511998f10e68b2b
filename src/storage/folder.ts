import { access, constants, link, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type Clock, systemClock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { syncPath } from './files.ts';
import { isHeld } from './held-folders.ts';
import { InfoLog, type Losses } from './info-log.ts';
import { type Inspection, inspect, unfinished } from './inspection.ts';
import { type LevelOptions, LevelStore } from './level.ts';
import { finishRepair, forgetRepair, originalName, type Repair, repairFolder, reportedRepair } from './repair.ts';
import { storeError } from './store-error.ts';

/** How {@link openFolder} opens. */
export interface FolderOptions extends Pick<LevelOptions, 'writeBuffer' | 'cache'> {
  /** Names what is put aside. @default the machine's */
  readonly clock?: Clock;
}

/** What was found while a folder was opened, for the operator. */
export interface FolderReport {
  /** Whether there was no database before. */
  readonly created: boolean;
  /** Set when the folder was damaged: what is open now is the repaired copy, `original` what was found, unaltered. */
  readonly repaired: { readonly original: string; readonly reason: string } | undefined;
  /** Bytes of LevelDB's logs that were passed over as unreadable: above 0 means that confirmed writes are missing. */
  readonly droppedBytes: number;
  /** All of it in sentences; empty when there is nothing to tell. */
  readonly notes: readonly string[];
}

/** Folders that this process is opening: the lock that guards a repair does not hold between parts of one process. */
const opening = new Set<string>();

/**
 * Opens a folder of LevelDB, which is made when it is missing, and tells what LevelDB keeps to itself.
 *
 * A damaged folder is repaired on a copy and kept beside it as `<folder>.damaged-<time>`. Logs in which LevelDB passed over
 * bytes are kept there too, since it deletes them when it has read them.
 *
 * @throws {BusError} `OPTION_INVALID` the path is no folder; `STORE_LOCKED` at once when somebody else holds it;
 * `STORE_FULL`; `STORE_FAILED` it cannot be made, read or written; `STORE_CORRUPT` a repair was not possible.
 */
export async function openFolder(
  folder: string,
  options: FolderOptions = {},
): Promise<{ store: LevelStore; report: FolderReport }> {
  const path = resolve(folder);
  if (opening.has(path) || (await isHeld(path))) {
    throw new BusError(
      'STORE_LOCKED',
      `the store in ${path} is open in this process: close it, or name another folder`,
    );
  }
  opening.add(path);
  try {
    return await repairAndOpen(path, options);
  } catch (error) {
    throw storeError(error, path);
  } finally {
    opening.delete(path);
  }
}

async function repairAndOpen(
  path: string,
  options: FolderOptions,
): Promise<{ store: LevelStore; report: FolderReport }> {
  const clock = options.clock ?? systemClock;
  await finishRepair(path, clock);
  await makeFolder(path);
  let found = await inspect(path);
  if (found.state === 'damaged') {
    await repairFolder(path, clock);
    found = await inspect(path);
  }
  try {
    return await openWatched(path, found, options, clock);
  } catch (error) {
    const failure = storeError(error, path);
    if (failure.code !== 'STORE_CORRUPT') throw failure;
    await repairFolder(path, clock, /Corruption: [^)]*/.exec(failure.message)?.[0] ?? failure.message);
    return openWatched(path, await inspect(path), options, clock);
  }
}

/** What was left out while the folder was opened, and where the logs of before are kept if anything was. */
type Opening = Losses & { readonly mistaken: ReadonlyMap<string, number>; readonly kept: string | undefined };

async function openWatched(
  path: string,
  found: Inspection,
  { writeBuffer, cache }: FolderOptions,
  clock: Clock,
): Promise<{ store: LevelStore; report: FolderReport }> {
  const whole = found.state === 'whole' ? found : undefined;
  const aside = whole === undefined ? undefined : await linkLogs(path, whole.logs.keys());
  const log = await InfoLog.watch(path);
  try {
    const store = await LevelStore.open(path, {
      create: found.state === 'new',
      ...(writeBuffer !== undefined && { writeBuffer }),
      ...(cache !== undefined && { cache }),
    });
    try {
      const said = await log.losses();
      const mistaken = whole?.mistaken ?? new Map<string, number>();
      const unread = said.unread.reduce((sum, name) => sum + (whole?.logs.get(name) ?? 0), 0);
      const bytes = said.bytes + unread + [...mistaken.values()].reduce((sum, size) => sum + size, 0);
      let kept: string | undefined;
      if (aside !== undefined && (bytes > 0 || said.lines.length > 0)) {
        kept = await originalName(path, clock);
        await rename(aside, kept);
      }
      const repair = await reportedRepair(path);
      if (repair !== undefined) await forgetRepair(path);
      const losses = { ...said, found: said.found || found.state === 'new', bytes, mistaken, kept };
      return { store, report: reportOf(found.state === 'new', repair, losses) };
    } catch (error) {
      await store.close();
      throw error;
    }
  } finally {
    await log.close();
    if (aside !== undefined) await rm(aside, { recursive: true, force: true });
  }
}

/** Second names for the logs, in a folder that LevelDB leaves alone; it never writes to a log that it finds. */
async function linkLogs(path: string, names: Iterable<string>): Promise<string | undefined> {
  for (const name of await readdir(path)) {
    if (name.startsWith('aside-')) await rm(join(path, name), { recursive: true, force: true }); // of an opening cut off
  }
  const aside = await mkdtemp(join(path, 'aside-'));
  try {
    for (const name of names) await link(join(path, name), join(aside, name));
    return aside;
  } catch {
    // A file system without links, or an owner at work: opening must not fail for want of a keepsake.
    await rm(aside, { recursive: true, force: true });
    return undefined;
  }
}

function reportOf(created: boolean, repair: Repair | undefined, losses: Opening): FolderReport {
  const notes: string[] = [];
  if (repair !== undefined) notes.push(`repaired: ${repair.reason}; as it was found it is kept in ${repair.original}`);
  for (const line of repair?.losses.lines ?? []) notes.push(`LevelDB's repair: ${line}`);
  for (const line of losses.lines) notes.push(`LevelDB: ${line}`);
  for (const [name, bytes] of losses.mistaken) {
    notes.push(`the last ${bytes} bytes of ${name} were passed over: a bit is flipped in the length of a record`);
  }
  if (losses.kept !== undefined) notes.push(`the logs as they were found are kept in ${losses.kept}`);
  if (!losses.found) notes.push("LevelDB's LOG of this opening was not found: bytes that it dropped would be unknown");
  return {
    created,
    repaired: repair === undefined ? undefined : { original: repair.original, reason: repair.reason },
    droppedBytes: losses.bytes + (repair?.losses.bytes ?? 0),
    notes,
  };
}

async function makeFolder(path: string): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made !== undefined) await syncPath(dirname(made));
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    await stat(join(path, unfinished)).then(
      () => {
        throw new BusError(
          'STORE_CORRUPT',
          `${path} holds a backup that was not finished: make it again, or move it away`,
        );
      },
      () => undefined,
    );
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new BusError('OPTION_INVALID', `the store's folder ${path} is a file, or lies in one: name a folder`, {
        cause: error,
      });
    }
    throw storeError(error, path);
  }
}
