import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Cursor } from './cursor.ts';
import { checksumOf } from './log-file.ts';
import { unsnap } from './snappy.ts';

/*
 * LevelDB's tables (`doc/table_format.txt` of LevelDB): blocks, each followed by a byte for its compression and a masked
 * CRC-32C; a list of other blocks, a list of the data blocks, and an end that says where those two lists are.
 */

const footer = 48;
const trailer = 5;
const magic = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];

interface Handle {
  readonly offset: number;
  readonly size: number;
}

/** A block that a list names, by the last key in it. */
interface Listed extends Handle {
  readonly key: Uint8Array;
}

/** Whether all blocks of a table are what was written, and there is nothing between them. @returns what is wrong. */
export function checkTable(bytes: Uint8Array): string | undefined {
  const lists = listsOf(bytes);
  if (typeof lists === 'string') return lists;
  const all: Handle[] = [];
  for (const list of lists) {
    const wrong = checkBlock(bytes, list);
    if (wrong !== undefined) return wrong;
    const blocks = blocksOf(bytes, list);
    if (blocks === undefined) return `is damaged at byte ${list.offset}: a list of blocks cannot be read`;
    for (const block of blocks) {
      const problem = checkBlock(bytes, block);
      if (problem !== undefined) return problem;
    }
    all.push(list, ...blocks);
  }
  all.sort((a, b) => a.offset - b.offset);
  let next = 0;
  for (const { offset, size } of all) {
    if (offset !== next) return `is damaged: no block begins at byte ${next}`;
    next = offset + size + trailer;
  }
  return next === bytes.length - footer ? undefined : `is damaged: no block begins at byte ${next}`;
}

/**
 * Leaves out what is damaged in the tables of a folder, which must be a copy: LevelDB looks at no checksum of a block, and
 * when it merges a table whose keys are not in their order any more it ends the process (an assertion, seen with 3.0.0 of
 * classic-level).
 *
 * @returns what was left out, in sentences.
 */
export async function salvageTables(folder: string): Promise<{ lines: string[]; bytes: number }> {
  const lines: string[] = [];
  let lost = 0;
  for (const file of await readdir(folder)) {
    if (!/^\d+\.(ldb|sst)$/.test(file)) continue;
    const path = join(folder, file);
    const bytes = await readFile(path);
    const problem = checkTable(bytes);
    if (problem === undefined) continue;
    const saved = salvage(bytes);
    if (saved === undefined) await rm(path);
    else {
      // The file itself may be linked from elsewhere.
      await writeFile(`${path}.new`, saved.bytes);
      await rename(`${path}.new`, path);
    }
    const size = saved?.lost ?? bytes.length;
    lost += size;
    lines.push(`${file} ${problem}; ${size} bytes of it were left out`);
  }
  return { lines, bytes: lost };
}

/** The table with its sound blocks alone; undefined when it is not known where they are. */
function salvage(bytes: Uint8Array): { bytes: Uint8Array; lost: number } | undefined {
  const lists = listsOf(bytes);
  if (typeof lists === 'string') return undefined;
  const [index] = lists;
  if (checkBlock(bytes, index) !== undefined) return undefined;
  const blocks = blocksOf(bytes, index);
  const sound = blocks?.filter((block) => checkBlock(bytes, block) === undefined) ?? [];
  if (blocks === undefined || sound.length === 0) return undefined;
  const end = sound.reduce((most, { offset, size }) => Math.max(most, offset + size + trailer), 0);
  const other = packBlock([]);
  const list = packBlock(sound);
  const handles = [...varint(end), ...varint(other.length - trailer)];
  handles.push(...varint(end + other.length), ...varint(list.length - trailer));
  const last = new Uint8Array(footer);
  last.set(handles);
  last.set(magic, footer - magic.length);
  const lost = blocks.reduce((sum, { size }) => sum + size, 0) - sound.reduce((sum, { size }) => sum + size, 0);
  return { bytes: Buffer.concat([bytes.subarray(0, end), other, list, last]), lost };
}

/** The list of the data blocks, and that of others; or why they cannot be found. */
function listsOf(bytes: Uint8Array): readonly [index: Handle, meta: Handle] | string {
  const end = bytes.length - footer;
  if (end < 0 || magic.some((byte, i) => bytes[end + 40 + i] !== byte))
    return 'has no end: it is cut, or damaged there';
  const from = new Cursor(bytes.subarray(end, end + 40));
  const meta = handleAt(from);
  const index = handleAt(from);
  if (bytes.subarray(end + from.at, end + 40).some((byte) => byte !== 0)) return 'is damaged at its end';
  return [index, meta];
}

function handleAt(from: Cursor): Handle {
  return { offset: from.varint(), size: from.varint() };
}

function checkBlock(bytes: Uint8Array, { offset, size }: Handle): string | undefined {
  const at = offset + size;
  if (at + trailer > bytes.length - footer) return 'is damaged: a block reaches past its end';
  const stored = new DataView(bytes.buffer, bytes.byteOffset + at + 1, 4).getUint32(0, true);
  return stored === checksumOf(bytes, offset, at + 1)
    ? undefined
    : `is damaged: wrong checksum of the block at ${offset}`;
}

/** The entries of a list. */
function blocksOf(bytes: Uint8Array, { offset, size }: Handle): Listed[] | undefined {
  const raw = bytes.subarray(offset, offset + size);
  const block = bytes[offset + size] === 1 ? unsnap(raw) : raw;
  if (block === undefined || block.length < 4) return undefined;
  const restarts = new DataView(block.buffer, block.byteOffset, block.length).getUint32(block.length - 4, true);
  const end = block.length - 4 - 4 * restarts;
  if (end < 0) return undefined;
  const from = new Cursor(block.subarray(0, end));
  const blocks: Listed[] = [];
  let key: Uint8Array = new Uint8Array(0);
  while (!from.ended) {
    const shared = from.varint();
    const rest = from.varint();
    const value = from.varint();
    key = Buffer.concat([key.subarray(0, shared), from.take(rest)]);
    const after = from.at + value;
    blocks.push({ key, ...handleAt(from) });
    if (from.at !== after) return undefined;
  }
  return blocks;
}

/** A list of blocks, uncompressed, with its trailer. */
function packBlock(blocks: readonly Listed[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const starts: number[] = [];
  let size = 0;
  for (const { key, offset, size: length } of blocks) {
    const value = [...varint(offset), ...varint(length)];
    const part = Buffer.concat([
      Uint8Array.from([0, ...varint(key.length), value.length]),
      key,
      Uint8Array.from(value),
    ]);
    starts.push(size);
    size += part.length;
    parts.push(part);
  }
  if (starts.length === 0) starts.push(0);
  const end = Buffer.alloc(4 * starts.length + 4 + trailer);
  for (const [i, start] of [...starts, starts.length].entries()) end.writeUInt32LE(start, 4 * i);
  const block = Buffer.concat([...parts, end]);
  block.writeUInt32LE(checksumOf(block, 0, block.length - 4), block.length - 4);
  return block;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}
