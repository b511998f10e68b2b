import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Filter, maxSize, minPeriod } from '../../src/actors/filters.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { outcomeOf, resolved, world } from '../core/testbed.ts';

async function bed(t: TestContext, filters: Filter[], options: SubscriptionOptions = {}) {
  const w = await world(t);
  const seen: unknown[] = [];
  const sub = await w.bus.subscribe('t', ({ payload }) => void seen.push(payload), {
    name: 'mine',
    filters,
    ...options,
  });
  const numbers = () => {
    const { handled, filtered, dropped, refused, waiting } = sub.stats();
    return { handled, filtered, dropped, refused, waiting };
  };
  return { ...w, sub, seen, numbers };
}

const none = { handled: 0, filtered: 0, dropped: 0, refused: 0, waiting: 0 };

test('maxSize: a larger message never enters, counted as filtered; its publisher hears nothing of it', async (t) => {
  const { bus, clock, seen, numbers } = await bed(t, [maxSize(500)]);
  assert.equal(bus.emit('t', 'x'.repeat(1000)), true);
  assert.equal((await bus.publish('t', 'x'.repeat(1000))).matched, 1);
  assert.equal(bus.emit('t', 'small'), true);
  await bus.publish('t', 'tiny');
  await clock.settle();
  assert.deepEqual(seen, ['small', 'tiny']);
  assert.deepEqual(numbers(), { ...none, handled: 2, filtered: 2 });
});

test('minPeriod: what comes too soon after the last one that entered is filtered', async (t) => {
  const { bus, clock, seen, numbers } = await bed(t, [minPeriod(100)]);
  for (const n of [0, 60, 120, 180, 240]) {
    bus.emit('t', n);
    await clock.advance(60);
  }
  await bus.publish('t', 300);
  await clock.settle();
  assert.deepEqual(seen, [0, 120, 240]);
  assert.deepEqual(numbers(), { ...none, handled: 3, filtered: 3 });
});

test('minPeriod: one that was refused was not the last one that entered', async (t) => {
  const { bus, clock, sub, seen, numbers } = await bed(t, [minPeriod(100)], { limits: { messages: 1 } });
  sub.pause();
  bus.emit('t', 1);
  await clock.advance(100);
  assert.equal(bus.emit('t', 2), false);
  sub.resume();
  await clock.settle();
  assert.equal(bus.emit('t', 3), true);
  await clock.settle();
  assert.deepEqual(seen, [1, 3]);
  assert.deepEqual(numbers(), { ...none, handled: 2, refused: 1 });
});

test('minPeriod: one that had to wait for room enters when there is some', async (t) => {
  const { bus, clock, sub, seen, numbers } = await bed(t, [minPeriod(100)], { limits: { messages: 1 } });
  sub.pause();
  bus.emit('t', 1);
  await clock.advance(100);
  const receipt = bus.publish('t', 2);
  await clock.advance(50);
  assert.equal((await outcomeOf(clock, receipt)).state, 'pending');
  sub.resume();
  await resolved(clock, receipt);
  await clock.settle();
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual(numbers(), { ...none, handled: 2 });
});

test('a full mailbox does not refuse what a filter leaves out', async (t) => {
  const { bus, sub, numbers } = await bed(t, [maxSize(500)], { limits: { messages: 1 } });
  sub.pause();
  bus.emit('t', 1);
  assert.equal(bus.emit('t', 'x'.repeat(1000)), true);
  await bus.publish('t', 'x'.repeat(1000));
  assert.equal(bus.emit('t', 2), false);
  assert.deepEqual(numbers(), { ...none, filtered: 2, refused: 1, waiting: 1 });
});

test('emit() to several subscriptions is not refused by a full mailbox whose filter leaves the message out', async (t) => {
  const { bus, clock, sub } = await bed(t, [maxSize(500)], { limits: { messages: 1 } });
  const other: unknown[] = [];
  await bus.subscribe('t', ({ payload }) => void other.push(String(payload).length));
  sub.pause();
  bus.emit('t', 1);
  assert.equal(bus.emit('t', 'x'.repeat(1000)), true);
  await clock.settle();
  assert.deepEqual(other, [1, 1000]);
});

test('a predicate is asked before the handler, and what it leaves out is counted and done with', async (t) => {
  const asked: unknown[] = [];
  const even: Filter = ({ payload }) => {
    asked.push(payload);
    return (payload as number) % 2 === 0;
  };
  const { bus, clock, sub, seen, numbers } = await bed(t, [even]);
  sub.pause();
  for (const n of [1, 2, 3, 4]) bus.emit('t', n);
  await bus.publish('t', 5);
  assert.deepEqual(asked, [], 'not when it enters');
  assert.equal(numbers().waiting, 5);
  sub.resume();
  await clock.settle();
  assert.deepEqual(asked, [1, 2, 3, 4, 5]);
  assert.deepEqual(seen, [2, 4]);
  assert.deepEqual(numbers(), { ...none, handled: 2, filtered: 3 });
});

test('a key goes on after one of its messages was left out', async (t) => {
  const { bus, clock, seen } = await bed(t, [({ payload }) => (payload as number) % 2 === 0], { concurrency: 3 });
  for (const n of [1, 2, 3, 4]) bus.emit('t', n, { key: 'k' });
  await clock.settle();
  assert.deepEqual(seen, [2, 4]);
});

test('drain() resolves when the last one is left out', async (t) => {
  const { bus, clock, sub } = await bed(t, [() => false]);
  bus.emit('t', 1);
  await resolved(clock, sub.drain());
});

test('a predicate that throws lets the message pass, and that is logged', async (t) => {
  const { bus, clock, log, seen, numbers } = await bed(t, [
    ({ payload }) => {
      if (payload === 'odd') throw new Error('what is this?');
      return true;
    },
  ]);
  bus.emit('t', 'odd', { id: 'm1' });
  bus.emit('t', 'fine');
  await clock.settle();
  assert.deepEqual(seen, ['odd', 'fine']);
  assert.deepEqual(numbers(), { ...none, handled: 2 });
  const lines = log.lines.filter(({ text }) => text === 'a filter threw');
  assert.deepEqual(
    lines.map(({ level, fields }) => [level, fields.message, fields.subscription, (fields.err as Error).message]),
    [['warn', 'm1', 'mine', 'what is this?']],
  );
});

test('all of the filters have to agree', async (t) => {
  const { bus, clock, seen, numbers } = await bed(t, [maxSize(500), ({ headers }) => headers.wanted === 'yes']);
  const headers = { wanted: 'yes' };
  bus.emit('t', 1);
  bus.emit('t', 2, { headers });
  bus.emit('t', 'x'.repeat(1000), { headers });
  await clock.settle();
  assert.deepEqual(seen, [2]);
  assert.deepEqual(numbers(), { ...none, handled: 1, filtered: 2 });
});

test('the filters of one subscription leave the others alone', async (t) => {
  const { bus, clock, seen } = await bed(t, [() => false]);
  const other: unknown[] = [];
  await bus.subscribe('t', ({ payload }) => void other.push(payload));
  bus.emit('t', 1);
  await clock.settle();
  assert.deepEqual([seen, other], [[], [1]]);
});

test('a replayed dead letter passes the filters of the mailbox: it has entered before', async (t) => {
  const w = await world(t);
  let cured = false;
  const seen: unknown[] = [];
  const sub = await w.bus.subscribe(
    't',
    ({ payload }) => {
      if (!cured) throw new PermanentError('no');
      seen.push(payload);
    },
    { filters: [minPeriod(1000)] },
  );
  for (const n of [1, 2, 3]) {
    w.bus.emit('t', n);
    await w.clock.advance(1000);
  }
  cured = true;
  await resolved(w.clock, w.bus.deadLetters.replay((await w.bus.deadLetters.list()).map(({ id }) => id)));
  await w.clock.settle();
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(sub.stats().filtered, 0);
});
