import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Ballast, ballastSize } from '../../src/storage/ballast.ts';
import { noTmpfs, onTmpfs, tempFolder } from './disk.ts';

const KiB = 1024;
const MiB = 1024 * KiB;

test('a ballast is a sixteenth of what is free, of whole 64 KiB, at most 16 MiB, and nothing where 64 KiB are more', () => {
  for (const [free, size] of [
    [0, 0],
    [MiB - 1, 0],
    [MiB, 64 * KiB],
    [5 * MiB, 320 * KiB],
    [255 * MiB, 16320 * KiB],
    [256 * MiB, 16 * MiB],
    [2 ** 50, 16 * MiB],
  ] as const) {
    assert.equal(ballastSize(free), size, `${free} free`);
  }
});

test('the file takes its room really, of bytes that nothing compresses', async (t) => {
  const file = join(tempFolder(t), 'ballast');
  const ballast = await Ballast.open(file);
  const { size, blocks } = statSync(file);
  assert.equal(size, ballast.size);
  assert.ok(size >= 64 * KiB && blocks * 512 >= size, `${blocks} blocks for ${size} bytes`);
  assert.ok(gzipSync(readFileSync(file)).length >= size);
});

test('release() gives it back once, restore() makes it again, and opening takes what is there', async (t) => {
  const file = join(tempFolder(t), 'ballast');
  const ballast = await Ballast.open(file);
  const { size } = ballast;
  const { ino } = statSync(file);
  const again = await Ballast.open(file);
  assert.deepEqual([again.size, statSync(file).ino], [size, ino]);
  assert.equal(await ballast.release(), true);
  assert.equal(await ballast.release(), false);
  assert.equal(ballast.size, 0);
  assert.throws(() => statSync(file), { code: 'ENOENT' });
  assert.equal(await ballast.restore(), true);
  assert.equal(await ballast.restore(), true);
  assert.equal(statSync(file).size, ballast.size);
});

test('calls that are not awaited run one after the other', async (t) => {
  const ballast = await Ballast.open(join(tempFolder(t), 'ballast'));
  const all = await Promise.all([ballast.release(), ballast.restore(), ballast.release(), ballast.release()]);
  assert.deepEqual(all, [true, true, true, false]);
});

test('a file that is sparse, or too small, is made anew', async (t) => {
  const file = join(tempFolder(t), 'ballast');
  for (const spoil of [() => truncateSync(file, 32 * MiB), () => truncateSync(file, 100)]) {
    writeFileSync(file, '');
    spoil();
    const ballast = await Ballast.open(file);
    assert.ok(statSync(file).blocks * 512 >= ballast.size && ballast.size <= 16 * MiB && ballast.size > 100);
  }
});

test('a ballast that cannot be made for another reason than room is STORE_FAILED by name', async (t) => {
  const file = join(tempFolder(t), 'ballast');
  mkdirSync(file);
  await assert.rejects(Ballast.open(file), (error: Error & { code: string }) => {
    assert.equal(error.code, 'STORE_FAILED');
    assert.ok(error.message.includes(file), error.message);
    return true;
  });
});

test('on a full volume the released ballast is room to write, and it comes back when there is room', {
  timeout: 60_000,
  skip: noTmpfs,
}, async (t) => {
  const child = onTmpfs(
    t,
    `const folder = process.argv[1];
     const ballast = await Ballast.open(folder + '/ballast');
     const size = ballast.size;
     const block = Buffer.alloc(4096, 1);
     const filler = fs.openSync(folder + '/filler', 'w');
     const fillUp = () => { try { for (;;) fs.writeSync(filler, block); } catch (error) { return error.code; } };
     const first = fillUp();
     const released = await ballast.release();
     let room = 0;
     const more = fs.openSync(folder + '/more', 'w');
     while (room < size) room += fs.writeSync(more, block);
     const none = await ballast.restore();
     fs.closeSync(filler);
     fs.rmSync(folder + '/filler');
     const back = await ballast.restore();
     say({ size, first, released, room, none, back, again: ballast.size });`,
  );
  assert.deepEqual(JSON.parse(await child.end), {
    size: 256 * KiB,
    first: 'ENOSPC',
    released: true,
    room: 256 * KiB,
    none: false,
    back: true,
    again: 192 * KiB,
  });
});
