import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ReceivedDelivery } from '../../src/bus/consuming/receiving.ts';
import type { ReceiveOptions } from '../../src/bus/options/receive-options.ts';
import { outcomeOf, refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

// receive(), receiveLatest() and front() on another node than the mailbox's home: as on the home itself.

const retry = { delay: 100, jitter: 0 };

/** The home leads; 'leaf' pulls, and 'pub' publishes. */
async function world(t: TestContext, options: object = {}): Promise<DurableWorld> {
  const w = new DurableWorld();
  t.after(() => w.close());
  await w.start('lead');
  await w.start('leaf', { stored: false });
  await w.durable('lead', 'work', null, { retry, ...options });
  return w;
}

async function fill(w: DurableWorld, from: number, to: number, options: object = {}): Promise<void> {
  const many = Array.from({ length: to - from }, (_, i) => ({ topic: 't', payload: from + i, ...options }));
  await w.until(w.bus('lead').publishMany(many));
}

async function took(w: DurableWorld, options: ReceiveOptions = { timeout: 0 }): Promise<ReceivedDelivery> {
  const delivery = await w.until(w.bus('leaf').receive('work', options));
  assert.ok(delivery !== null, 'there was one');
  return delivery;
}

async function numbers(w: DurableWorld): Promise<[number, number]> {
  await w.clock.advance(100);
  const { waiting, running } = await w.until(w.bus('lead').mailboxes.stats('work'));
  return [waiting, running];
}

test('takes one message after the other from the home on another node, each once', async (t) => {
  const w = await world(t);
  await fill(w, 0, 5);
  for (let n = 0; n < 5; n++) {
    const delivery = await took(w);
    assert.deepEqual([delivery.message.payload, delivery.attempt, delivery.message.source], [n, 1, 'lead']);
    assert.equal(delivery.ack(), true);
  }
  assert.equal(await w.until(w.bus('leaf').receive('work', { timeout: 0 })), null);
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('waits for a message that is published later, and takes no more than were asked for', async (t) => {
  const w = await world(t);
  const waiting = w.bus('leaf').receive('work');
  await w.clock.advance(100);
  await fill(w, 0, 3);
  const delivery = await w.until(waiting);
  assert.equal(delivery?.message.payload, 0);
  assert.deepEqual(await numbers(w), [2, 1]);
  delivery?.ack();
  assert.deepEqual(await numbers(w), [2, 0]);
});

test('has nothing when its time is up, and what comes later is there for the next, unaged', async (t) => {
  const w = await world(t);
  const waiting = w.bus('leaf').receive('work', { timeout: 500 });
  await w.clock.advance(400);
  assert.equal((await outcomeOf(w.clock, waiting)).state, 'pending');
  await w.clock.advance(200);
  assert.equal(await w.until(waiting), null);
  await fill(w, 0, 2);
  assert.deepEqual(await numbers(w), [2, 0]);
  const next = await took(w);
  assert.deepEqual([next.message.payload, next.attempt], [0, 1]);
  next.ack();
});

test('many at a time on two nodes get each message once', async (t) => {
  const w = await world(t);
  await w.start('other', { stored: false });
  const many = Array.from({ length: 200 }, (_, i) => w.bus(i % 2 === 0 ? 'leaf' : 'other').receive('work'));
  await w.clock.advance(100);
  await fill(w, 0, 200);
  const taken = await w.until(Promise.all(many));
  assert.deepEqual(
    taken.map((delivery) => Number(delivery?.message.payload)).sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, i) => i),
  );
  for (const delivery of taken) delivery?.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('whoever gives up while a message is under way loses it to the next, in its place and unaged', async (t) => {
  const w = await world(t);
  for (let round = 0; round < 30; round++) {
    const controller = new AbortController();
    const given = w.bus('leaf').receive('work', { signal: controller.signal });
    const outcome = outcomeOf(w.clock, given);
    await outcome;
    const publishing = w.bus('lead').publishMany([
      { topic: 't', payload: 2 * round },
      { topic: 't', payload: 2 * round + 1 },
    ]);
    await w.clock.advance(round % 10);
    controller.abort();
    await w.until(publishing);
    const first = await given.catch(() => undefined);
    const seen = first === undefined || first === null ? [] : [first];
    while (seen.length < 2) seen.push(await took(w, { timeout: 1000 }));
    assert.deepEqual(
      seen.map(({ message, attempt }) => [message.payload, attempt]),
      [
        [2 * round, 1],
        [2 * round + 1, 1],
      ],
    );
    for (const delivery of seen) assert.equal(delivery.ack(), true);
  }
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('with a handler acknowledges when it returns and fails when it throws', async (t) => {
  const w = await world(t);
  await fill(w, 0, 1);
  const thrown = w.bus('leaf').receive('work', { timeout: 0 }, () => {
    throw new Error('not now');
  });
  assert.equal(await w.until(thrown), true);
  await w.clock.advance(200);
  const seen: unknown[] = [];
  const handled = w.bus('leaf').receive('work', { timeout: 0 }, async (message, { attempt }) => {
    seen.push([message.payload, attempt]);
  });
  assert.equal(await w.until(handled), true);
  assert.deepEqual(seen, [[0, 2]]);
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('a delivery that nobody settles goes back when its time is up', async (t) => {
  const w = await world(t);
  await fill(w, 0, 1);
  const first = await took(w, { timeout: 0, attemptTimeout: 1000 });
  await w.clock.advance(1500);
  assert.equal(first.ack(), false);
  const again = await took(w, { timeout: 1000 });
  assert.deepEqual([again.message.payload, again.attempt], [0, 2]);
  again.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('what a delivery publishes and its settlement are one write at the home', async (t) => {
  const w = await world(t);
  await w.durable('lead', 'out', null, { pattern: 'out' });
  await fill(w, 0, 1);
  const delivery = await took(w);
  await delivery.publish('out', 'result');
  delivery.ack();
  const result = await w.until(w.bus('leaf').receive('out', { timeout: 5000 }));
  assert.equal(result?.message.payload, 'result');
  result?.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('receiveLatest takes the newest and settles the older ones', async (t) => {
  const w = await world(t);
  await fill(w, 0, 5);
  const newest = await w.until(w.bus('leaf').receiveLatest('work', { timeout: 0 }));
  assert.equal(newest?.message.payload, 4);
  newest?.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
  const waiting = w.bus('leaf').receiveLatest('work');
  await w.clock.advance(100);
  await fill(w, 5, 8);
  const next = await w.until(waiting);
  assert.equal(next?.message.payload, 7);
  next?.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('front looks without taking, and says whether anybody was shown it before', async (t) => {
  const w = await world(t);
  assert.equal(await w.until(w.bus('leaf').front('work')), null);
  await fill(w, 0, 2, { headers: { a: 'b' }, key: 'k', ttl: 60_000 });
  const front = await w.until(w.bus('leaf').front('work'));
  assert.deepEqual(
    [front?.message.payload, front?.message.headers, front?.message.key, front?.attempt, front?.fresh],
    [0, { a: 'b' }, 'k', 1, true],
  );
  assert.equal((await w.until(w.bus('lead').front('work')))?.fresh, false);
  assert.deepEqual(await numbers(w), [2, 0]);
});

test('while the home is away receive waits, and is NODE_UNREACHABLE when its time is up', async (t) => {
  const w = await world(t);
  w.cut('leaf');
  await w.clock.advance(5000);
  const given = w.bus('leaf').receive('work', { timeout: 500 });
  const refused = given.then(
    () => undefined,
    (error: unknown) => error,
  );
  await w.clock.advance(1000);
  assert.ok(refusal('NODE_UNREACHABLE', 'lead')(await w.until(refused)));
  const patient = w.bus('leaf').receive('work', { timeout: 30_000 });
  await w.clock.advance(1000);
  w.heal('leaf');
  await w.clock.advance(5000);
  await fill(w, 0, 1);
  const delivery = await w.until(patient);
  assert.equal(delivery?.message.payload, 0);
  delivery?.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('what was out when the link broke comes back, and its late acknowledgement is refused', async (t) => {
  const w = await world(t);
  await fill(w, 0, 1);
  const delivery = await took(w);
  w.cut('leaf');
  await w.clock.advance(20_000);
  w.heal('leaf');
  await w.clock.advance(5000);
  assert.equal(delivery.ack(), false);
  const again = await took(w, { timeout: 5000 });
  assert.deepEqual([again.message.payload, again.attempt], [0, 2]);
  again.ack();
  assert.deepEqual(await numbers(w), [0, 0]);
});

test('who waits is told when the mailbox is removed', async (t) => {
  const w = await world(t);
  const waiting = w.bus('leaf').receive('work');
  const outcome = waiting.then(
    () => undefined,
    (error: unknown) => error,
  );
  await w.clock.advance(100);
  await w.until(w.bus('lead').mailboxes.remove('work'));
  await w.clock.advance(1000);
  assert.ok(refusal('CLOSED')(await w.until(outcome)));
});
