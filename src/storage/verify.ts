import { resolve } from 'node:path';
import { type Clock, systemClock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { type FolderView, viewFolder } from './folder-view.ts';
import type { Problem } from './journal-audit.ts';
import { type StoreStatistics, statisticsOf } from './statistics.ts';

/** What a look at everything in a folder has found. */
export interface VerifyReport {
  readonly folder: string;
  /** Whether nothing is wrong. */
  readonly whole: boolean;
  /** The first 1,000. */
  readonly problems: readonly Problem[];
  readonly problemCount: number;
  /** What is no problem, and worth telling: an end of a log that a crash cut off, say. */
  readonly notes: readonly string[];
  /** Whether files are damaged, and not only records. */
  readonly filesDamaged: boolean;
  /** What it holds; missing when it could not be opened. */
  readonly statistics: StoreStatistics | undefined;
  /** The bytes of its files. */
  readonly bytes: number;
}

const mostProblems = 1000;

/**
 * Reads every byte of the files of a store that nobody has open, and every record in it: checksums, kinds, whether
 * sequences have holes, whether what is counted is there. Changes nothing in the folder; needs room beside it for a copy of
 * its logs.
 *
 * What no reader can know it does not tell: messages at the end of a journal that went with everything that was written
 * after them, as when a log is cut, or an old copy of the whole folder is put in its place.
 *
 * @throws {BusError} `OPTION_INVALID` there is no store; `STORE_LOCKED`; `STORE_FULL`, `STORE_FAILED`.
 */
export function verifyFolder(folder: string, clock: Clock = systemClock): Promise<VerifyReport> {
  return viewFolder(folder, (view) => verifyView(resolve(folder), view), clock);
}

async function verifyView(folder: string, { soundness, store, report, bytes }: FolderView): Promise<VerifyReport> {
  const problems: Problem[] = [];
  const notes: string[] = [];
  let problemCount = 0;
  const tell = (problem: Problem): void => {
    if (++problemCount <= mostProblems) problems.push(problem);
  };
  for (const { file, problem } of soundness.problems) tell({ where: file, problem });
  for (const [file, size] of soundness.torn)
    notes.push(`${file}: the last ${size} bytes were cut off by a crash as they were written`);
  for (const file of soundness.leftovers)
    notes.push(`${file}: nothing refers to it any more; the next opening removes it`);
  if (report instanceof BusError) {
    tell({ where: 'the folder', problem: reasonOf(report) });
  } else if (soundness.problems.length === 0) {
    // What opening it would tell, unless it is known already.
    if (report.repaired !== undefined)
      tell({ where: 'the folder', problem: `needs a repair: ${report.repaired.reason}` });
    if (report.droppedBytes > 0) {
      const lines = report.notes.filter((note) => !note.includes('are kept in')).join('; ');
      tell({ where: 'the folder', problem: `${report.droppedBytes} bytes of its logs cannot be read: ${lines}` });
    }
  }
  let filesDamaged = problemCount > 0;
  let statistics: StoreStatistics | undefined;
  try {
    if (store !== undefined) statistics = await statisticsOf(store, tell);
  } catch (error) {
    if (!(error instanceof BusError) || !['STORE_CORRUPT', 'STORE_FAILED'].includes(error.code)) throw error;
    filesDamaged = true;
    tell({ where: 'the folder', problem: `cannot be read to its end: ${reasonOf(error)}` });
  }
  notes.push(...(statistics?.notes ?? []));
  return { folder, whole: problemCount === 0, problems, problemCount, notes, filesDamaged, statistics, bytes };
}

/** What LevelDB said, without the name of the copy that it was said of. */
function reasonOf({ message }: BusError): string {
  return /\((.*)\)$/.exec(message)?.[1]?.replace(/\S+\/(?=[^/\s]+: )/, '') ?? message;
}
