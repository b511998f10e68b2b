import { constants } from 'node:fs';
import { copyFile, link, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Clock, systemClock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { exists } from './files.ts';
import { type FolderReport, openFolder } from './folder.ts';
import { isHeld } from './held-folders.ts';
import { inspect } from './inspection.ts';
import { LevelStore } from './level.ts';
import { guarded } from './repair.ts';
import { checkFiles, type Soundness } from './soundness.ts';
import type { Store } from './store.ts';
import { storeError } from './store-error.ts';
import { salvageTables } from './table-file.ts';

/** What a folder of LevelDB holds, without any change to it. */
export interface FolderView {
  /** What is wrong with its files. */
  readonly soundness: Soundness;
  /** Its contents as an opening would find them; undefined when it could not be opened. */
  readonly store: Store | undefined;
  /** What that opening would report, or why there is none. */
  readonly report: FolderReport | BusError;
  /** The bytes of its files. */
  readonly bytes: number;
}

const nothing: Soundness = { problems: [], torn: new Map(), leftovers: [] };

/**
 * Looks at a folder that nobody has open. LevelDB cannot open one without writing to it, so it is given a copy, beside the
 * folder for the time being; its tables, which never change, are linked.
 *
 * @throws {BusError} `OPTION_INVALID` there is no store; `STORE_LOCKED`; `STORE_FULL`, `STORE_FAILED`.
 */
export async function viewFolder<T>(
  folder: string,
  work: (view: FolderView) => Promise<T>,
  clock: Clock = systemClock,
): Promise<T> {
  const path = resolve(folder);
  await checkFolder(path);
  const place = await mkdtemp(`${path}.view-`).catch((error: unknown) => {
    throw storeError(error, path);
  });
  try {
    const copy = join(place, 'store');
    const { soundness, bytes } = await guarded(path, async () => {
      const found = await inspect(path);
      const sound =
        found.state === 'damaged'
          ? { ...nothing, problems: [{ file: 'the folder', problem: `is damaged: ${found.reason}` }] }
          : found.state === 'new'
            ? nothing
            : await checkFiles(path);
      return { soundness: sound, bytes: await copyOrLink(path, copy) };
    });
    const salvaged = soundness.problems.length === 0 ? [] : (await salvageTables(copy)).lines;
    if (salvaged.length > 0) await LevelStore.repair(copy);
    const opened = await openFolder(copy, { clock }).catch((error: unknown) => storeError(error, path));
    if (opened instanceof BusError) {
      if (opened.code !== 'STORE_CORRUPT') throw opened;
      return await work({ soundness, store: undefined, report: opened, bytes });
    }
    try {
      return await work({ soundness, store: opened.store, report: opened.report, bytes });
    } finally {
      await opened.store.close();
    }
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

/** Refuses a folder that holds no store, or that this process has open. @throws {BusError} */
export async function checkFolder(path: string): Promise<void> {
  const names = await readdir(path).catch(() => []);
  if (!names.some((name) => /^(CURRENT|LOCK|MANIFEST-\d+|\d+\.(log|ldb|sst))$/.test(name))) {
    if (!(await exists(`${path}.repair`))) throw new BusError('OPTION_INVALID', `there is no store in ${path}`);
  }
  if (await isHeld(path)) throw new BusError('STORE_LOCKED', `the store in ${path} is open in this process`);
}

async function copyOrLink(from: string, to: string): Promise<number> {
  await mkdir(to);
  let bytes = 0;
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const { name } = entry;
    if (!entry.isFile() || name === 'LOCK') continue;
    bytes += (await stat(join(from, name))).size;
    const linked =
      /\.(ldb|sst)$/.test(name) &&
      (await link(join(from, name), join(to, name)).then(
        () => true,
        () => false, // a file system without links
      ));
    if (!linked) await copyFile(join(from, name), join(to, name), constants.COPYFILE_FICLONE);
  }
  return bytes;
}
