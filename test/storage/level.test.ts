import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHeld } from '../../src/storage/held-folders.ts';
import { LevelStore } from '../../src/storage/level.ts';
import { prefixRange } from '../../src/storage/store.ts';
import { storeError } from '../../src/storage/store-error.ts';
import { storeSuite } from '../../src/testing/store-suite.ts';
import { fill, noTmpfs, numbersOf, onTmpfs, program, range, start, tempFolder } from './disk.ts';

storeSuite('LevelDB on the disk', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-store-'));
  return {
    store: await LevelStore.open(folder),
    close: async () => rmSync(folder, { recursive: true, force: true }),
  };
});

test('what was written is there when the folder is opened again', async (t) => {
  const folder = join(tempFolder(t), 'a', 'b');
  const store = await LevelStore.open(folder);
  await fill(store, 0, 100);
  await store.close();
  const again = await LevelStore.open(folder, { create: false });
  assert.deepEqual(await numbersOf(again), range(0, 100));
  await again.close();
});

test('a scan longer than one chunk is whole from both ends, and may be left anywhere', async (t) => {
  const store = await LevelStore.open(tempFolder(t));
  await fill(store, 0, 3500);
  assert.deepEqual(await numbersOf(store), range(0, 3500));
  const back: string[] = [];
  for await (const [key] of store.scan({ ...prefixRange('n/'), reverse: true })) {
    back.push(key);
    if (back.length === 3000) break;
  }
  assert.equal(back.at(-1), 'n/00000500');
  await store.close();
});

test('a long batch of small operations is applied in order and whole, as a short one is', async (t) => {
  const store = await LevelStore.open(tempFolder(t));
  const value = Uint8Array.of(1);
  await store.write(
    range(0, 1000).flatMap((n) => [
      { type: 'put' as const, key: `k${n}`, value },
      ...(n % 2 === 0 ? [{ type: 'del' as const, key: `k${n}` }] : []),
    ]),
    true,
  );
  let count = 0;
  for await (const [key] of store.scan(prefixRange('k'))) {
    assert.equal(Number(key.slice(1)) % 2, 1);
    count++;
  }
  assert.equal(count, 500);
  await store.close();
});

test('compact() loses nothing', async (t) => {
  const store = await LevelStore.open(tempFolder(t), { writeBuffer: 64 * 1024 });
  await fill(store, 0, 1000);
  await store.write(
    range(0, 500).map((n) => ({ type: 'del', key: `n/${String(n).padStart(8, '0')}` })),
    false,
  );
  await store.compact();
  assert.deepEqual(await numbersOf(store), range(500, 1000));
  await store.close();
});

test('with create: false a folder without a database is STORE_CORRUPT, and no folder STORE_FAILED', async (t) => {
  const folder = tempFolder(t);
  await assert.rejects(LevelStore.open(folder, { create: false }), { code: 'STORE_CORRUPT' });
  await assert.rejects(LevelStore.open(join(folder, 'none'), { create: false }), { code: 'STORE_FAILED' });
});

test('a folder that another process holds is STORE_LOCKED by name, until that process is gone', async (t) => {
  const folder = tempFolder(t);
  const child = start(
    t,
    process.execPath,
    program(`await LevelStore.open(process.argv[1]); say('open'); process.stdin.resume();`, folder),
  );
  await child.lines.next();
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(LevelStore.open(folder), (error: Error & { code: string }) => {
      assert.equal(error.code, 'STORE_LOCKED');
      assert.ok(error.message.includes(folder), error.message);
      return true;
    });
  }
  child.process.kill('SIGKILL');
  await child.end.catch(() => undefined);
  await (await LevelStore.open(folder)).close();
});

test('a second opening in the same process is refused, and does not cost the first one its lock', async (t) => {
  const folder = tempFolder(t);
  const store = await LevelStore.open(folder);
  await assert.rejects(LevelStore.open(`${folder}/.`), { code: 'STORE_LOCKED' });
  assert.equal(await isHeld(folder), true);
  const child = start(t, process.execPath, program(`say(await codeOf(LevelStore.open(process.argv[1])));`, folder));
  assert.equal(await child.end, '"STORE_LOCKED"\n');
  await store.close();
  assert.equal(await isHeld(folder), false);
});

test('what was confirmed with sync is there after SIGKILL', { timeout: 60_000 }, async (t) => {
  const folder = tempFolder(t);
  const child = start(
    t,
    process.execPath,
    program(
      `const store = await LevelStore.open(process.argv[1], { writeBuffer: 64 * 1024 });
       for (let n = 0; ; n++) { await fill(store, n, n + 1, true); say(n); }`,
      folder,
    ),
  );
  let confirmed = -1;
  for await (const line of child.lines) {
    confirmed = Number(line);
    if (confirmed === 700) child.process.kill('SIGKILL');
  }
  const store = await LevelStore.open(folder);
  const found = await numbersOf(store);
  assert.ok(confirmed >= 700 && found.length > confirmed, `${found.length} of ${confirmed + 1}`);
  assert.deepEqual(found, range(0, found.length));
  await store.close();
});

test('on a full disk a write is STORE_FULL, so are later ones, and reopened it keeps all that was confirmed', {
  timeout: 60_000,
  skip: noTmpfs,
}, async (t) => {
  const child = onTmpfs(
    t,
    `const folder = process.argv[1];
     fs.writeFileSync(folder + '/filler', Buffer.alloc(2 << 20, 1));
     let store = await LevelStore.open(folder + '/store');
     let n = 0, code = 'ok';
     while (code === 'ok') if ((code = await codeOf(fill(store, n, n + 1, true))) === 'ok') n++;
     say(code);
     fs.rmSync(folder + '/filler');
     say(await codeOf(fill(store, 90_000, 90_001, true)));
     say(await codeOf(store.get(keyOf(0))));
     await store.close();
     store = await LevelStore.open(folder + '/store');
     await fill(store, 10_000, 10_060, true);
     fs.writeFileSync(folder + '/confirmed', String(n));
     process.kill(process.pid, 'SIGKILL');`,
    `const folder = process.argv[1];
     const store = await LevelStore.open(folder + '/store');
     const found = await numbersOf(store);
     const confirmed = Number(fs.readFileSync(folder + '/confirmed', 'utf8'));
     say({ confirmed, early: found.filter((n) => n < 10_000), late: found.filter((n) => n >= 10_000).length });
     await store.close();`,
  );
  const [first, second, get, last] = (await child.end)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual([first, second, get], ['STORE_FULL', 'STORE_FULL', 'ok']);
  assert.ok(last.confirmed > 100, `${last.confirmed}`);
  assert.deepEqual(last.early.slice(0, last.confirmed), range(0, last.confirmed));
  assert.equal(last.late, 60);
});

test('every failure has its code, and a BusError stays what it is', () => {
  const level = (code: string, message: string): Error =>
    new Error('Database failed to open', { cause: Object.assign(new Error(message), { code }) });
  for (const [code, error] of [
    ['STORE_LOCKED', level('LEVEL_LOCKED', 'IO error: lock /x/LOCK: Resource temporarily unavailable')],
    ['STORE_FULL', level('LEVEL_IO_ERROR', 'IO error: /x/000003.log: No space left on device')],
    ['STORE_FULL', level('LEVEL_IO_ERROR', 'IO error: /x/000003.log: Disk quota exceeded')],
    ['STORE_FULL', Object.assign(new Error('write'), { code: 'ENOSPC' })],
    ['STORE_FAILED', level('LEVEL_IO_ERROR', 'IO error: /x/000003.log: Input/output error')],
    ['STORE_FAILED', 'a string'],
    ['STORE_CORRUPT', level('LEVEL_CORRUPTION', 'Corruption: bad block')],
    ['CLOSED', Object.assign(new Error('not open'), { code: 'LEVEL_ITERATOR_NOT_OPEN' })],
  ] as const) {
    const found = storeError(error, '/x');
    assert.equal(found.code, code);
    assert.match(found.message, /\/x/);
    assert.equal(storeError(found, '/y'), found);
  }
});
