import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { backup } from '../../src/storage/backup.ts';
import { openFolder } from '../../src/storage/folder.ts';
import { LevelStore } from '../../src/storage/level.ts';
import { MemoryStore } from '../../src/storage/memory.ts';
import type { KeyRange, Store } from '../../src/storage/store.ts';
import { fill, noTmpfs, numbersOf, onTmpfs, range, tempFolder } from './disk.ts';

test('a backup holds everything, whatever its key, and tells how much', async (t) => {
  const parent = tempFolder(t);
  const store = await LevelStore.open(join(parent, 'store'));
  await fill(store, 0, 2500);
  const odd = ['', 'ä', '\uffff', '\u{10ffff}', '\u{10ffff}\u{10ffff}x'];
  await store.write(
    odd.map((key) => ({ type: 'put', key, value: new Uint8Array(0) })),
    false,
  );
  const target = join(parent, 'a', 'copy');
  const { entries, bytes } = await backup(store, target);
  await store.close();
  const { store: copy, report } = await openFolder(target);
  assert.deepEqual([report.created, report.notes], [false, []]);
  assert.equal(entries, 2500 + odd.length);
  assert.ok(bytes > 2500 * 30);
  assert.deepEqual(await numbersOf(copy), range(0, 2500));
  for (const key of odd) assert.equal((await copy.get(key))?.length, 0, key);
  await copy.close();
});

test('an empty store has a backup, of which nothing comes', async (t) => {
  const folder = tempFolder(t);
  assert.deepEqual(await backup(new MemoryStore(), folder), { entries: 0, bytes: 0 });
  const { store, report } = await openFolder(folder);
  assert.equal(report.created, false);
  await store.close();
});

test('a backup is of one moment, although the store is written to meanwhile', async (t) => {
  const parent = tempFolder(t);
  const store = await LevelStore.open(join(parent, 'store'));
  await fill(store, 0, 2000);
  const copying = backup(writingWhenRead(store), join(parent, 'copy'));
  await copying;
  assert.deepEqual(await numbersOf(store), range(0, 2100));
  const copy = await LevelStore.open(join(parent, 'copy'));
  assert.deepEqual(await numbersOf(copy), range(0, 2000));
  await copy.close();
  await store.close();
});

/** A store into which something is written as soon as somebody has read the first entry of it. */
function writingWhenRead(store: Store): Store {
  return {
    write: (operations, sync) => store.write(operations, sync),
    get: (key) => store.get(key),
    close: () => store.close(),
    async *scan(all: KeyRange) {
      let first = true;
      for await (const entry of store.scan(all)) {
        if (first) await fill(store, 2000, 2100);
        first = false;
        yield entry;
      }
    },
  };
}

test('a folder that holds something is refused and left alone, and so is a file', async (t) => {
  const parent = tempFolder(t);
  const file = join(parent, 'file');
  writeFileSync(file, 'mine');
  for (const path of [parent, file, join(file, 'below')]) {
    await assert.rejects(backup(new MemoryStore(), path), { code: 'OPTION_INVALID' });
  }
  assert.deepEqual(readdirSync(parent), ['file']);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
});

test('a backup that failed leaves the folder as it was: missing, or empty', async (t) => {
  const parent = tempFolder(t);
  const failing = writingWhenRead(new MemoryStore());
  failing.scan = async function* () {
    yield ['a', new Uint8Array(2 << 20)] as const;
    throw new Error('the disk is gone');
  };
  mkdirSync(join(parent, 'empty'));
  for (const name of ['empty', 'missing']) {
    await assert.rejects(backup(failing, join(parent, name)), { code: 'STORE_FAILED', message: /the disk is gone/ });
  }
  assert.deepEqual(readdirSync(join(parent, 'empty')), []);
  assert.equal(existsSync(join(parent, 'missing')), false);
});

test('a backup that a crash cut off is not taken for a whole one', async (t) => {
  const folder = tempFolder(t);
  await backup(new MemoryStore(), folder);
  writeFileSync(join(folder, 'UNFINISHED'), '');
  await assert.rejects(openFolder(folder), { code: 'STORE_CORRUPT', message: /backup that was not finished/ });
});

test('a backup on a volume that is too small is STORE_FULL', { timeout: 60_000, skip: noTmpfs }, async (t) => {
  const child = onTmpfs(
    t,
    `const { backup } = await import(${JSON.stringify(new URL('../../src/storage/backup.ts', import.meta.url).href)});
     const { MemoryStore } = await import(${JSON.stringify(new URL('../../src/storage/memory.ts', import.meta.url).href)});
     const store = new MemoryStore();
     const value = new Uint8Array(100_000).map((_, i) => (i * i * 31 + (i >> 3)) & 255);
     for (let i = 0; i < 80; i++) await store.write([{ type: 'put', key: 'k' + i, value }], false);
     say([await codeOf(backup(store, process.argv[1] + '/copy')), fs.readdirSync(process.argv[1])]);`,
  );
  assert.deepEqual(JSON.parse(await child.end), ['STORE_FULL', []]);
});
