import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSegment, segmentBytes, segmentMessages } from '../../src/storage/segment.ts';
import { Disk } from '../../src/testing/disk.ts';
import { heldBy, Life, policyOf } from '../actors/durable-bed.ts';

test('what one commit brings is split into segments that follow one another, and comes back in order', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  const { mailbox } = await life.mailbox('a/b');
  const count = 2 * segmentMessages + 100;
  for (let i = 0; i < count; i++) life.offer(mailbox, i);
  for (let i = 0; i < 5; i++) life.offer(mailbox, 'x'.repeat(300_000));
  await life.clock.settle();
  const records = disk.keys('sg/').map((key) => readSegment(key, disk.values.get(key) as Uint8Array));
  assert.ok(records.length >= 5, `${records.length} segments`);
  let next = 1;
  let bytes = 0;
  for (const record of records) {
    assert.equal(record.first, next);
    assert.equal(record.bytesBefore, bytes);
    assert.ok(record.count <= segmentMessages);
    next += record.count;
    bytes += record.bytes;
  }
  assert.equal(bytes, mailbox.bytes);
  const epoch = life.kill();
  life = await Life.start(disk, { epoch });
  const seen: unknown[] = [];
  life.consume((await life.mailbox('a/b')).mailbox, ({ payload }) => void seen.push(payload));
  await life.clock.advance(1000);
  assert.equal(seen.length, count + 5);
  assert.ok(seen.slice(0, count).every((payload, i) => payload === i));
});

test('an id enters once, for two minutes, across restarts, although its message has left', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  let handled = 0;
  let epoch = 0;
  for (let round = 0; round < 4; round++) {
    const { mailbox } = await life.mailbox('a/b');
    const consumer = life.consume(mailbox, () => void handled++);
    const { result, told } = life.offer(mailbox, round, { id: 'the same' });
    await life.clock.advance(20_000);
    assert.deepEqual([result, told()], ['accepted', 'synced']);
    assert.equal(handled, 1, `round ${round}`);
    await life.run(() => consumer.close(0));
    epoch = round % 2 === 0 ? await life.close() : life.kill();
    life = await Life.start(disk, { epoch, seed: round });
  }
  const { mailbox } = await life.mailbox('a/b');
  life.consume(mailbox, () => void handled++);
  for (let minute = 0; minute < 5; minute++) {
    await life.clock.advance(60_000);
    life.offer(mailbox, 'other');
  }
  await life.clock.advance(10);
  handled = 0;
  life.offer(mailbox, 'late', { id: 'the same' });
  await life.clock.advance(10);
  assert.equal(handled, 1, 'it is forgotten after a while');
});

test('what has left takes no room: segments, stubs and parked records go', async () => {
  const disk = new Disk();
  const life = await Life.start(disk);
  const { mailbox } = await life.mailbox('a/b');
  life.consume(mailbox, ({ payload }, { attempt }) => {
    if (Number(payload) % 10 === 0 && attempt === 1) throw new Error('once more');
  });
  let most = 0;
  for (let i = 0; i < 3000; i++) {
    life.offer(mailbox, i);
    await life.clock.advance(200);
    most = Math.max(most, disk.values.size);
  }
  await life.clock.advance(1000);
  assert.equal(mailbox.size, 0);
  assert.deepEqual(heldBy(disk, mailbox.id, 'a/b'), []);
  // One stub a commit for up to four minutes, and no more.
  assert.ok(most < 1500, `${most} records`);
});

test('numbers of streams are known after a crash, and go on', async () => {
  const disk = new Disk();
  let life = await Life.start(disk);
  let { mailbox } = await life.mailbox('a/b');
  const from = (origin: string, number: number): void => {
    mailbox.offer(life.message('a/b', number), undefined, origin, number);
  };
  for (let i = 1; i <= 100; i++) from('one', i);
  await life.clock.settle();
  from('two', 7);
  mailbox.journal.advance('three', 3);
  await life.clock.settle();
  const epoch = life.kill();
  life = await Life.start(disk, { epoch });
  ({ mailbox } = await life.mailbox('a/b'));
  const marks = (): number[] => ['one', 'two', 'three', 'four'].map((origin) => mailbox.journal.watermark(origin));
  assert.deepEqual(marks(), [100, 7, 3, 0]);
  mailbox.journal.forget('one');
  await life.clock.settle();
  const next = await life.close();
  life = await Life.start(disk, { epoch: next });
  ({ mailbox } = await life.mailbox('a/b'));
  assert.deepEqual(marks(), [0, 7, 3, 0]);
});

test('numbers of a commit that failed are those of the disk', async () => {
  for (const fault of ['lost', 'applied'] as const) {
    const life = await Life.start(new Disk());
    const { mailbox } = await life.mailbox('a/b');
    mailbox.offer(life.message('a/b', 1), undefined, 'one', 1);
    await life.clock.settle();
    life.source.behaviour.faults.set(0, fault);
    mailbox.offer(life.message('a/b', 2), undefined, 'one', 2);
    await life.clock.advance(5000);
    assert.equal(mailbox.journal.watermark('one'), fault === 'lost' ? 1 : 2);
    assert.equal(mailbox.size, fault === 'lost' ? 1 : 2);
  }
});

test('only the window is in memory, and all of it is delivered', async () => {
  const disk = new Disk();
  const life = await Life.start(disk);
  const { mailbox } = await life.mailbox('a/b', policyOf({ limits: { messages: 50_000 } }));
  const count = 25_000;
  for (let i = 0; i < count; i++) {
    mailbox.offer(life.message('a/b', i), undefined);
    if (i % 500 === 499) await life.clock.settle();
  }
  assert.ok([...mailbox.peek()].length <= 10_000 + segmentMessages, 'no more is in memory');
  assert.equal(mailbox.size, count);
  let next = 0;
  life.consume(mailbox, ({ payload }) => {
    assert.equal(payload, next++);
  });
  await life.run(() => mailbox.drain(100_000));
  assert.equal(next, count);
  assert.equal(mailbox.bytes, 0);
});

test('of large messages 8 MiB are in memory, and all of them are delivered', async () => {
  const life = await Life.start(new Disk());
  const { mailbox } = await life.mailbox('a/b', policyOf());
  const count = 300;
  for (let i = 0; i < count; i++) {
    mailbox.offer(life.message('a/b', new Uint8Array(100_000).fill(i)), undefined);
    await life.clock.settle();
  }
  const inMemory = [...mailbox.peek()].length;
  // And the segment that is being filled.
  assert.ok(inMemory >= 60 && inMemory * 100_000 <= 8 * 1024 * 1024 + 2 * segmentBytes, `${inMemory} are in memory`);
  let next = 0;
  life.consume(mailbox, ({ payload }) => {
    assert.equal((payload as Uint8Array)[0], next++ % 256);
  });
  await life.run(() => mailbox.drain(100_000));
  assert.equal(next, count);
});

test('a damaged segment is passed, wherever it stands in what is read at a time, and what is behind it is delivered', async () => {
  const sizes = [300_000, 300_000, 100, 300_000]; // a read brings 256 KiB, and the record that reaches them
  for (let damaged = 0; damaged < sizes.length; damaged++) {
    const disk = new Disk();
    let life = await Life.start(disk);
    const { mailbox } = await life.mailbox('a/b');
    for (const [i, size] of sizes.entries()) {
      mailbox.offer(life.message('a/b', new Uint8Array(size).fill(i)), undefined);
      await life.clock.settle();
    }
    const epoch = life.kill();
    const key = disk.keys('sg/')[damaged] as string;
    const value = (disk.values.get(key) as Uint8Array).slice();
    value[value.length - 10] = 0xff;
    disk.values.set(key, value);
    life = await Life.start(disk, { epoch });
    const seen: unknown[] = [];
    life.consume((await life.mailbox('a/b')).mailbox, ({ payload }) => void seen.push((payload as Uint8Array)[0]));
    await life.clock.advance(1000);
    assert.deepEqual(
      seen,
      [0, 1, 2, 3].filter((i) => i !== damaged),
    );
    assert.equal(life.seen('store.gap').length, 1, `segment ${damaged}`);
  }
});
