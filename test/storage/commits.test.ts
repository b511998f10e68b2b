import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusError } from '../../src/core/errors.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { type Batch, Commits, type Participant } from '../../src/storage/commits.ts';
import { Disk, FaultySource } from '../../src/testing/disk.ts';
import { refusal } from '../core/testbed.ts';

class Part implements Participant {
  readonly name: string;
  readonly log: string[];
  pending: string[] = [];
  sync = true;
  constructor(name: string, log: string[]) {
    this.name = name;
    this.log = log;
  }
  collect(batch: Batch): void {
    for (const key of this.pending) batch.put(key, Uint8Array.of(1));
    batch.sync ||= this.sync;
    this.log.push(`${this.name} collects ${this.pending.join()}`);
    this.pending = [];
  }
  committed(): void {
    this.log.push(`${this.name} is written`);
  }
  failed(error: BusError): void {
    this.log.push(`${this.name} failed: ${error.code}`);
  }
  async restored(): Promise<void> {}
}

async function bed(delay = 0) {
  const clock = new VirtualClock(1);
  const disk = new Disk();
  const source = new FaultySource(disk, clock, delay);
  const failures: BusError[] = [];
  const commits = new Commits({ clock, failed: (error) => failures.push(error) });
  const log: string[] = [];
  const part = (name: string): Part => new Part(name, log);
  const give = (who: Part, key: string): void => {
    who.pending.push(key);
    commits.touch(who);
  };
  return {
    clock,
    disk,
    source,
    commits,
    failures,
    log,
    part,
    give,
    open: async () => commits.open(await source.open()),
  };
}

test('what one turn of the event loop gives is one batch, of all participants', async () => {
  const { clock, disk, commits, log, part, give, open } = await bed();
  await open();
  const [a, b] = [part('a'), part('b')];
  give(a, '1');
  give(b, '2');
  give(a, '3');
  const single = commits.write([{ type: 'put', key: '4', value: Uint8Array.of(2) }], false);
  await clock.settle();
  await single;
  assert.equal(disk.batches, 1);
  assert.deepEqual(log, ['a collects 1,3', 'b collects 2', 'a is written', 'b is written']);
  assert.deepEqual(disk.keys(''), ['1', '2', '3', '4']);
  assert.deepEqual({ ...commits.counts }, { commits: 1, synced: 1 });
});

test('what nobody waits for gives way once, and is written with what the next turn brings, or alone', async () => {
  const { clock, disk, commits, log, part, give, open } = await bed();
  await open();
  const [a, b] = [part('a'), part('b')];
  a.pending.push('1');
  commits.touchLater(a);
  clock.immediate(() => give(b, '2'));
  await clock.settle();
  assert.equal(disk.batches, 1);
  assert.deepEqual(log.slice(0, 2), ['a collects 1', 'b collects 2']);
  a.pending.push('3');
  commits.touchLater(a);
  await clock.settle();
  assert.equal(disk.batches, 2);
  assert.ok(commits.idle);
});

test('a store that is opened again before an old turn comes writes one batch at a time', async () => {
  const { clock, disk, source, commits, log, part, give, open } = await bed(5);
  await open();
  const a = part('a');
  give(a, '1');
  commits.close(new BusError('STORE_FAILED', 'for a moment'));
  commits.open(await source.open());
  give(a, '2');
  for (let n = 3; n < 8; n++) {
    await clock.advance(1);
    give(a, String(n));
  }
  await clock.advance(100);
  assert.deepEqual(
    disk.keys(''),
    ['1', '2', '3', '4', '5', '6', '7'].filter((key) => disk.values.has(key)),
  );
  const order = log.filter((line) => line.startsWith('a ') && !line.includes('failed'));
  for (let i = 0; i < order.length; i += 2) {
    assert.match(order[i] ?? '', /collects/);
    assert.match(order[i + 1] ?? '', /is written/);
  }
  assert.ok(disk.values.has('7'));
});

test('what comes while a write is under way is the next batch', async () => {
  const { clock, disk, log, part, give, open } = await bed(5);
  await open();
  const a = part('a');
  give(a, '1');
  await clock.settle();
  give(a, '2');
  give(a, '3');
  await clock.advance(20);
  assert.equal(disk.batches, 2);
  assert.deepEqual(log, ['a collects 1', 'a is written', 'a collects 2,3', 'a is written']);
});

test('only a batch in which somebody asks for it is synced', async () => {
  const { clock, commits, part, give, open } = await bed();
  await open();
  const a = part('a');
  a.sync = false;
  give(a, '1');
  await clock.settle();
  assert.deepEqual({ ...commits.counts }, { commits: 1, synced: 0 });
});

test('a failure tells all who have given something, written or not, and nothing is written until it is opened again', async () => {
  const { clock, disk, source, commits, failures, log, part, give, open } = await bed(5);
  await open();
  const [a, b] = [part('a'), part('b')];
  source.behaviour.faults.set(0, 'lost');
  give(a, '1');
  await clock.settle();
  give(b, '2');
  const single = commits.write([{ type: 'put', key: '3', value: Uint8Array.of(2) }], false);
  const refused = assert.rejects(single, refusal('STORE_FAILED'));
  await clock.advance(20);
  await refused;
  assert.equal(failures.length, 1);
  assert.deepEqual(log.sort(), ['a collects 1', 'a failed: STORE_FAILED', 'b failed: STORE_FAILED']);
  give(a, '4');
  await clock.advance(1000);
  assert.equal(disk.batches, 0);
  assert.throws(() => commits.store, refusal('STORE_FAILED'));
  await assert.rejects(commits.write([], false), refusal('STORE_FAILED'));
  assert.ok(commits.idle);
  await open();
  await clock.advance(20);
  assert.deepEqual(
    disk.keys('').filter((key) => key !== '2'),
    ['4'],
  );
});

test('a single write that waits is told when all is closed', async () => {
  const { clock, commits, open } = await bed();
  await open();
  const single = commits.write([{ type: 'put', key: '1', value: Uint8Array.of(2) }], false);
  const refused = assert.rejects(single, refusal('CLOSED'));
  commits.close(new BusError('CLOSED', 'over'));
  await clock.settle();
  await refused;
});

test('flushed() resolves when all that was given until then is written, and not before', async () => {
  const { clock, disk, commits, part, give, open } = await bed(5);
  await open();
  await commits.flushed();
  const a = part('a');
  give(a, '1');
  await clock.settle();
  give(a, '2');
  let done = false;
  void commits.flushed().then(() => {
    done = true;
    assert.deepEqual(disk.keys(''), ['1', '2']);
  });
  for (let i = 0; i < 20 && !done; i++) await clock.advance(1);
  assert.ok(done, 'it resolves');
  assert.ok(commits.idle);
});

test('flushed() resolves too when the write fails, or all is closed', async () => {
  const { clock, source, commits, part, give, open } = await bed(5);
  await open();
  source.behaviour.faults.set(0, 'applied');
  const a = part('a');
  give(a, '1');
  await clock.settle();
  give(a, '2');
  const flushed = commits.flushed();
  await clock.advance(20);
  await flushed;
});

test('a participant that has more to write as it collects is written again, one batch at a time', async () => {
  const { clock, disk, commits, open } = await bed(5);
  await open();
  const log: string[] = [];
  let rounds = 0;
  const a: Participant = {
    collect(batch) {
      log.push('collect');
      batch.put(`${rounds}`, Uint8Array.of(1));
      if (++rounds < 3) commits.touch(a);
    },
    committed: () => void log.push('written'),
    failed: () => {},
    restored: async () => {},
  };
  commits.touch(a);
  await clock.advance(50);
  assert.deepEqual(log, ['collect', 'written', 'collect', 'written', 'collect', 'written']);
  assert.equal(disk.batches, 3);
});
