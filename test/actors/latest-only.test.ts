import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { MailboxLimits } from '../../src/actors/mailbox.ts';
import { Mailbox } from '../../src/actors/mailbox.ts';
import type { LatestOnly } from '../../src/actors/mailbox-policy.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { MailboxBed } from '../../src/testing/mailbox-suite.ts';
import { resolved, world } from '../core/testbed.ts';

/** A bus with one subscription to everything whose handlers the test ends. */
async function bed(t: TestContext, options: SubscriptionOptions) {
  const w = await world(t);
  const seen: unknown[] = [];
  const ends = new Map<unknown, (error?: Error) => void>();
  const sub = await w.bus.subscribe(
    '.*',
    ({ payload }) => {
      seen.push(payload);
      return new Promise<void>((resolve, reject) => {
        ends.set(payload, (error) => (error === undefined ? resolve() : reject(error)));
      });
    },
    { name: 'mine', retry: { delay: 100, factor: 1, jitter: 0 }, ...options },
  );
  t.after(() => {
    for (const end of ends.values()) end();
  });
  const end = async (payload: unknown, error?: Error): Promise<void> => {
    ends.get(payload)?.(error);
    await w.clock.settle();
  };
  const superseded = () =>
    w.seen('message.dropped').reduce((sum, { count, reason }) => sum + (reason === 'superseded' ? count : 0), 0);
  return { ...w, sub, seen, end, superseded };
}

describe('latestOnly', () => {
  test('true: of all that waits only the newest is handled; the others are dropped, counted and told', async (t) => {
    const { bus, clock, sub, seen, superseded } = await bed(t, { latestOnly: true });
    sub.pause();
    for (const topic of ['a', 'b', 'a', 'c']) bus.emit(topic, topic);
    await bus.publish('d', 'd');
    const { waiting, dropped, bytes } = sub.stats();
    assert.deepEqual({ waiting, dropped }, { waiting: 1, dropped: 4 });
    assert.ok(bytes < 100, 'only the newest counts');
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['d']);
    assert.equal(superseded(), 4);
  });

  test("'topic': of each topic only the newest is handled, in the order in which those came", async (t) => {
    const { bus, clock, sub, seen, superseded } = await bed(t, { latestOnly: 'topic', concurrency: 9 });
    sub.pause();
    for (const [topic, payload] of ['a1', 'b1', 'a2', 'c1', 'b2'].map((text) => [text.charAt(0), text] as const)) {
      bus.emit(topic, payload);
    }
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['a2', 'c1', 'b2']);
    assert.equal(superseded(), 2);
  });

  test('one that runs is never superseded', async (t) => {
    const { bus, clock, sub, seen, end } = await bed(t, { latestOnly: true });
    for (const n of [1, 2, 3]) {
      bus.emit('t', n);
      await clock.settle();
    }
    assert.deepEqual(seen, [1]);
    const { running, waiting, dropped } = sub.stats();
    assert.deepEqual({ running, waiting, dropped }, { running: 1, waiting: 1, dropped: 1 });
    await end(1);
    await end(3);
    assert.deepEqual(seen, [1, 3]);
    assert.equal(sub.stats().handled, 2);
  });

  test('one that waits for its retry is superseded by a newer one, whose key it does not hold up', async (t) => {
    const { bus, clock, seen, end, superseded } = await bed(t, { latestOnly: true });
    bus.emit('t', 1, { key: 'k' });
    await clock.settle();
    await end(1, new Error('no'));
    bus.emit('t', 2, { key: 'k' });
    await clock.settle();
    assert.deepEqual(seen, [1, 2]);
    assert.equal(superseded(), 1);
    await end(2);
    await clock.advance(1000);
    assert.deepEqual(seen, [1, 2]);
  });

  test('one that fails while a newer one waits is not tried again', async (t) => {
    const { bus, clock, sub, seen, end, superseded } = await bed(t, { latestOnly: true });
    bus.emit('t', 1, { key: 'k' });
    await clock.settle();
    bus.emit('t', 2, { key: 'k' });
    await end(1, new Error('no'));
    assert.deepEqual(seen, [1, 2]);
    await end(2);
    await clock.advance(1000);
    assert.deepEqual(seen, [1, 2]);
    assert.equal(superseded(), 1);
    const { failed, waiting } = sub.stats();
    assert.deepEqual({ failed, waiting }, { failed: 1, waiting: 0 });
    await resolved(clock, sub.drain());
  });

  test('a delayed message has not come before it is due: then it is the newest', async (t) => {
    const { bus, clock, sub, seen } = await bed(t, { latestOnly: true });
    sub.pause();
    bus.emit('t', 'late', { delay: 100 });
    bus.emit('t', 'now');
    assert.equal(sub.stats().waiting, 2);
    await clock.advance(100);
    assert.equal(sub.stats().waiting, 1);
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['late']);
  });

  for (const overflow of ['block', 'reject', 'drop-newest', 'drop-oldest'] as const) {
    test(`${overflow}: a full mailbox takes what supersedes one that it holds`, async (t) => {
      const { bus, clock, sub, seen } = await bed(t, {
        latestOnly: 'topic',
        limits: { messages: 2, overflow },
        concurrency: 9,
      });
      sub.pause();
      bus.emit('a', 'a1');
      bus.emit('b', 'b1');
      assert.equal(bus.emit('b', 'b2'), true);
      await bus.publish('a', 'a2');
      assert.equal(sub.stats().waiting, 2);
      sub.resume();
      await clock.settle();
      assert.deepEqual(seen, ['b2', 'a2']);
    });
  }

  test('what it supersedes is no dead letter, whatever limits.deadLetters says', async (t) => {
    const { bus, clock, sub } = await bed(t, { latestOnly: true, limits: { deadLetters: true } });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n);
    await clock.settle();
    assert.deepEqual(await bus.deadLetters.list(), []);
  });

  test('without it nothing is superseded', async (t) => {
    const { bus, sub } = await bed(t, { latestOnly: false });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n);
    assert.equal(sub.stats().waiting, 2);
  });
});

/** A memory mailbox that keeps the latest only. */
function latest(latestOnly: LatestOnly, limits: Partial<MailboxLimits> = {}): MailboxBed {
  return new MailboxBed((host, resolved) => new Mailbox(host, resolved, latestOnly), limits, 1);
}

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** How many of these are still in memory. */
async function kept(refs: readonly WeakRef<object>[]): Promise<number> {
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    gc();
  }
  return refs.filter((ref) => ref.deref() !== undefined).length;
}

describe('a mailbox that keeps the latest only lets go of what was superseded', () => {
  const cases: [string, (bed: MailboxBed) => void, string | undefined][] = [
    ['that nobody takes from', () => {}, undefined],
    [
      'whose key is busy',
      (world) => {
        world.offer('first', 'k');
        world.take();
      },
      'k',
    ],
  ];
  for (const [what, prepare, key] of cases) {
    test(`${what}: however many come`, async () => {
      const world = latest(true);
      prepare(world);
      const refs: WeakRef<object>[] = [];
      for (let i = 0; i < 20_000; i++) {
        const delivery = world.delivery(`m${i}`, key, 100);
        refs.push(new WeakRef(delivery));
        world.mailbox.offer(delivery);
        if (key !== undefined) world.take();
      }
      assert.equal(world.mailbox.waiting, 1);
      const left = await kept(refs);
      assert.ok(left <= 2048, `${left} are still there`);
    });

    test(`${what}: however large they are`, async () => {
      const world = latest(true);
      prepare(world);
      const refs: WeakRef<object>[] = [];
      for (let i = 0; i < 500; i++) {
        const delivery = world.delivery(`m${i}`, key, 500_000);
        refs.push(new WeakRef(delivery));
        world.mailbox.offer(delivery);
        if (key !== undefined) world.take();
      }
      const left = await kept(refs);
      assert.ok(left <= 5, `${left} are still there`);
    });
  }

  test('what it superseded while it waited behind its key does not come out', () => {
    const world = latest(true);
    world.offer('first', 'k');
    const first = world.expect('first');
    for (let i = 0; i < 5000; i++) {
      world.offer(`m${i}`, 'k');
      assert.equal(world.take(), undefined);
    }
    assert.equal(world.mailbox.waiting, 1);
    assert.equal(world.mailbox.bytes, 100);
    world.settle(first);
    world.settle(world.expect('m4999'));
    assert.equal(world.take(), undefined);
    assert.equal(world.dropped.length, 4999);
    assert.equal(world.mailbox.waiting, 0);
  });

  test('drop-oldest passes over what was superseded', () => {
    const world = latest('topic', { bytes: 1000, overflow: 'drop-oldest' });
    world.offer('a', 'k', 400);
    world.mailbox.park(world.again(world.expect('a')), 100);
    world.offer('b', undefined, 400);
    world.offer('c', undefined, 2000);
    assert.deepEqual(world.dropped, ['a', 'b']);
    assert.deepEqual(world.takeAll(), ['c']);
    assert.equal(world.mailbox.waiting, 0);
    assert.equal(world.mailbox.bytes, 0);
  });
});
