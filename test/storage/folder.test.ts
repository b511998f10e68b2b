import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { type FolderReport, openFolder } from '../../src/storage/folder.ts';
import { lossesOf } from '../../src/storage/info-log.ts';
import { inspect } from '../../src/storage/inspection.ts';
import { LevelStore } from '../../src/storage/level.ts';
import { bytesOf, diceOf, filesOf, fill, keyOf, numbersOf, program, range, start, tempFolder } from './disk.ts';

const seed = Number(process.env.MAILVAN_TEST_SEED ?? 7);
const clean = { created: false, repaired: undefined, droppedBytes: 0, notes: [] };

const template = mkdtempSync(join(tmpdir(), 'mailvan-store-'));
test.before(async () => {
  const store = await LevelStore.open(template, { writeBuffer: 64 * 1024 });
  for (let round = 0; round < 3; round++) {
    await fill(store, 600, 700);
    await fill(store, 0, 600);
    for (let n = 600; n < 700; n++) await store.write([{ type: 'del', key: keyOf(n) }], false);
  }
  await store.close();
});
test.after(() => rmSync(template, { recursive: true, force: true }));

/** A store of tables and a log, with deletions and replaced values; 600 numbered entries are in it. */
function makeStore(folder: string): void {
  cpSync(template, folder, { recursive: true });
}

/** A store of one log alone. */
async function makeLog(folder: string, count: number): Promise<string> {
  const store = await LevelStore.open(folder);
  await fill(store, 0, count);
  await store.close();
  return join(folder, nameOf(folder, '.log'));
}

function nameOf(folder: string, part: string): string {
  return readdirSync(folder).find((name) => name.includes(part)) ?? assert.fail(`${folder} has no ${part}`);
}

async function contentOf(folder: string): Promise<{ numbers: number[]; report: FolderReport }> {
  const { store, report } = await openFolder(folder, { clock: new VirtualClock() });
  const numbers = await numbersOf(store);
  // get() takes another way through the tables than scan().
  for (const n of numbers) assert.deepEqual(Buffer.from((await store.get(keyOf(n))) ?? []), Buffer.from(bytesOf(n)));
  await store.close();
  return { numbers, report };
}

test('a folder that is missing is made, and opening it again has nothing to tell', async (t) => {
  const folder = join(tempFolder(t), 'data', 'store');
  assert.deepEqual((await contentOf(folder)).report, { ...clean, created: true });
  assert.deepEqual((await contentOf(folder)).report, clean);
  const { store, report } = await openFolder(folder);
  assert.deepEqual(report, clean);
  await fill(store, 0, 10);
  await store.close();
  assert.deepEqual(await contentOf(folder), { numbers: range(0, 10), report: clean });
  assert.deepEqual(readdirSync(join(folder, '..')), ['store']);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('aside')),
    [],
  );
});

test('a path that is a file is OPTION_INVALID, one that cannot be made STORE_FAILED, both by name', async (t) => {
  const file = join(tempFolder(t), 'file');
  writeFileSync(file, 'x');
  for (const [path, code] of [
    [file, 'OPTION_INVALID'],
    [join(file, 'store'), 'OPTION_INVALID'],
    ['/sys/mailvan/store', 'STORE_FAILED'],
  ] as const) {
    await assert.rejects(openFolder(path), (error: Error & { code: string }) => {
      assert.equal(error.code, code);
      assert.ok(error.message.includes(path), error.message);
      return true;
    });
  }
  assert.equal(readFileSync(file, 'utf8'), 'x');
});

test('a folder that is open is STORE_LOCKED by name, here and in another process, whatever its files look like', async (t) => {
  const folder = tempFolder(t);
  const away = join(tempFolder(t), 'CURRENT');
  const { store } = await openFolder(folder);
  await fill(store, 0, 100);
  const locked = program(`say(await codeOf(openFolder(process.argv[1])));`, folder);
  await assert.rejects(openFolder(folder), { code: 'STORE_LOCKED' });
  assert.equal(await start(t, process.execPath, locked).end, '"STORE_LOCKED"\n');
  renameSync(join(folder, 'CURRENT'), away);
  await assert.rejects(openFolder(folder), { code: 'STORE_LOCKED' });
  assert.equal(await start(t, process.execPath, locked).end, '"STORE_LOCKED"\n');
  renameSync(away, join(folder, 'CURRENT'));
  assert.equal(existsSync(`${folder}.repair`), false);
  await fill(store, 100, 200, true);
  await store.close();
  assert.deepEqual(await contentOf(folder), { numbers: range(0, 200), report: clean });
});

test('two openings of one folder at the same time: one has it, the other is refused', async (t) => {
  const folder = tempFolder(t);
  const both = await Promise.allSettled([openFolder(folder), openFolder(folder)]);
  const stores = both.flatMap((result) => (result.status === 'fulfilled' ? [result.value.store] : []));
  const reasons = both.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
  assert.deepEqual([stores.length, reasons], [1, ['STORE_LOCKED']]);
  await stores[0]?.close();
});

for (const [what, damage] of Object.entries<(folder: string) => void>({
  'CURRENT is missing': (folder) => rmSync(join(folder, 'CURRENT')),
  'CURRENT is empty': (folder) => truncateSync(join(folder, 'CURRENT')),
  'CURRENT is cut': (folder) => truncateSync(join(folder, 'CURRENT'), 9),
  'CURRENT holds rubbish': (folder) => writeFileSync(join(folder, 'CURRENT'), Buffer.alloc(16, 0)),
  'the MANIFEST is missing': (folder) => rmSync(join(folder, nameOf(folder, 'MANIFEST'))),
  'the MANIFEST is empty': (folder) => truncateSync(join(folder, nameOf(folder, 'MANIFEST'))),
  'the MANIFEST is cut': (folder) => truncateSync(join(folder, nameOf(folder, 'MANIFEST')), 40),
  'the MANIFEST holds rubbish': (folder) =>
    writeFileSync(join(folder, nameOf(folder, 'MANIFEST')), Buffer.alloc(500, 0x55)),
})) {
  test(`when ${what}, everything comes back, and the original is kept byte for byte`, async (t) => {
    const folder = join(tempFolder(t), 'store');
    makeStore(folder);
    damage(folder);
    const before = filesOf(folder);
    const { numbers, report } = await contentOf(folder);
    assert.deepEqual(numbers, range(0, 600));
    assert.equal(report.created, false);
    assert.match(report.repaired?.reason ?? '', /CURRENT|MANIFEST/);
    assert.ok(report.notes.some((note) => note.includes(report.repaired?.original ?? '?')));
    assert.deepEqual(filesOf(report.repaired?.original ?? ''), before);
    assert.match(report.repaired?.original ?? '', /store\.damaged-2026-01-01T00-00-00-000Z$/);
    assert.deepEqual(readdirSync(join(folder, '..')).length, 2, 'the folder and the original');
    assert.deepEqual(await contentOf(folder), { numbers: range(0, 600), report: clean });
  });
}

test(`a MANIFEST cut anywhere loses nothing (seed ${seed})`, { timeout: 60_000 }, async (t) => {
  const dice = diceOf(seed);
  const parent = tempFolder(t);
  makeStore(join(parent, 'good'));
  const name = nameOf(join(parent, 'good'), 'MANIFEST');
  const { length } = readFileSync(join(parent, 'good', name));
  let repairs = 0;
  for (let run = 0; run < 25; run++) {
    const folder = join(parent, `cut-${run}`);
    cpSync(join(parent, 'good'), folder, { recursive: true });
    const at = dice(length);
    truncateSync(join(folder, name), at);
    const { numbers, report } = await contentOf(folder);
    assert.deepEqual(numbers, range(0, 600), `cut at ${at} of ${length}`);
    if (report.repaired !== undefined) repairs++;
  }
  assert.ok(repairs > 0);
});

test('when tables are missing, what is left comes back, and it is told', async (t) => {
  const folder = join(tempFolder(t), 'store');
  makeStore(folder);
  rmSync(join(folder, nameOf(folder, '.ldb')));
  const before = filesOf(folder);
  const { report } = await contentOf(folder);
  assert.match(report.repaired?.reason ?? '', /missing files/);
  assert.deepEqual(filesOf(report.repaired?.original ?? ''), before);
});

test('when the log is missing, LevelDB would say nothing; it is told', async (t) => {
  const folder = join(tempFolder(t), 'store');
  rmSync(await makeLog(folder, 100));
  const { numbers, report } = await contentOf(folder);
  assert.deepEqual(numbers, []);
  assert.match(report.repaired?.reason ?? '', /\d+\.log, which MANIFEST-\d+ names, is missing/);
});

test('what a crash leaves of a first opening is no damage', async (t) => {
  const folder = tempFolder(t);
  for (const name of ['LOCK', 'LOG', 'MANIFEST-000001', '000001.dbtmp']) writeFileSync(join(folder, name), '');
  assert.deepEqual((await contentOf(folder)).report, { ...clean, created: true });
});

test(`a log cut anywhere gives an exact prefix, and nothing is reported as dropped (seed ${seed})`, {
  timeout: 60_000,
}, async (t) => {
  const dice = diceOf(seed);
  const parent = tempFolder(t);
  const log = await makeLog(join(parent, 'good'), 300);
  const { length } = readFileSync(log);
  for (let run = 0; run < 40; run++) {
    const folder = join(parent, `cut-${run}`);
    cpSync(join(parent, 'good'), folder, { recursive: true });
    const at = dice(length);
    truncateSync(log.replace('/good/', `/cut-${run}/`), at);
    const { numbers, report } = await contentOf(folder);
    assert.deepEqual(numbers, range(0, numbers.length), `cut at ${at}`);
    assert.deepEqual(report, clean, `cut at ${at}`);
    rmSync(folder, { recursive: true });
  }
});

/** Flips one bit of a copy's log, and expects to be told. */
async function flip(t: TestContext, good: string, log: string, bit: number): Promise<void> {
  const folder = join(tempFolder(t), 'store');
  cpSync(good, folder, { recursive: true });
  const path = join(folder, log);
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
  writeFileSync(path, bytes);
  const { numbers, report } = await contentOf(folder);
  assert.ok(report.droppedBytes > 0, `bit ${bit} (seed ${seed}): ${numbers.length} entries, nothing was told`);
  const kept = report.notes.map((note) => /kept in (\S+)/.exec(note)?.[1]).find((name) => name !== undefined);
  assert.deepEqual(readFileSync(join(kept ?? '', log)), bytes, `bit ${bit}`);
  rmSync(join(folder, '..'), { recursive: true });
}

test(`one bit flipped in a log is reported by droppedBytes, and the log is kept (seed ${seed})`, {
  timeout: 60_000,
}, async (t) => {
  const dice = diceOf(seed);
  const good = join(tempFolder(t), 'good');
  const log = await makeLog(good, 300);
  const { length } = readFileSync(log);
  for (let run = 0; run < 60; run++) await flip(t, good, log.slice(good.length + 1), dice(length * 8));
});

test('every bit flipped in the header of the last record is reported, although it looks like a torn write', async (t) => {
  const good = join(tempFolder(t), 'good');
  const log = await makeLog(good, 40);
  const bytes = readFileSync(log);
  // 12 bytes of a batch's header, the kind, the lengths of key (1) and value (2), the key and the value.
  const payload = 12 + 1 + 1 + keyOf(39).length + (bytesOf(39).length < 128 ? 1 : 2) + bytesOf(39).length;
  const header = bytes.length - payload - 7;
  assert.equal(bytes.readUInt16LE(header + 4), payload);
  for (let bit = 0; bit < 56; bit++) await flip(t, good, log.slice(good.length + 1), header * 8 + bit);
});

test('a repair that was cut off before its end is begun anew, after it finished', async (t) => {
  const parent = tempFolder(t);
  makeStore(join(parent, 'good'));
  const damagedCopy = (name: string): string => {
    const folder = join(parent, name, 'store');
    cpSync(join(parent, 'good'), folder, { recursive: true });
    truncateSync(join(folder, 'CURRENT'));
    return folder;
  };
  const expected = range(0, 600);

  const early = damagedCopy('early');
  mkdirSync(`${early}.repair/copy`, { recursive: true });
  writeFileSync(`${early}.repair/copy/000005.ldb`, 'half of it');
  const first = await contentOf(early);
  assert.deepEqual(first.numbers, expected);
  assert.equal(existsSync(`${early}.repair`), false);

  for (const [name, moved] of [
    ['before the renames', false],
    ['between the renames', true],
  ] as const) {
    const folder = damagedCopy(name);
    const before = filesOf(folder);
    mkdirSync(`${folder}.repair`);
    cpSync(join(parent, 'good'), `${folder}.repair/done`, { recursive: true });
    const original = `${folder}.damaged-2025-01-01T00-00-00-000Z`;
    const losses = { bytes: 5, lines: ['a line'], unread: [], found: true };
    writeFileSync(`${folder}.repair/done/REPAIRED`, JSON.stringify({ original, reason: 'of old', losses }));
    if (moved) renameSync(folder, original);
    const { numbers, report } = await contentOf(folder);
    assert.deepEqual(numbers, expected, name);
    assert.deepEqual([report.repaired, report.droppedBytes], [{ original, reason: 'of old' }, 5], name);
    assert.deepEqual(filesOf(original), before, name);
    assert.deepEqual(readdirSync(join(folder, '..')).length, 2, name);
    assert.deepEqual(await contentOf(folder), { numbers: expected, report: clean });
  }
});

test('of several processes that find the same damaged folder one repairs it, and all see the same', {
  timeout: 60_000,
}, async (t) => {
  const folder = join(tempFolder(t), 'store');
  makeStore(folder);
  truncateSync(join(folder, 'CURRENT'));
  const code = `
    for (;;) {
      try {
        const { store, report } = await openFolder(process.argv[1]);
        say([report.repaired !== undefined, (await numbersOf(store)).length]);
        await store.close();
        break;
      } catch (error) {
        if (error.code !== 'STORE_LOCKED' && error.code !== 'STORE_FAILED') throw error;
        await new Promise((done) => setImmediate(done));
      }
    }`;
  const children = range(0, 3).map(() => start(t, process.execPath, program(code, folder)));
  const found = (await Promise.all(children.map(({ end }) => end))).map((line) => JSON.parse(line));
  assert.deepEqual(found.map(([repaired]) => repaired).sort(), [false, false, true]);
  assert.deepEqual(
    found.map(([, count]) => count),
    [600, 600, 600],
  );
  assert.equal(readdirSync(join(folder, '..')).length, 2);
});

test('after a repair get() has the newest value, although an older one lies in a younger table', async (t) => {
  const folder = join(tempFolder(t), 'store');
  for (const value of ['old', 'new', 'other']) {
    const store = await LevelStore.open(folder); // what the last one wrote becomes a table
    await store.write([{ type: 'put', key: value === 'other' ? 'b' : 'a', value: Buffer.from(value) }], false);
    await store.close();
  }
  const [older] = readdirSync(folder)
    .filter((name) => name.endsWith('.ldb'))
    .sort();
  // A compaction gives what it merges a new number too; the levels tell LevelDB, and a repair knows none.
  renameSync(join(folder, older ?? assert.fail('no table')), join(folder, '000090.ldb'));
  rmSync(join(folder, 'CURRENT'));
  const { store } = await openFolder(folder);
  assert.equal(Buffer.from((await store.get('a')) ?? []).toString(), 'new');
  await store.close();
});

test('inspect() alters nothing', async (t) => {
  const folder = tempFolder(t);
  makeStore(folder);
  const before = filesOf(folder);
  assert.equal((await inspect(folder)).state, 'whole');
  assert.deepEqual(filesOf(folder), before);
});

test("lines of LevelDB's LOG about what it left out are found, others not", () => {
  const { bytes, lines, unread } = lossesOf([
    [
      '2026/11/23-09:00:00.000000 7f1 Recovering log #3',
      '2026/11/23-09:00:00.000001 7f1 (ignoring error) /d/000003.log: dropping 9000 bytes; Corruption: checksum mismatch',
      '2026/11/23-09:00:00.000002 7f1 (ignoring error) /d/000003.log: dropping 12 bytes; Corruption: missing start',
      '2026/11/23-09:00:00.000003 7f1 Ignoring error IO error: /d/000004.log: Too many open files',
      '2026/11/23-09:00:00.000004 7f1 Delete type=0 #3',
    ].join('\n'),
  ]);
  assert.equal(bytes, 9012);
  assert.equal(lines.length, 3);
  assert.ok(lines[0]?.startsWith('(ignoring error) /d/'), lines[0]);
  assert.deepEqual(unread, ['000004.log']);
});
