import { renameSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { copyFiles, exists, syncFiles, syncPath } from './files.ts';
import { openLinked } from './folder-lock.ts';
import { InfoLog, type Losses } from './info-log.ts';
import { inspect } from './inspection.ts';
import { LevelStore } from './level.ts';
import { storeError } from './store-error.ts';
import { salvageTables } from './table-file.ts';

/** What became of a damaged folder. */
export interface Repair {
  /** Where the folder lies now as it was found, byte for byte. */
  readonly original: string;
  /** What was wrong with it. */
  readonly reason: string;
  /** What LevelDB left out while it repaired the copy. */
  readonly losses: Losses;
}

/*
 * A repair works in `<folder>.repair` on a copy, which at the end is renamed to `done` there; two renames then put the
 * folder aside and the copy in its place. A crash at any point leaves the original, or `done` as well, and the next
 * opening goes on from there. The copy bears a file with the report, for who opens it may not be who repaired it.
 */
const workOf = (folder: string): string => `${folder}.repair`;
const doneOf = (folder: string): string => join(workOf(folder), 'done');
const reportOf = (folder: string): string => join(folder, 'REPAIRED');

/**
 * Repairs a copy of a damaged folder and puts it in the folder's place; the original is kept beside it as
 * `<folder>.damaged-<time>`. Does nothing when the folder, looked at under its lock, is not damaged.
 *
 * @param reason why, or undefined to ask {@link inspect} once the lock is held.
 * @throws {BusError} `STORE_LOCKED`; `STORE_FULL` when there is no room for the copy; `STORE_CORRUPT` when the repair did
 * not help. The folder is as it was then.
 */
export async function repairFolder(folder: string, clock: Clock, reason?: string): Promise<void> {
  await guarded(folder, async () => {
    const found = reason === undefined ? await inspect(folder) : { state: 'damaged' as const, reason };
    if (found.state !== 'damaged') return;
    const copy = join(workOf(folder), 'copy');
    await rm(copy, { recursive: true, force: true });
    await copyFiles(folder, copy);
    const losses = await mend(folder, copy);
    const original = await originalName(folder, clock);
    const report: Repair = { original, reason: found.reason, losses };
    await writeFile(reportOf(copy), JSON.stringify(report));
    await syncFiles(copy);
    renameSync(copy, doneOf(folder));
    await swap(folder, original);
  });
}

/** Finishes a repair that a crash has cut off after its copy was mended, and removes the remains of any other. */
export async function finishRepair(folder: string, clock: Clock): Promise<void> {
  if (!(await exists(workOf(folder)))) return;
  if (await exists(folder)) {
    await guarded(folder, async () => {
      const report = await reportedRepair(doneOf(folder));
      if (report === undefined) return;
      const { original } = report;
      await swap(folder, (await exists(original)) ? await originalName(folder, clock) : original);
    });
  } else if (await exists(doneOf(folder))) {
    renameSync(doneOf(folder), folder);
    await syncPath(dirname(folder));
    await rm(workOf(folder), { recursive: true, force: true });
  }
}

/** What a repair has left in a folder to be reported, by who opens it first. */
export async function reportedRepair(folder: string): Promise<Repair | undefined> {
  if (!(await exists(reportOf(folder)))) return undefined;
  return JSON.parse(await readFile(reportOf(folder), 'utf8')) as Repair; // written by repairFolder() and nobody else
}

/** To be called by who holds the folder's lock and has the report. */
export async function forgetRepair(folder: string): Promise<void> {
  await rm(reportOf(folder), { force: true });
}

/**
 * Holds the folder's own lock without opening it: LevelDB opens an empty database whose LOCK is a link to the folder's.
 * The repair itself takes no lock, and every other opener is refused as long.
 */
export async function guarded<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const guard = await takeGuard(folder);
  try {
    return await work();
  } catch (error) {
    throw storeError(error, folder);
  } finally {
    // While the guard is held: after it another process may be at work there.
    const rest = (await exists(doneOf(folder))) ? join(workOf(folder), 'copy') : workOf(folder);
    await rm(rest, { recursive: true, force: true });
    await guard.close();
  }
}

async function takeGuard(folder: string): Promise<LevelStore> {
  let place: string | undefined;
  try {
    await mkdir(workOf(folder), { recursive: true });
    place = await mkdtemp(join(workOf(folder), 'guard-'));
    return await openLinked(place, join(folder, 'LOCK'));
  } catch (error) {
    // Another opener that has just ended sweeps the work folder, and with it the guard that was being made.
    const { code } = (error ?? {}) as { code?: unknown };
    const swept = place === undefined ? code === 'ENOENT' : !(await exists(place));
    if (place !== undefined) await rm(place, { recursive: true, force: true });
    await rmdir(workOf(folder)).catch(() => undefined); // another opener's guard may be in it
    const failure = storeError(error, folder);
    if (failure.code !== 'STORE_LOCKED' && !swept) throw failure;
    throw new BusError('STORE_LOCKED', `the store in ${folder} is held by another process, or being repaired by it`, {
      cause: error,
    });
  }
}

/**
 * Repairs a copy. LevelDB's repair leaves all tables at level 0, where `get()` believes the highest file number and not
 * the newest entry, so it could answer with a value replaced long ago; merging the tables goes by the newest entry.
 */
async function mend(folder: string, copy: string): Promise<Losses> {
  const log = await InfoLog.watch(copy);
  try {
    const salvaged = await salvageTables(copy);
    await LevelStore.repair(copy);
    const said = await log.losses();
    const losses = { ...said, bytes: said.bytes + salvaged.bytes, lines: [...salvaged.lines, ...said.lines] };
    const store = await LevelStore.open(copy, { create: false });
    await store.compact().finally(() => store.close());
    return losses;
  } catch (error) {
    const { code } = storeError(error, copy);
    if (code === 'STORE_FULL') throw error;
    throw new BusError(
      'STORE_CORRUPT',
      `the store in ${folder} is damaged and could not be repaired: it was left as it is; restore a backup, or move it away`,
      { cause: error },
    );
  } finally {
    await log.close();
  }
}

/** Puts the folder aside and the mended copy in its place: the two renames follow each other at once. */
async function swap(folder: string, original: string): Promise<void> {
  renameSync(folder, original);
  renameSync(doneOf(folder), folder);
  await syncPath(dirname(folder));
}

/** A name beside the folder that is not taken, with the time. */
export async function originalName(folder: string, clock: Clock): Promise<string> {
  const name = `${folder}.damaged-${new Date(clock.now()).toISOString().replaceAll(/[:.]/g, '-')}`;
  for (let count = 1; ; count++) {
    const free = count === 1 ? name : `${name}-${count}`;
    if (!(await exists(free))) return free;
  }
}
