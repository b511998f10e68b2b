import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cursor } from './cursor.ts';
import { isSound, lengthAt, logBlock, readLog, wasFlipped } from './log-file.ts';
import { checkTable } from './table-file.ts';

// LevelDB verifies no checksum of its tables when it reads them, and tells of none. Here every byte that it may read is
// looked at: every one belongs to a block or a fragment with a checksum, or is known to be zero.

/** What is wrong with the files of a folder. */
export interface FileProblem {
  readonly file: string;
  readonly problem: string;
}

/** What a look at the files has found. */
export interface Soundness {
  readonly problems: readonly FileProblem[];
  /** Bytes at the ends of logs that a crash has cut off while they were written: nobody was told that they are there. */
  readonly torn: ReadonlyMap<string, number>;
  /** Files that nothing refers to any more, as after a compaction that the end of a process came upon: LevelDB never reads
   * them again, and removes them when it is opened next. */
  readonly leftovers: readonly string[];
}

/** Looks at every file of a folder of LevelDB that counts. Only reads. The folder must bear a CURRENT that is right. */
export async function checkFiles(folder: string): Promise<Soundness> {
  const problems: FileProblem[] = [];
  const torn = new Map<string, number>();
  const look = async (file: string, check: (bytes: Uint8Array) => string | undefined): Promise<void> => {
    const bytes = await readFile(join(folder, file)).catch(() => undefined);
    const problem = bytes === undefined ? 'is missing or cannot be read' : check(bytes);
    if (problem !== undefined) problems.push({ file, problem });
  };
  const log = (file: string): Promise<void> =>
    look(file, (bytes) => {
      const found = checkLog(bytes);
      if (found.torn > 0) torn.set(file, found.torn);
      return found.problem;
    });
  const manifest = (await readFile(join(folder, 'CURRENT'), 'utf8')).trim();
  await log(manifest);
  const { log: first, tables } = readManifest(await readFile(join(folder, manifest)));
  const names = new Set(await readdir(folder));
  const leftovers: string[] = [];
  for (const name of names) {
    const [, digits, kind] = /^(\d+)\.(log|ldb|sst)$/.exec(name) ?? [];
    const number = Number(digits);
    if (kind === undefined) continue;
    if (kind === 'log' ? number < first : !tables.has(number)) leftovers.push(name);
    else if (kind === 'log') await log(name);
  }
  for (const [number, size] of tables) {
    const file =
      [`${nameOf(number)}.ldb`, `${nameOf(number)}.sst`].find((each) => names.has(each)) ?? `${nameOf(number)}.ldb`;
    await look(file, (bytes) =>
      bytes.length === size ? checkTable(bytes) : `has ${bytes.length} bytes instead of ${size}`,
    );
  }
  return { problems, torn, leftovers: leftovers.sort() };
}

function nameOf(number: number): string {
  return String(number).padStart(6, '0');
}

const header = 7;

/** Whether a log holds what was written, but for an end that was cut off. */
export function checkLog(bytes: Uint8Array): { problem: string | undefined; torn: number } {
  for (let start = 0; start < bytes.length; start += logBlock) {
    const block = bytes.subarray(start, start + logBlock);
    const last = start + block.length === bytes.length;
    let at = 0;
    while (at + header <= block.length) {
      const length = lengthAt(block, at);
      if (at + header + length <= block.length) {
        if (isSound(block, at, length)) {
          at += header + length;
          continue;
        }
      } else if (last && block.length < logBlock && !wasFlipped(block, at)) {
        return { problem: undefined, torn: block.length - at };
      }
      // A file system may have made a file longer that it did not come to fill.
      if (last && block.subarray(at).every((byte) => byte === 0))
        return { problem: undefined, torn: block.length - at };
      return { problem: `is damaged at byte ${start + at}: a record has a wrong checksum or length`, torn: 0 };
    }
    if (block.length < logBlock) return { problem: undefined, torn: block.length - at };
    if (block.subarray(at).some((byte) => byte !== 0)) {
      return { problem: `is damaged at byte ${start + at}: the end of a block is not empty`, torn: 0 };
    }
  }
  return { problem: undefined, torn: 0 };
}

/** From which number on LevelDB reads logs, and the tables with their sizes (`db/version_edit.cc`). */
function readManifest(bytes: Uint8Array): { log: number; tables: Map<number, number> } {
  const tables = new Map<number, number>();
  let log = 0;
  for (const record of readLog(bytes).records) {
    const from = new Cursor(record);
    while (!from.ended) {
      const tag = from.varint();
      if (tag === 1) from.skip(from.varint());
      else if (tag === 2) log = from.varint();
      else if (tag === 3 || tag === 4 || tag === 9) from.varint();
      else if (tag === 5) {
        from.varint();
        from.skip(from.varint());
      } else if (tag === 6) {
        from.varint();
        tables.delete(from.varint());
      } else if (tag === 7) {
        from.varint();
        const number = from.varint();
        tables.set(number, from.varint());
        from.skip(from.varint());
        from.skip(from.varint());
      } else break;
    }
  }
  return { log, tables };
}
