import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConsumedDelivery } from '../../src/bus/consuming/consumption.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { refusal, resolved, type World, world } from '../core/testbed.ts';

/** The next delivery of an iteration, which must be there. */
async function take(w: World, consumption: AsyncIterator<ConsumedDelivery>): Promise<ConsumedDelivery> {
  const { value, done } = await resolved(w.clock, consumption.next());
  assert.equal(done, false);
  return value as ConsumedDelivery; // not done
}

test('a loop gets the deliveries in order; each is acknowledged by hand', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('orders\\..*', { name: 'mine' });
  const sub = await consumption.ready;
  assert.equal(sub.name, 'mine');
  for (const n of [1, 2, 3]) w.bus.emit('orders.eu', n, { id: `m${n}` });
  const seen: unknown[] = [];
  const loop = (async () => {
    for await (const delivery of consumption) {
      const { message, attempt, subscription, signal } = delivery;
      seen.push([message.payload, message.id, attempt, subscription, signal.aborted]);
      assert.equal(delivery.ack(), true);
      if (seen.length === 3) break;
    }
  })();
  await w.clock.settle();
  await resolved(w.clock, loop);
  assert.deepEqual(seen, [
    [1, 'm1', 1, 'mine', false],
    [2, 'm2', 1, 'mine', false],
    [3, 'm3', 1, 'mine', false],
  ]);
  assert.equal(sub.stats().handled, 3);
  assert.equal(sub.state, 'closed', 'leaving the loop closes it');
  assert.deepEqual((await w.bus.status()).subscriptions, []);
});

test('a delivery settles once; every later call says that it was not the first', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { retry: { jitter: 0 } });
  const sub = await consumption.ready;
  for (const [settle, expected] of [
    [(d: ConsumedDelivery) => d.ack(), { handled: 1, failed: 0, dead: 0 }],
    [(d: ConsumedDelivery) => d.nack(new Error('no')), { handled: 1, failed: 1, dead: 0 }],
    [(d: ConsumedDelivery) => d.term('why'), { handled: 1, failed: 2, dead: 1 }],
  ] as const) {
    if (expected.failed < 2) w.bus.emit('t', 1);
    await w.clock.advance(100);
    const delivery = await take(w, consumption);
    assert.equal(settle(delivery), true);
    await w.clock.settle();
    for (const again of [() => delivery.ack(), () => delivery.nack(), () => delivery.term()])
      assert.equal(again(), false);
    await w.clock.settle();
    const { handled, failed, dead } = sub.stats();
    assert.deepEqual({ handled, failed, dead }, expected);
  }
  const [letter] = await w.bus.deadLetters.list();
  assert.equal(letter?.lastError.message, 'why');
  assert.equal(letter?.firstError.message, 'no');
  assert.equal(letter?.reason, 'permanent');
});

test('nack() has it tried again, as the retry policy says; a PermanentError is final', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { retry: { delay: 500, jitter: 0 } });
  const sub = await consumption.ready;
  w.bus.emit('t', 1);
  (await take(w, consumption)).nack();
  const next = consumption.next();
  await w.clock.advance(499);
  assert.equal((await w.outcome(next)).state, 'pending');
  await w.clock.advance(1);
  const { value } = await resolved(w.clock, next);
  assert.equal(value?.attempt, 2);
  value?.nack(new PermanentError('gone'));
  await w.clock.settle();
  assert.equal(sub.stats().dead, 1);
});

test('at most `concurrency` deliveries are unsettled at a time', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { concurrency: 2 });
  const sub = await consumption.ready;
  for (const n of [1, 2, 3]) w.bus.emit('t', n);
  const first = await take(w, consumption);
  await take(w, consumption);
  const third = consumption.next();
  assert.equal((await w.outcome(third)).state, 'pending');
  assert.equal(sub.stats().running, 2);
  first.ack();
  assert.equal((await resolved(w.clock, third)).value?.message.payload, 3);
});

test('several next() at a time are answered in order', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { concurrency: 3 });
  await consumption.ready;
  const asked = [consumption.next(), consumption.next(), consumption.next()];
  for (const n of [1, 2, 3]) w.bus.emit('t', n);
  const got = await resolved(w.clock, Promise.all(asked));
  assert.deepEqual(
    got.map(({ value }) => value?.message.payload),
    [1, 2, 3],
  );
});

test('what nobody settles is failed when its time is up; a late ack() is refused', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { timeout: 1000, retry: { jitter: 0 } });
  const sub = await consumption.ready;
  w.bus.emit('t', 1);
  const late = await take(w, consumption);
  const { signal } = late;
  await w.clock.advance(1000);
  assert.equal(signal.aborted, true);
  assert.equal(sub.stats().abandoned, 1);
  assert.equal(late.ack(), false);
  await w.clock.settle();
  assert.equal(sub.stats().handled, 0);
  assert.equal(sub.stats().abandoned, 0, 'whoever took it has let go of it');
  await w.clock.advance(100);
  const again = await take(w, consumption);
  assert.equal(again.attempt, 2);
  assert.equal(again.ack(), true);
});

test('a delivery whose time was up before anybody asked is not handed out', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { timeout: 1000, retry: { jitter: 0 } });
  await consumption.ready;
  w.bus.emit('t', 1);
  await w.clock.advance(1100);
  const delivery = await take(w, consumption);
  assert.equal(delivery.attempt, 2);
  assert.equal(delivery.ack(), true);
});

test('extend() gives a delivery more time', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { timeout: 1000 });
  await consumption.ready;
  w.bus.emit('t', 1);
  const delivery = await take(w, consumption);
  delivery.extend(5000);
  await w.clock.advance(4999);
  assert.equal(delivery.ack(), true);
});

test('what publish() staged is published with the ack(), and lost with a nack()', async (t) => {
  const w = await world(t);
  const out: unknown[] = [];
  await w.bus.subscribe('out', ({ payload }) => void out.push(payload));
  const consumption = w.bus.consume('in', { retry: { jitter: 0 } });
  await consumption.ready;
  w.bus.emit('in', 1);
  const first = await take(w, consumption);
  await first.publish('out', 'first');
  first.nack();
  await w.clock.advance(100);
  const second = await take(w, consumption);
  await second.publish('out', 'second');
  await w.clock.settle();
  assert.deepEqual(out, []);
  second.ack();
  await w.clock.settle();
  assert.deepEqual(out, ['second']);
});

test('nothing that is published after `ready` is missed, although nobody asks yet', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t');
  await consumption.ready;
  assert.equal((await w.bus.publish('t', 1)).matched, 1);
  assert.equal((await take(w, consumption)).message.payload, 1);
});

test('a subscription that cannot be made rejects `ready` and the loop, and nothing else', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('(');
  await w.clock.settle();
  await assert.rejects(consumption.ready, refusal('PATTERN_INVALID'));
  await assert.rejects(consumption.next(), refusal('PATTERN_INVALID'));
  await assert.rejects(async () => {
    for await (const _ of w.bus.consume('(')) assert.fail('nothing comes');
  }, refusal('PATTERN_INVALID'));
  await consumption.close();
});

test('close() ends the loop, fails what is unsettled and closes the subscription; twice is harmless', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t', { concurrency: 2 });
  const sub = await consumption.ready;
  for (const n of [1, 2, 3]) w.bus.emit('t', n);
  const taken = await take(w, consumption);
  const { signal } = taken;
  await resolved(w.clock, consumption.close());
  assert.deepEqual(await resolved(w.clock, consumption.next()), { value: undefined, done: true });
  assert.equal(taken.ack(), false);
  assert.equal(signal.aborted, false, 'it was given up, not cut off');
  assert.equal(sub.state, 'closed');
  assert.equal(sub.stats().handled, 0);
  assert.equal(sub.stats().running, 0);
  await resolved(w.clock, consumption.close());
});

test('close() before it is ready closes the subscription all the same', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t');
  await resolved(w.clock, consumption.close());
  assert.deepEqual((await w.bus.status()).subscriptions, []);
  assert.equal((await resolved(w.clock, consumption.next())).done, true);
});

test('throwing out of a loop closes the subscription and passes on', async (t) => {
  const w = await world(t);
  w.bus.emit('t', 0);
  const consumption = w.bus.consume('t');
  await consumption.ready;
  w.bus.emit('t', 1);
  const loop = (async () => {
    for await (const _ of consumption) throw new Error('enough');
  })();
  await assert.rejects(resolved(w.clock, loop), /enough/);
  assert.deepEqual((await w.bus.status()).subscriptions, []);
});

test('await using closes it', async (t) => {
  const w = await world(t);
  {
    await using consumption = w.bus.consume('t');
    await consumption.ready;
  }
  assert.deepEqual((await w.bus.status()).subscriptions, []);
});

for (const [what, end] of [
  ['the bus closes', (w: World) => w.close()],
  ['it is unsubscribed', (w: World) => resolved(w.clock, w.bus.unsubscribe('mine'))],
  ['its subscription is closed', async (_: World, ready: Promise<{ close(): Promise<void> }>) => (await ready).close()],
] as const) {
  test(`the loop ends when ${what}`, async (t) => {
    const w = await world(t);
    const consumption = w.bus.consume('t', { name: 'mine' });
    await consumption.ready;
    const seen: unknown[] = [];
    const loop = (async () => {
      for await (const { message } of consumption) seen.push(message.payload);
      return 'ended';
    })();
    await w.clock.settle();
    await end(w, consumption.ready);
    assert.equal(await resolved(w.clock, loop), 'ended');
    assert.deepEqual(seen, []);
  });
}

test('a delivery that is taken when the bus closes can still be acknowledged in time', async (t) => {
  const w = await world(t);
  const consumption = w.bus.consume('t');
  const sub = await consumption.ready;
  w.bus.emit('t', 1);
  const delivery = await take(w, consumption);
  const closed = w.bus.close({ timeout: 1000 });
  await w.clock.advance(500);
  assert.equal((await w.outcome(closed)).state, 'pending');
  assert.equal(delivery.ack(), true);
  await resolved(w.clock, closed);
  assert.equal(sub.stats().handled, 1);
});
