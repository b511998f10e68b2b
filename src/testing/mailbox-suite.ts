import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MailboxLimits } from '../actors/mailbox.ts';
import { type CreateMailbox, MailboxBed, randomRun } from './mailbox-bed.ts';

export { type AnyMailbox, type CreateMailbox, MailboxBed } from './mailbox-bed.ts';

/**
 * The contract of a mailbox as tests of node:test: order, bounds, overflow policies, lanes of keys, waiters, and what is
 * left at the end. All of it runs on a virtual clock.
 *
 * @example mailboxSuite('in memory', (host, limits) => new Mailbox(host, limits));
 */
export function mailboxSuite(name: string, create: CreateMailbox): void {
  const bed = (limits: Partial<MailboxLimits> = {}, seed = 1): MailboxBed => new MailboxBed(create, limits, seed);
  describe(`mailbox: ${name}`, () => {
    orderTests(bed);
    boundTests(bed);
    laneTests(bed);
    waiterTests(bed);
    closingTests(bed);
    randomTests(bed);
  });
}

type MakeBed = (limits?: Partial<MailboxLimits>, seed?: number) => MailboxBed;

function orderTests(bed: MakeBed): void {
  test('messages are taken in the order in which they were offered', () => {
    const { mailbox, offer, takeAll } = open(bed());
    for (const id of ['a', 'b', 'c']) assert.equal(offer(id), 'accepted');
    assert.equal(mailbox.waiting, 3);
    assert.equal(mailbox.bytes, 300);
    assert.deepEqual(takeAll(), ['a', 'b', 'c']);
    assert.equal(mailbox.waiting, 0);
    assert.equal(mailbox.bytes, 0);
  });

  test('it says that there is something to take, and whether there may be', () => {
    const world = bed();
    assert.equal(world.mailbox.ready, false);
    world.offer('a');
    assert.ok(world.calls > 0);
    assert.equal(world.mailbox.ready, true);
    world.take();
    assert.equal(world.mailbox.ready, false);
    assert.equal(world.mailbox.take(), undefined);
  });

  test('a message without a key that waits for its retry holds up nobody', async () => {
    const world = bed();
    for (const id of ['a', 'b']) world.offer(id);
    world.mailbox.park(world.again(world.expect('a')), 100);
    assert.equal(world.mailbox.waiting, 2, 'a parked message waits, too');
    world.expect('b');
    assert.equal(world.take(), undefined);
    await world.clock.advance(99);
    assert.equal(world.take(), undefined);
    const calls = world.calls;
    await world.clock.advance(1);
    assert.ok(world.calls > calls, 'it says so when the time has come');
    assert.equal(world.expect('a').attempt, 2);
  });

  test('retries that are due come before what has arrived, the earliest first', async () => {
    const world = bed();
    for (const id of ['a', 'b', 'c']) world.offer(id);
    world.mailbox.park(world.again(world.expect('a')), 200);
    world.mailbox.park(world.again(world.expect('b')), 100);
    await world.clock.advance(200);
    assert.deepEqual(world.takeAll(), ['b', 'a', 'c']);
    assert.equal(world.clock.pendingTimers, 0);
  });

  test('a retry that is due before the one that was parked first is not late', async () => {
    const world = bed();
    for (const id of ['a', 'b']) world.offer(id);
    world.mailbox.park(world.again(world.expect('a')), 1000);
    world.mailbox.park(world.again(world.expect('b')), 10);
    await world.clock.advance(10);
    assert.deepEqual(world.takeAll(), ['b']);
    await world.clock.advance(990);
    assert.deepEqual(world.takeAll(), ['a']);
  });

  test('what is put back comes next', () => {
    const world = bed();
    for (const id of ['a', 'b']) world.offer(id);
    const a = world.expect('a');
    world.mailbox.putBack(world.again(a));
    assert.equal(world.mailbox.waiting, 2);
    assert.deepEqual(world.takeAll(), ['a', 'b']);
  });
}

function boundTests(bed: MakeBed): void {
  for (const overflow of ['block', 'reject'] as const) {
    test(`${overflow}: a message too many is refused, and nothing has changed`, () => {
      const world = bed({ messages: 2, overflow });
      for (const id of ['a', 'b']) world.offer(id);
      assert.equal(world.mailbox.hasRoom(1), false);
      assert.equal(world.offer('c'), 'full');
      assert.equal(world.mailbox.waiting, 2);
      assert.deepEqual(world.takeAll(), ['a', 'b']);
      assert.deepEqual(world.dropped, []);
    });

    test(`${overflow}: bytes too many are refused, and a smaller message still fits`, () => {
      const world = bed({ bytes: 1000, overflow });
      world.offer('a', undefined, 900);
      assert.equal(world.mailbox.hasRoom(101), false);
      assert.equal(world.offer('b', undefined, 101), 'full');
      assert.equal(world.mailbox.hasRoom(100), true);
      assert.equal(world.offer('c', undefined, 100), 'accepted');
      assert.equal(world.mailbox.bytes, 1000);
      assert.deepEqual(world.takeAll(), ['a', 'c']);
    });
  }

  test('a message larger than the whole mailbox enters it when it is empty', () => {
    const world = bed({ bytes: 1000 });
    assert.equal(world.offer('large', undefined, 5000), 'accepted');
    assert.equal(world.offer('small', undefined, 1), 'full');
    world.expect('large');
    assert.equal(world.offer('small', undefined, 1), 'accepted');
    assert.equal(world.offer('large again', undefined, 5000), 'full');
  });

  test('messages that are being handled do not count', () => {
    const world = bed({ messages: 1 });
    world.offer('a');
    world.expect('a');
    assert.equal(world.offer('b'), 'accepted');
    assert.equal(world.offer('c'), 'full');
  });

  test('messages that wait for their retry, or behind their key, count', () => {
    const world = bed({ messages: 2 });
    world.offer('a', 'k');
    const a = world.expect('a');
    world.offer('b', 'k');
    assert.equal(world.take(), undefined);
    world.mailbox.park(world.again(a), 100);
    assert.equal(world.mailbox.waiting, 2);
    assert.equal(world.mailbox.bytes, 200);
    assert.equal(world.offer('c'), 'full');
  });

  test('drop-newest: what comes to a full mailbox is dropped and reported', () => {
    const world = bed({ messages: 2, overflow: 'drop-newest' });
    for (const id of ['a', 'b', 'c']) assert.equal(world.offer(id), 'accepted');
    assert.equal(world.mailbox.hasRoom(1), true);
    assert.deepEqual(world.dropped, ['c']);
    assert.deepEqual(world.takeAll(), ['a', 'b']);
  });

  test('drop-oldest: what comes to a full mailbox takes the place of the oldest, which is reported', () => {
    const world = bed({ messages: 2, overflow: 'drop-oldest' });
    for (const id of ['a', 'b', 'c', 'd']) assert.equal(world.offer(id), 'accepted');
    assert.equal(world.mailbox.hasRoom(1), true);
    assert.deepEqual(world.dropped, ['a', 'b']);
    assert.deepEqual(world.takeAll(), ['c', 'd']);
  });

  test('drop-oldest: as many go as the bytes of the new one need', () => {
    const world = bed({ bytes: 1000, overflow: 'drop-oldest' });
    for (const id of ['a', 'b', 'c']) world.offer(id, undefined, 300);
    world.offer('d', undefined, 500);
    assert.deepEqual(world.dropped, ['a', 'b']);
    world.offer('e', undefined, 5000);
    assert.deepEqual(world.dropped, ['a', 'b', 'c', 'd']);
    assert.deepEqual(world.takeAll(), ['e']);
  });

  test('drop-oldest: when only messages behind a key are left, they go, and the lane goes on', () => {
    const world = bed({ messages: 2, overflow: 'drop-oldest' });
    world.offer('a', 'k');
    const a = world.expect('a');
    for (const id of ['b', 'c']) world.offer(id, 'k');
    assert.equal(world.take(), undefined, 'b and c wait behind a');
    world.offer('d', 'k');
    assert.deepEqual(world.dropped, ['b']);
    world.settle(a);
    const c = world.expect('c');
    assert.equal(world.take(), undefined);
    world.settle(c);
    world.settle(world.expect('d'));
    assert.equal(world.mailbox.waiting, 0);
    assert.equal(world.mailbox.bytes, 0);
  });

  test('drop-oldest: a dropped retry gives its key free', async () => {
    const world = bed({ messages: 1, overflow: 'drop-oldest' });
    world.offer('a', 'k');
    world.mailbox.park(world.again(world.expect('a')), 100);
    world.offer('b', 'k');
    assert.deepEqual(world.dropped, ['a']);
    world.expect('b');
    await world.clock.advance(200);
    assert.equal(world.take(), undefined);
    assert.equal(world.mailbox.waiting, 0);
  });
}

function laneTests(bed: MakeBed): void {
  test('two messages of one key are never out together; other keys and those without one run on', () => {
    const world = bed();
    for (const [id, key] of [
      ['a1', 'a'],
      ['a2', 'a'],
      ['b1', 'b'],
      ['x', undefined],
      ['b2', 'b'],
    ] as const)
      world.offer(id, key);
    const a1 = world.expect('a1');
    const b1 = world.expect('b1');
    world.expect('x');
    assert.equal(world.take(), undefined);
    assert.equal(world.mailbox.waiting, 2);
    const calls = world.calls;
    world.settle(b1);
    assert.ok(world.calls > calls, 'it says that the next of the key may run');
    world.expect('b2');
    world.settle(a1);
    world.expect('a2');
  });

  test('the order of a key is kept while one of them waits for its retry', async () => {
    const world = bed();
    for (const id of ['a1', 'a2', 'a3']) world.offer(id, 'a');
    world.offer('b1', 'b');
    world.mailbox.park(world.again(world.expect('a1')), 1000);
    world.expect('b1');
    assert.equal(world.take(), undefined);
    await world.clock.advance(1000);
    for (const id of ['a1', 'a2', 'a3']) {
      const delivery = world.expect(id);
      assert.equal(world.take(), undefined);
      world.settle(delivery);
    }
    assert.equal(world.mailbox.waiting, 0);
  });

  test('what is put back keeps its key busy', () => {
    const world = bed();
    for (const id of ['a1', 'a2']) world.offer(id, 'a');
    world.mailbox.putBack(world.again(world.expect('a1')));
    const a1 = world.expect('a1');
    assert.equal(world.take(), undefined);
    world.settle(a1);
    world.expect('a2');
  });

  test('a key that is free again is like a new one, and settling nobody is harmless', () => {
    const world = bed();
    world.offer('a1', 'a');
    const a1 = world.expect('a1');
    world.settle(a1);
    world.settle(a1);
    world.offer('x');
    world.settle(world.expect('x'));
    world.offer('a2', 'a');
    world.expect('a2');
  });

  test("'__proto__' and 'constructor' are keys like any other", () => {
    const world = bed();
    for (const key of ['__proto__', 'constructor']) for (const n of [1, 2]) world.offer(`${key}${n}`, key);
    assert.deepEqual(world.takeAll(), ['__proto__1', 'constructor1']);
  });
}

function waiterTests(bed: MakeBed): void {
  test('who waits for room gets it in order of waiting, as soon as a message is taken', () => {
    const world = bed({ messages: 2 });
    for (const id of ['a', 'b']) world.offer(id);
    const [first, second] = [world.waiter(), world.waiter()];
    assert.equal(world.mailbox.wait(first), true);
    assert.equal(world.mailbox.wait(second), true);
    assert.deepEqual([first.told, second.told], ['', '']);
    world.expect('a');
    assert.deepEqual([first.told, second.told], ['admitted', '']);
    assert.equal(world.mailbox.waiting, 2, 'its place is taken');
    world.expect('b');
    assert.equal(second.told, 'admitted');
  });

  test('nobody overtakes who waits: not even a message that would fit', () => {
    const world = bed({ bytes: 1000 });
    world.offer('a', undefined, 900);
    const waiter = world.waiter(800);
    world.mailbox.wait(waiter);
    assert.equal(world.mailbox.hasRoom(50), false);
    assert.equal(world.offer('small', undefined, 50), 'full');
    const small = world.waiter(50);
    world.mailbox.wait(small);
    assert.equal(small.told, '');
    world.expect('a');
    assert.deepEqual([waiter.told, small.told], ['admitted', 'admitted']);
    assert.equal(world.offer('small', undefined, 50), 'accepted');
  });

  test('as many may wait as would fill the mailbox once more', () => {
    const world = bed({ messages: 2 });
    for (const id of ['a', 'b']) world.offer(id);
    assert.deepEqual(
      [1, 2, 3].map(() => world.mailbox.wait(world.waiter())),
      [true, true, false],
    );
    const heavy = bed({ bytes: 1000 });
    heavy.offer('a', undefined, 1000);
    assert.equal(heavy.mailbox.wait(heavy.waiter(5000)), true, 'one that is larger than the mailbox may wait');
    assert.equal(heavy.mailbox.wait(heavy.waiter(1)), false);
  });

  test('who waits on another node is told when a quarter is free, and never refused', () => {
    const world = bed({ messages: 8 });
    for (let i = 0; i < 8; i++) world.offer(`m${i}`);
    const many = Array.from({ length: 20 }, () => world.waiter(1, true));
    for (const waiter of many) assert.equal(world.mailbox.wait(waiter), true);
    world.take();
    assert.equal(many[0]?.told, '', 'seven eighths are no quarter');
    world.take();
    assert.deepEqual(new Set(many.map(({ told }) => told)), new Set(['admitted']));
  });

  test('a place that became free is given once', () => {
    const world = bed({ messages: 1 });
    world.offer('a');
    const waiter = world.waiter();
    world.mailbox.wait(waiter);
    world.settle(world.expect('a'));
    assert.equal(waiter.told, 'admitted');
    assert.equal(world.mailbox.waiting, 1);
    assert.equal(world.offer('b'), 'full');
  });
}

function closingTests(bed: MakeBed): void {
  test('close() gives out everything that waits, wherever it waits, and tells who waits for room', async () => {
    const world = bed({ messages: 5 });
    world.offer('a1', 'a');
    world.mailbox.park(world.again(world.expect('a1')), 100);
    world.offer('b1', 'b');
    world.expect('b1');
    for (const id of ['b2', 'b3']) world.offer(id, 'b');
    world.offer('x');
    world.mailbox.putBack(world.again(world.expect('x')));
    world.offer('y');
    const waiter = world.waiter();
    world.mailbox.wait(waiter);
    const left = world.mailbox.close().map(({ message }) => message.id);
    assert.deepEqual([...left].sort(), ['a1', 'b2', 'b3', 'x', 'y']);
    assert.ok(left.indexOf('b2') < left.indexOf('b3'));
    assert.equal(waiter.told, 'closed');
    assert.equal(world.mailbox.waiting, 0);
    assert.equal(world.mailbox.bytes, 0);
    assert.equal(world.clock.pendingTimers, 0, 'no timer is left');
  });

  test('after close() it takes nothing and gives nothing, and a second close() finds nothing', () => {
    const world = bed();
    world.offer('a', 'k');
    const a = world.expect('a');
    world.offer('b', 'k');
    world.mailbox.close();
    assert.equal(world.offer('c'), 'closed');
    assert.equal(world.mailbox.hasRoom(1), false);
    assert.equal(world.mailbox.ready, false);
    world.settle(a);
    assert.equal(world.take(), undefined);
    assert.deepEqual(world.mailbox.close(), []);
  });
}

const runs = 150;

function randomTests(bed: MakeBed): void {
  for (const overflow of ['block', 'reject', 'drop-oldest', 'drop-newest'] as const) {
    test(`${overflow}: in ${runs} random runs nothing is lost, doubled, out of its order or beyond the bounds`, async () => {
      for (let seed = 1; seed <= runs; seed++) {
        try {
          await randomRun(bed({ messages: 6, bytes: 900, overflow }, seed));
        } catch (error) {
          throw new Error(`with seed ${seed}: ${String(error)}`, { cause: error });
        }
      }
    });
  }
}

/** The bed's own methods as functions. */
function open(bed: MailboxBed) {
  return { mailbox: bed.mailbox, offer: bed.offer.bind(bed), takeAll: bed.takeAll.bind(bed) };
}
