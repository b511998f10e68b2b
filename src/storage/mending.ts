import { resolve } from 'node:path';
import { type Clock, systemClock } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import { copyFiles, syncFiles } from './files.ts';
import { openFolder } from './folder.ts';
import { checkFolder } from './folder-view.ts';
import { mendJournal } from './journal-mending.ts';
import { packRecord, recordKind, unpackRecord } from './record.ts';
import { guarded, originalName, repairFolder } from './repair.ts';
import { readMessages, readSegment } from './segment.ts';
import { everything, journalOf } from './statistics.ts';
import { prefixRange, type Store, type StoreOperation } from './store.ts';
import { type VerifyReport, verifyFolder } from './verify.ts';

/** What became of a store that was to be repaired. */
export interface MendReport {
  readonly before: VerifyReport;
  /** Where it lies now as it was found; undefined when nothing was wrong and nothing was done. */
  readonly original: string | undefined;
  /** What was done to records, in sentences. */
  readonly changes: readonly string[];
  readonly after: VerifyReport;
}

/**
 * Repairs a store that nobody has open: its files by LevelDB's own repair, then its records. What cannot be read is
 * removed, and what counts it is set right, so that every mailbox opens without a gap. The folder as it was found is kept
 * beside it as `<folder>.damaged-<time>`.
 *
 * @throws {BusError} as {@link verifyFolder}; `STORE_CORRUPT` when LevelDB's repair did not help.
 */
export async function mendFolder(folder: string, clock: Clock = systemClock): Promise<MendReport> {
  const path = resolve(folder);
  const before = await verifyFolder(path, clock);
  if (before.whole) return { before, original: undefined, changes: [], after: before };
  await checkFolder(path);
  let original: string | undefined;
  if (before.filesDamaged) {
    await repairFolder(path, clock, before.problems[0]?.problem);
  } else {
    original = await guarded(path, async () => {
      const name = await originalName(path, clock);
      await copyFiles(path, name);
      await syncFiles(name);
      return name;
    });
  }
  const { store, report } = await openFolder(path, { clock });
  original ??= report.repaired?.original;
  const changes: string[] = [];
  try {
    await mendRecords(store, clock.now(), (change) => changes.push(change));
    await store.compact();
  } finally {
    await store.close();
  }
  return { before, original, changes, after: await verifyFolder(path, clock) };
}

/** Removes what cannot be read, and sets right what counts the rest. */
async function mendRecords(store: Store, now: number, tell: (change: string) => void): Promise<void> {
  const journals = new Set<string>();
  const claimed = new Set<string>();
  const unreadable: StoreOperation[] = [];
  for await (const [key, value] of store.scan(everything)) {
    const kind = key.slice(0, key.indexOf('/') + 1);
    if (/^(sg|st|pk|pl)\/$/.test(kind)) journals.add(journalOf(key));
    const problem = problemOf(key, value);
    if (problem !== undefined) {
      unreadable.push({ type: 'del', key });
      tell(`removed: ${problem}`);
    } else if (kind === 'box/' || kind === 'ob/') {
      claimed.add(key.slice(kind.length));
      journals.add(key.slice(kind.length));
    }
  }
  await store.write(unreadable, true);
  for (const id of journals) {
    if (claimed.has(id)) await mendJournal(store, id, now, tell);
    else await removeJournal(store, id, tell);
  }
  await countDeadLetters(store, tell);
}

const kinds: Readonly<Record<string, number>> = {
  'st/': recordKind.state,
  'pk/': recordKind.parked,
  'pl/': recordKind.parked,
  'box/': recordKind.mailbox,
  'ob/': recordKind.spool,
  'dead/': recordKind.dead,
  'reg/': recordKind.registry,
  'plc/': recordKind.placement,
  lead: recordKind.leadership,
  dl: recordKind.dead,
  node: recordKind.node,
};

/** Why a record cannot be read; undefined when it can, or is of a kind that this build does not know. */
function problemOf(key: string, value: Uint8Array): string | undefined {
  const kind = key.slice(0, key.indexOf('/') + 1) || key;
  try {
    if (kind === 'sg/') {
      const record = readSegment(key, value);
      if (record.kind === 'segment') readMessages(key, record);
    } else if (Object.hasOwn(kinds, kind)) {
      unpackRecord(kinds[kind] ?? 0, key, value);
    }
    return undefined;
  } catch (thrown) {
    const error = toError(thrown);
    return error instanceof BusError ? error.message : `the record '${key}' cannot be read: ${error.message}`;
  }
}

/** Whose mailbox it was is not known any more: nobody would ever read it. */
async function removeJournal(store: Store, id: string, tell: (change: string) => void): Promise<void> {
  let count = 0;
  for (const prefix of [`sg/${id}/`, `pk/${id}/`, `pl/${id}/`, `st/${id}`]) {
    let operations: StoreOperation[] = [];
    for await (const [key] of store.scan(prefixRange(prefix))) {
      count++;
      if (operations.push({ type: 'del', key }) < 1000) continue;
      await store.write(operations, true);
      operations = [];
    }
    await store.write(operations, true);
  }
  tell(`removed: the ${count} records of ${id}, which belong to no mailbox`);
}

async function countDeadLetters(store: Store, tell: (change: string) => void): Promise<void> {
  let [count, bytes] = [0, 0];
  for await (const [, value] of store.scan(prefixRange('dead/'))) {
    count++;
    bytes += value.length;
  }
  const value = await store.get('dl');
  const said = value === undefined ? { count: 0, bytes: 0 } : unpackRecord(recordKind.dead, 'dl', value);
  if (said.count === count && said.bytes === bytes) return;
  await store.write([{ type: 'put', key: 'dl', value: packRecord(recordKind.dead, { count, bytes }) }], true);
  tell(`counted the dead letters: ${count}`);
}
