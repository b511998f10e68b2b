import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { logBlock, readLog } from './log-file.ts';

/** What can be said of a folder of LevelDB before LevelDB has touched it. */
export type Inspection =
  /** There was never a database in it. */
  | { readonly state: 'new' }
  | {
      readonly state: 'whole';
      /** The sizes of the logs that LevelDB will read, by name. */
      readonly logs: ReadonlyMap<string, number>;
      /** Bytes at the logs' ends that LevelDB will take for a torn write, and that were not: see `log-file.ts`. */
      readonly mistaken: ReadonlyMap<string, number>;
    }
  /** LevelDB would refuse it, or begin an empty database in it, or delete what it holds. */
  | { readonly state: 'damaged'; readonly reason: string };

/** A file of this name in a folder says that a backup into it has not ended. */
export const unfinished = 'UNFINISHED';

/**
 * Looks at a folder of LevelDB, reading only. What it says of one that another process has open means nothing: take the
 * lock, and look again.
 */
export async function inspect(folder: string): Promise<Inspection> {
  const names = new Set(await readdir(folder));
  const data = [...names].some((name) => /^\d+\.(log|ldb|sst)$/.test(name));
  const manifests = [...names].filter((name) => name.startsWith('MANIFEST-'));
  if (!names.has('CURRENT')) {
    // LevelDB would begin an empty database and delete every table. Number 1 alone is what a crash leaves that came
    // before the first opening was through: nothing was ever stored.
    if (!data && manifests.every((name) => name === 'MANIFEST-000001')) return { state: 'new' };
    return damaged('its file CURRENT is missing');
  }
  const current = await readFile(join(folder, 'CURRENT'), 'utf8');
  const manifest = /^(MANIFEST-\d+)\n$/.exec(current)?.[1];
  if (manifest === undefined) return damaged(`its file CURRENT names no MANIFEST (${current.length} bytes)`);
  if (!names.has(manifest)) return damaged(`its file ${manifest} is missing`);
  const { records, mistaken } = readLog(await readFile(join(folder, manifest)));
  if (mistaken > 0) return damaged(`its file ${manifest} has a flipped bit`);
  const number = records.reduce<number | undefined>((found, record) => logNumber(record) ?? found, undefined);
  if (number === undefined) return damaged(`its file ${manifest} is empty or cut`);
  // A MANIFEST that is cut between two records is a good one of earlier, by which LevelDB would delete the tables made
  // since. But the log that it names is gone then: LevelDB makes a log before it names it, and deletes it after.
  if (number !== 0 && !names.has(logName(number))) {
    return damaged(`${logName(number)}, which ${manifest} names, is missing: one of them was cut or lost`);
  }
  return { state: 'whole', ...(await inspectLogs(folder, names, number)) };
}

async function inspectLogs(
  folder: string,
  names: ReadonlySet<string>,
  from: number,
): Promise<{ logs: Map<string, number>; mistaken: Map<string, number> }> {
  const logs = new Map<string, number>();
  const mistaken = new Map<string, number>();
  for (const name of names) {
    if (!/^\d+\.log$/.test(name) || Number.parseInt(name, 10) < from) continue;
    const { size } = await stat(join(folder, name));
    logs.set(name, size);
    const bytes = readLog(await readEnd(join(folder, name), size)).mistaken;
    if (bytes > 0) mistaken.set(name, bytes);
  }
  return { logs, mistaken };
}

/** The last block, when it is not a full one: only there does LevelDB forgive a length that reaches too far. */
async function readEnd(path: string, size: number): Promise<Uint8Array> {
  const bytes = Buffer.alloc(size % logBlock);
  const file = await open(path);
  try {
    const { bytesRead } = await file.read(bytes, 0, bytes.length, size - bytes.length);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * The log that a record of the MANIFEST names, if it does: what is in older ones stands in tables (LevelDB's
 * `db/version_edit.cc`; the fields come in this order).
 */
function logNumber(record: Uint8Array): number | undefined {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; at < record.length; scale *= 128) {
      const byte = record[at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  };
  if (record[0] === 1) {
    at = 1; // the comparator's name
    at += varint();
  }
  if (record[at] !== 2) return undefined;
  at++;
  return varint();
}

function logName(number: number): string {
  return `${String(number).padStart(6, '0')}.log`;
}

function damaged(reason: string): Inspection {
  return { state: 'damaged', reason };
}
