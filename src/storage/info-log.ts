import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';

/** What LevelDB wrote that it left out while it opened or repaired a folder. */
export interface Losses {
  /** Bytes of logs that it passed over, as far as it gives a number. */
  readonly bytes: number;
  /** Its lines about that, without their time. */
  readonly lines: readonly string[];
  /** Names of logs that it could not read at all, and that it has deleted since. */
  readonly unread: readonly string[];
  /** Whether LevelDB's LOG of this opening was found. */
  readonly found: boolean;
}

/** LevelDB writes about an opening at the beginning of its LOG; what follows may be long and is of no interest. */
const maxBytes = 1024 * 1024;

/**
 * LevelDB's own LOG of one opening. Each opener, even one that is refused, renames LOG to LOG.old, so the one that belongs
 * to an opening is known only by what was there before: those files are kept open, that their inodes are not given anew.
 */
export class InfoLog {
  readonly #folder: string;
  readonly #before: readonly FileHandle[];

  private constructor(folder: string, before: readonly FileHandle[]) {
    this.#folder = folder;
    this.#before = before;
  }

  /** Call it before LevelDB opens the folder, and {@link InfoLog.losses} once after. */
  static async watch(folder: string): Promise<InfoLog> {
    return new InfoLog(folder, await openBoth(folder));
  }

  /** What LevelDB has written since. Reads at most the first MiB of each file. */
  async losses(): Promise<Losses> {
    const after = await openBoth(this.#folder);
    try {
      const old = new Set(await Promise.all(this.#before.map(inode)));
      const texts: string[] = [];
      for (const file of after) if (!old.has(await inode(file))) texts.push(await read(file));
      return lossesOf(texts);
    } finally {
      for (const file of after) await file.close();
    }
  }

  /** Lets go of the files of before. */
  async close(): Promise<void> {
    for (const file of this.#before) await file.close();
  }
}

/** What the texts of LOG files say that was left out. */
export function lossesOf(texts: readonly string[]): Losses {
  let bytes = 0;
  const lines: string[] = [];
  const unread: string[] = [];
  for (const line of texts.flatMap((text) => text.split('\n'))) {
    if (
      !/dropping \d+ bytes|[Ii]gnoring (error|conversion|Corruption|IO error)|: dropped: |unparsable key/.test(line)
    ) {
      continue;
    }
    bytes += Number(/dropping (\d+) bytes/.exec(line)?.[1] ?? 0);
    const log = /Ignoring error IO error: .*?(\d+\.log)/.exec(line)?.[1];
    if (log !== undefined) unread.push(log);
    lines.push(line.replace(/^\S+ [0-9a-f]+ /, ''));
  }
  return { bytes, lines, unread, found: texts.length > 0 };
}

async function openBoth(folder: string): Promise<FileHandle[]> {
  const files: FileHandle[] = [];
  for (const name of ['LOG.old', 'LOG']) {
    const file = await open(join(folder, name)).catch(() => undefined);
    if (file !== undefined) files.push(file);
  }
  return files;
}

async function inode(file: FileHandle): Promise<bigint> {
  return (await file.stat({ bigint: true })).ino;
}

async function read(file: FileHandle): Promise<string> {
  const bytes = Buffer.alloc(Math.min((await file.stat()).size, maxBytes));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
  return bytes.toString('utf8', 0, bytesRead);
}
