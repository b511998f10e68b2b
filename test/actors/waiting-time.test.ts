import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { outcomeOf, refusal, resolved, world } from '../core/testbed.ts';

/** A bus with one subscription to everything, and what it has handled. */
async function bed(t: TestContext, options: SubscriptionOptions = {}) {
  const w = await world(t);
  const seen: unknown[] = [];
  const sub = await w.bus.subscribe('.*', ({ payload }) => void seen.push(payload), { name: 'mine', ...options });
  const numbers = () => {
    const { waiting, bytes, handled, expired, dropped, dead } = sub.stats();
    return { waiting, bytes, handled, expired, dropped, dead };
  };
  return { ...w, sub, seen, numbers };
}

const none = { waiting: 0, bytes: 0, handled: 0, expired: 0, dropped: 0, dead: 0 };

describe('time to live', () => {
  test('a message is delivered until its time to live is over, and not from then on', async (t) => {
    const { bus, clock, sub, seen, numbers } = await bed(t);
    sub.pause();
    bus.emit('t', 'short', { ttl: 100 });
    bus.emit('t', 'long', { ttl: 101 });
    await bus.publish('t', 'short', { ttl: 100 });
    bus.emit('t', 'ever');
    await clock.advance(100);
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['long', 'ever']);
    assert.deepEqual(numbers(), { ...none, handled: 2, expired: 2 });
  });

  test('what has expired is told in one event a turn, as a warning', async (t) => {
    const w = await bed(t);
    w.sub.pause();
    for (let i = 0; i < 5; i++) w.bus.emit('t', i, { ttl: 10 });
    await w.clock.advance(10);
    w.sub.resume();
    await w.clock.settle();
    const events = w.events.filter(({ type }) => type === 'message.expired');
    assert.deepEqual(events, [
      { type: 'message.expired', subscription: 'mine', node: 'here', count: 5, reason: 'expired' },
    ]);
    assert.equal(w.log.lines.find(({ text }) => text === 'message.expired')?.level, 'warn');
    assert.equal(w.events.filter(({ type }) => type === 'message.dropped').length, 0);
  });

  test('a key goes on after one of its messages has expired, wherever that waited', async (t) => {
    const { bus, clock, sub, seen, numbers } = await bed(t, { concurrency: 4 });
    sub.pause();
    bus.emit('t', 'a1', { key: 'a', ttl: 10 });
    bus.emit('t', 'a2', { key: 'a' });
    bus.emit('t', 'a3', { key: 'a', ttl: 10 });
    bus.emit('t', 'a4', { key: 'a' });
    await clock.advance(10);
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['a2', 'a4']);
    assert.deepEqual(numbers(), { ...none, handled: 2, expired: 2 });
  });

  test('a message that waits behind its key expires there, and the ones behind it run', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const ends: (() => void)[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }) => {
        seen.push(payload);
        return new Promise<void>((end) => ends.push(end));
      },
      { concurrency: 2 },
    );
    for (const [payload, ttl] of [
      ['first', 1000],
      ['second', 50],
      ['third', 1000],
    ] as const) {
      w.bus.emit('t', payload, { key: 'k', ttl });
    }
    await w.clock.advance(100);
    assert.deepEqual(seen, ['first']);
    ends[0]?.();
    await w.clock.settle();
    assert.deepEqual(seen, ['first', 'third']);
    assert.equal(sub.stats().expired, 1);
    ends[1]?.();
    await resolved(w.clock, sub.drain());
  });

  test('it runs on through a retry: what expires while it waits for that is not tried again', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }, { attempt }) => {
        seen.push(`${String(payload)}/${attempt}`);
        if (payload !== 'next') throw new Error('no');
      },
      { retry: { delay: 100, factor: 1, jitter: 0 } },
    );
    w.bus.emit('t', 'x', { ttl: 150, key: 'k' });
    w.bus.emit('t', 'next', { key: 'k' });
    await w.clock.advance(149);
    assert.deepEqual(seen, ['x/1', 'x/2']);
    await w.clock.advance(1);
    assert.deepEqual(seen, ['x/1', 'x/2', 'next/1'], 'its key is free as soon as it has expired');
    const { expired, dead, waiting } = sub.stats();
    assert.deepEqual({ expired, dead, waiting }, { expired: 1, dead: 0, waiting: 0 });
  });

  test('one that has begun is not cut off by it', async (t) => {
    const w = await world(t);
    let end: (() => void) | undefined;
    const sub = await w.bus.subscribe('t', () => new Promise<void>((done) => (end = done)));
    w.bus.emit('t', 1, { ttl: 10 });
    await w.clock.advance(1000);
    end?.();
    await w.clock.settle();
    const { handled, expired } = sub.stats();
    assert.deepEqual({ handled, expired }, { handled: 1, expired: 0 });
  });

  test('drain() resolves when the last one that waited has expired', async (t) => {
    const { bus, clock, sub } = await bed(t);
    sub.pause();
    bus.emit('t', 1, { ttl: 10 });
    const drained = sub.drain();
    await clock.advance(10);
    assert.equal((await outcomeOf(clock, drained)).state, 'pending', 'nobody takes');
    sub.resume();
    await resolved(clock, drained);
  });

  test('a staged message may have one', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const out = await w.bus.subscribe('out', ({ payload }) => void seen.push([payload, w.clock.monotonic()]));
    await w.bus.subscribe('in', async (_message, context) => {
      await context.publish('out', 'short', { ttl: 10 });
      await context.publish('out', 'later', { delay: 50 });
      await context.publish('out', 'at', { deliverAt: w.clock.now() + 20 });
    });
    out.pause();
    w.bus.emit('in', 1);
    await w.clock.advance(10);
    out.resume();
    await w.clock.advance(100);
    assert.deepEqual(seen, [
      ['at', 20],
      ['later', 50],
    ]);
    assert.equal(out.stats().expired, 1);
  });

  for (const overflow of ['block', 'reject', 'drop-newest', 'drop-oldest'] as const) {
    test(`${overflow}: a full mailbox makes room by what has expired, even while it is paused`, async (t) => {
      const { bus, clock, sub, seen, numbers } = await bed(t, { limits: { messages: 3, overflow } });
      sub.pause();
      bus.emit('t', 'a', { ttl: 10 });
      bus.emit('t', 'b', { ttl: 10, key: 'k' });
      bus.emit('t', 'c', { key: 'k' });
      await clock.advance(10);
      assert.equal(bus.emit('t', 'd'), true);
      await bus.publish('t', 'e');
      assert.deepEqual(numbers(), { ...none, waiting: 3, bytes: sub.stats().bytes, expired: 2 });
      sub.resume();
      await clock.settle();
      assert.deepEqual(seen, ['c', 'd', 'e']);
    });
  }

  test('emit() to several subscriptions is not refused because of what has expired in one', async (t) => {
    const { bus, clock, sub } = await bed(t, { limits: { messages: 1 } });
    await bus.subscribe('t', () => {});
    sub.pause();
    bus.emit('t', 1, { ttl: 10 });
    assert.equal(bus.emit('t', 2), false);
    await clock.advance(10);
    assert.equal(bus.emit('t', 3), true);
  });

  test('who waits for room gets it when the message at the head expires, even while it is paused', async (t) => {
    const { bus, clock, sub, numbers } = await bed(t, { limits: { messages: 2 } });
    sub.pause();
    bus.emit('t', 1, { ttl: 100 });
    bus.emit('t', 2, { ttl: 500 });
    const receipt = bus.publish('t', 3, { timeout: 1000 });
    const next = bus.publish('t', 4, { timeout: 1000 });
    await clock.advance(99);
    assert.equal((await outcomeOf(clock, receipt)).state, 'pending');
    await clock.advance(1);
    await resolved(clock, receipt);
    assert.equal((await outcomeOf(clock, next)).state, 'pending');
    await clock.advance(400);
    await resolved(clock, next);
    assert.deepEqual(numbers(), { ...none, waiting: 2, bytes: sub.stats().bytes, expired: 2 });
  });

  test('a dead letter that is replayed lives for ever', async (t) => {
    const w = await world(t);
    let cured = false;
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe('t', ({ payload }) => {
      if (!cured) throw new PermanentError('no');
      seen.push(payload);
    });
    w.bus.emit('t', 1, { ttl: 10 });
    await w.clock.advance(1000);
    cured = true;
    sub.pause();
    await resolved(w.clock, w.bus.deadLetters.replay((await w.bus.deadLetters.list()).map(({ id }) => id)));
    await w.clock.advance(1000);
    sub.resume();
    await w.clock.settle();
    assert.deepEqual(seen, [1]);
  });
});

describe('delays', () => {
  test('a delayed message waits until it is due, counted, and holds up nobody', async (t) => {
    const { bus, clock, sub, seen, numbers } = await bed(t);
    bus.emit('t', 'late', { delay: 100 });
    await bus.publish('t', 'at', { deliverAt: new Date(clock.now() + 50) });
    bus.emit('t', 'now');
    await clock.settle();
    assert.deepEqual(seen, ['now']);
    assert.deepEqual(numbers(), { ...none, waiting: 2, bytes: sub.stats().bytes, handled: 1 });
    assert.ok(sub.stats().bytes > 0);
    await clock.advance(49);
    assert.deepEqual(seen, ['now']);
    await clock.advance(1);
    assert.deepEqual(seen, ['now', 'at']);
    await clock.advance(50);
    assert.deepEqual(seen, ['now', 'at', 'late']);
    assert.deepEqual(numbers(), { ...none, handled: 3 });
  });

  test('those that are due come in order of that time; at the same time in order of arrival', async (t) => {
    const { bus, clock, sub, seen } = await bed(t);
    const at = clock.now() + 1000;
    sub.pause();
    bus.emit('t', 'third', { deliverAt: at });
    await clock.advance(0.6); // the clock of the world ticks in whole milliseconds, the other one does not
    bus.emit('t', 'fourth', { deliverAt: at });
    await clock.advance(0.6);
    bus.emit('t', 'fifth', { deliverAt: at });
    bus.emit('t', 'second', { deliverAt: at - 1 });
    bus.emit('t', 'first', { delay: 10 });
    await clock.advance(2000);
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['first', 'second', 'third', 'fourth', 'fifth']);
  });

  test('one that is due already, or at once, is like any other', async (t) => {
    const { bus, clock, seen } = await bed(t);
    const before = clock.pendingTimers;
    bus.emit('t', 1, { delay: 0 });
    bus.emit('t', 2, { deliverAt: 0 });
    bus.emit('t', 3, { deliverAt: clock.now() });
    assert.equal(clock.pendingTimers, before);
    await clock.settle();
    assert.deepEqual(seen, [1, 2, 3]);
  });

  test('it does not hold its key before it is due; from then on it takes its turn', async (t) => {
    const { bus, clock, seen } = await bed(t, { concurrency: 2 });
    bus.emit('t', 'late', { key: 'k', delay: 100 });
    bus.emit('t', 'now', { key: 'k' });
    await clock.advance(50);
    assert.deepEqual(seen, ['now']);
    await clock.advance(50);
    assert.deepEqual(seen, ['now', 'late']);
  });

  test('one that falls due while its key is busy waits behind that, in its turn', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const ends: (() => void)[] = [];
    await w.bus.subscribe(
      't',
      ({ payload }) => {
        seen.push(payload);
        return new Promise<void>((end) => ends.push(end));
      },
      { concurrency: 4 },
    );
    w.bus.emit('t', 'busy', { key: 'k' });
    w.bus.emit('t', 'behind', { key: 'k' });
    w.bus.emit('t', 'late', { key: 'k', delay: 10 });
    await w.clock.advance(20);
    w.bus.emit('t', 'last', { key: 'k' });
    for (const sofar of [
      ['busy'],
      ['busy', 'behind'],
      ['busy', 'behind', 'late'],
      ['busy', 'behind', 'late', 'last'],
    ]) {
      await w.clock.settle();
      assert.deepEqual(seen, sofar);
      ends.at(-1)?.();
    }
    await w.clock.settle();
  });

  test('drain() waits for it', async (t) => {
    const { bus, clock, sub } = await bed(t);
    bus.emit('t', 1, { delay: 5000 });
    const drained = sub.drain();
    await clock.advance(4999);
    assert.equal((await outcomeOf(clock, drained)).state, 'pending');
    await clock.advance(1);
    await resolved(clock, drained);
  });

  test('it counts towards the limits, and is dropped when the subscription closes', async (t) => {
    const { bus, clock, sub, events } = await bed(t, { limits: { messages: 1, overflow: 'reject' } });
    bus.emit('t', 1, { delay: 5000 });
    assert.equal(bus.emit('t', 2), false);
    await resolved(clock, sub.close());
    assert.equal(sub.stats().dropped, 1);
    assert.deepEqual(
      events.filter(({ type }) => type === 'message.dropped'),
      [{ type: 'message.dropped', subscription: 'mine', node: 'here', count: 1, reason: 'closed' }],
    );
  });

  test('one whose time to live ends before it is due expires then, and not later', async (t) => {
    const { bus, clock, sub, seen, numbers } = await bed(t);
    bus.emit('t', 'never', { delay: 1000, ttl: 100 });
    bus.emit('t', 'in time', { delay: 100, ttl: 1000 });
    const drained = sub.drain();
    await clock.advance(100);
    assert.deepEqual(seen, ['in time']);
    assert.deepEqual(numbers(), { ...none, handled: 1, expired: 1 });
    await resolved(clock, drained);
  });

  test('its retries wait as long as any other', async (t) => {
    const w = await world(t);
    const at: number[] = [];
    await w.bus.subscribe(
      't',
      () => {
        at.push(w.clock.monotonic());
        throw new Error('no');
      },
      { retry: { attempts: 3, delay: 100, factor: 1, jitter: 0 } },
    );
    w.bus.emit('t', 1, { delay: 1000 });
    await w.clock.advance(10_000);
    assert.deepEqual(at, [1000, 1100, 1200]);
  });

  test('drop-oldest: one that makes room although it is delayed leaves the key of another alone', async (t) => {
    const w = await world(t);
    const running: unknown[] = [];
    const ends: (() => void)[] = [];
    await w.bus.subscribe(
      't',
      ({ payload }) => {
        running.push(payload);
        return new Promise<void>((end) => ends.push(end));
      },
      { concurrency: 4, limits: { messages: 1, overflow: 'drop-oldest' } },
    );
    w.bus.emit('t', 'busy', { key: 'k' });
    await w.clock.settle();
    w.bus.emit('t', 'late', { key: 'k', delay: 1000 });
    w.bus.emit('t', 'next', { key: 'k' });
    await w.clock.settle();
    assert.deepEqual(running, ['busy'], 'two of a key never run at a time');
    ends[0]?.();
    await w.clock.settle();
    assert.deepEqual(running, ['busy', 'next']);
    ends[1]?.();
    await w.clock.settle();
  });
});

describe('limits.age', () => {
  test('a message that has waited so long is dropped instead of handled, counted as expired', async (t) => {
    const w = await bed(t, { limits: { age: 100 } });
    w.sub.pause();
    w.bus.emit('t', 'old');
    w.bus.emit('t', 'mortal', { ttl: 50 });
    await w.clock.advance(1);
    w.bus.emit('t', 'young');
    await w.clock.advance(99);
    w.sub.resume();
    await w.clock.settle();
    assert.deepEqual(w.seen, ['young']);
    assert.deepEqual(w.numbers(), { ...none, handled: 1, expired: 2 });
    const told = w.events
      .filter((event) => event.type === 'message.expired')
      .map(({ count, reason }) => [count, reason]);
    assert.deepEqual(told, [
      [1, 'age'],
      [1, 'expired'],
    ]);
  });

  test('it counts through retries', async (t) => {
    const w = await world(t);
    const attempts: number[] = [];
    const sub = await w.bus.subscribe(
      't',
      (_message, { attempt }) => {
        attempts.push(attempt);
        throw new Error('no');
      },
      { limits: { age: 250 }, retry: { delay: 100, factor: 1, jitter: 0 } },
    );
    w.bus.emit('t', 1);
    await w.clock.advance(1000);
    assert.deepEqual(attempts, [1, 2, 3]);
    const { expired, dead } = sub.stats();
    assert.deepEqual({ expired, dead }, { expired: 1, dead: 0 });
  });

  test('of a delayed message it counts from when that is due', async (t) => {
    const { bus, clock, seen } = await bed(t, { limits: { age: 100 } });
    bus.emit('t', 1, { delay: 1000 });
    await clock.advance(1000);
    assert.deepEqual(seen, [1]);
  });

  test('a full mailbox makes room by it', async (t) => {
    const { bus, clock, sub, numbers } = await bed(t, { limits: { messages: 2, age: 100, overflow: 'reject' } });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n);
    assert.equal(bus.emit('t', 3), false);
    await clock.advance(100);
    assert.equal(bus.emit('t', 4), true);
    assert.deepEqual(numbers(), { ...none, waiting: 1, bytes: sub.stats().bytes, expired: 2 });
  });
});

describe('limits.deadLetters', () => {
  test('what the limits drop, and what expires, becomes a dead letter that says why', async (t) => {
    const limits = { messages: 3, age: 1000, overflow: 'drop-oldest', deadLetters: true } as const;
    const { bus, clock, sub, seen, numbers } = await bed(t, { limits });
    sub.pause();
    bus.emit('t', 'dropped');
    bus.emit('t', 'mortal', { ttl: 10, key: 'k', headers: { h: 'v' } });
    bus.emit('t', 'old');
    bus.emit('t', 'young', { delay: 500 });
    await clock.advance(1000);
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['young']);
    const letters = await bus.deadLetters.list();
    assert.deepEqual(
      letters.map(({ payload, reason, attempts, subscription }) => [payload, reason, attempts, subscription]),
      [
        ['dropped', 'drop-oldest', 0, 'mine'],
        ['mortal', 'expired', 0, 'mine'],
        ['old', 'age', 0, 'mine'],
      ],
    );
    assert.deepEqual([letters[1]?.key, letters[1]?.headers], ['k', { h: 'v' }]);
    assert.deepEqual(numbers(), { ...none, handled: 1, expired: 2, dropped: 1 });
  });

  test('one that had failed before tells of that', async (t) => {
    const w = await world(t);
    await w.bus.subscribe('t', () => Promise.reject(new TypeError('no')), {
      limits: { deadLetters: true },
      retry: { delay: 1000, jitter: 0 },
    });
    w.bus.emit('t', 1, { ttl: 100 });
    await w.clock.advance(200);
    const [letter] = await w.bus.deadLetters.list();
    assert.deepEqual([letter?.reason, letter?.attempts, letter?.firstError.name], ['expired', 1, 'TypeError']);
  });

  test('it can be replayed', async (t) => {
    const { bus, clock, sub, seen } = await bed(t, { limits: { deadLetters: true } });
    sub.pause();
    bus.emit('t', 1, { ttl: 10 });
    await clock.advance(10);
    sub.resume();
    await clock.settle();
    await resolved(clock, bus.deadLetters.replay((await bus.deadLetters.list()).map(({ id }) => id)));
    await clock.settle();
    assert.deepEqual(seen, [1]);
  });

  test('drop-newest and what is left at the end do not become dead letters', async (t) => {
    const limits = { messages: 1, overflow: 'drop-newest', deadLetters: true } as const;
    const { bus, clock, sub } = await bed(t, { limits });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n);
    await resolved(clock, sub.close());
    assert.equal(sub.stats().dropped, 2);
    assert.deepEqual(await bus.deadLetters.list(), []);
  });

  test('when the dead letters are full, what the limits drop is dropped, counted and told, and nothing pauses', async (t) => {
    const w = await world(t, { limits: { deadLetters: 1 } });
    const sub = await w.bus.subscribe('t', () => {}, {
      limits: { messages: 1, overflow: 'drop-oldest', deadLetters: true },
    });
    sub.pause();
    for (let i = 0; i < 5; i++) w.bus.emit('t', i);
    await w.clock.settle();
    sub.resume();
    await w.clock.settle();
    assert.equal(sub.state, 'active');
    const { dropped, handled } = sub.stats();
    assert.deepEqual({ dropped, handled }, { dropped: 4, handled: 1 });
    assert.equal((await w.bus.deadLetters.list()).length, 1);
  });

  test('without it they do not', async (t) => {
    const { bus, clock, sub } = await bed(t, { limits: { messages: 1, overflow: 'drop-oldest' } });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n, { ttl: 10 });
    await clock.advance(10);
    sub.resume();
    await clock.settle();
    assert.deepEqual(await bus.deadLetters.list(), []);
  });
});

test('closing a subscription refuses who waits, and leaves no timer of a message that would have expired', async (t) => {
  const { bus, clock, sub } = await bed(t, { limits: { messages: 1 } });
  const before = clock.pendingTimers;
  sub.pause();
  bus.emit('t', 1, { ttl: 5000 });
  const waiting = bus.publish('t', 2);
  await clock.settle();
  await resolved(clock, sub.close());
  await assert.rejects(waiting, refusal('CLOSED'));
  assert.ok(clock.pendingTimers <= before + 1, 'but for the deadline of the publish');
});
