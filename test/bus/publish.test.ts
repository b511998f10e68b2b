import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Subscription } from '../../src/bus/consuming/subscription.ts';
import type { Outgoing } from '../../src/bus/routes/publisher.ts';
import { BusError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import { refusal, resolved, world } from '../core/testbed.ts';

const cause = (code: string) => (error: unknown) => error instanceof BusError && error.code === code;

/** Rejects with a BusError of that code; the error. */
async function failure(promise: Promise<unknown>, code: string): Promise<BusError> {
  try {
    await promise;
  } catch (error) {
    assert.ok(cause(code)(error), String(error));
    return error as BusError; // as just seen
  }
  assert.fail(`it resolved instead of ${code}`);
}

describe('a message', () => {
  test('reaches its handler with everything that it was published with', async (t) => {
    const { bus, clock } = await world(t);
    const seen: Message[] = [];
    await bus.subscribe('orders\\..*', (message) => void seen.push(message));
    const payload = { n: 1, list: [1, 'a', null, true, 5n, new Date(5), new Uint8Array(2)] };
    await bus.publish('orders.eu', payload, { id: 'mine', key: 'k', headers: { h: 'v' } });
    await bus.publish('orders.us', 'x');
    await clock.settle();
    const [full, plain] = seen;
    assert.equal(full?.payload, payload, 'by reference');
    const { id, topic, key, headers, publishedAt, source } = full as Message; // as above
    assert.deepEqual(
      { id, topic, key, headers: { ...headers }, publishedAt, source },
      { id: 'mine', topic: 'orders.eu', key: 'k', headers: { h: 'v' }, publishedAt: clock.now(), source: 'here' },
    );
    assert.match(plain?.id ?? '', /^[0-9a-f]{16}\.\d+$/);
    assert.equal(plain?.key, undefined);
    assert.deepEqual(plain?.headers, {});
  });

  test('has an id of its own, the same in every mailbox and in its receipt', async (t) => {
    const { bus, clock } = await world(t);
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) await bus.subscribe('t', ({ id }) => void ids.push(id));
    const receipt = await bus.publish('t', 1);
    await clock.settle();
    assert.deepEqual(ids, [receipt.id, receipt.id, receipt.id]);
    const more = new Set<string>();
    for (let i = 0; i < 1000; i++) more.add((await bus.publish('u', 1)).id);
    assert.equal(more.size, 1000);
  });

  test('those of one publisher enter a mailbox in order', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ payload }) => void seen.push(payload));
    for (let i = 0; i < 100; i++) {
      if (i % 3 === 0) bus.emit('t', i);
      else void bus.publish('t', i);
    }
    await clock.settle();
    assert.deepEqual(
      seen,
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  test('what is invalid is refused before anybody has it, and named', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('.*', ({ payload }) => void seen.push(payload));
    for (const [topic, payload, code, ...texts] of [
      ['', 1, 'TOPIC_INVALID', 'empty'],
      ['$mine', 1, 'TOPIC_INVALID', "'$'"],
      ['a\nb', 1, 'TOPIC_INVALID', 'control'],
      ['x'.repeat(256), 1, 'TOPIC_INVALID', '256 bytes'],
      [5, 1, 'TOPIC_INVALID', '5', 'not a string'],
      ['t', undefined, 'PAYLOAD_INVALID', 'payload is undefined'],
      ['t', { a: [() => {}] }, 'PAYLOAD_INVALID', 'payload.a[0]', 'function'],
      ['t', 'x'.repeat(1_048_577), 'PAYLOAD_TOO_LARGE', '1048576'],
    ] as const) {
      assert.throws(() => bus.emit(topic as string, payload), refusal(code, ...texts));
      await assert.rejects(bus.publish(topic as string, payload), refusal(code, ...texts));
      await assert.rejects(
        bus.publishMany([
          { topic: 't', payload: 'good' },
          { topic: topic as string, payload },
        ]),
        refusal(code, ...texts),
      );
    }
    await clock.settle();
    assert.deepEqual(seen, []);
  });

  test('a smaller payload limit is heeded', async (t) => {
    const { bus } = await world(t, { limits: { payload: 1000 } });
    assert.equal(bus.emit('t', 'x'.repeat(990)), true);
    assert.throws(() => bus.emit('t', 'x'.repeat(1001)), refusal('PAYLOAD_TOO_LARGE', '1000'));
  });
});

describe('emit()', () => {
  test('is true when nothing matched', async (t) => {
    const { bus } = await world(t);
    assert.equal(bus.emit('nobody', 1), true);
  });

  test('is false, and nobody has it, when one of several mailboxes is full', async (t) => {
    const { bus, clock } = await world(t);
    const seen: string[] = [];
    const note = (name: string) => (message: Message) => void seen.push(`${name}:${String(message.payload)}`);
    const limits = { messages: 1 };
    const before = await bus.subscribe('t', note('before'), { name: 'before' });
    const full = await bus.subscribe('t', note('full'), { name: 'full', limits });
    const after = await bus.subscribe('t', note('after'), {
      name: 'after',
      limits: { messages: 5, overflow: 'reject' },
    });
    full.pause();
    assert.equal(bus.emit('t', 1), true);
    assert.equal(bus.emit('t', 2), false);
    await clock.settle();
    assert.deepEqual(seen.sort(), ['after:1', 'before:1']);
    assert.equal(before.stats().waiting + after.stats().waiting, 0);
    full.resume();
    await clock.settle();
    assert.equal(bus.emit('t', 3), true);
    await clock.settle();
    assert.equal(seen.filter((entry) => entry.endsWith(':3')).length, 3);
  });

  for (const overflow of ['block', 'reject'] as const) {
    test(`${overflow}: false when the only mailbox is full; a refusal is counted, alone or among others`, async (t) => {
      const { bus } = await world(t);
      const sub = await bus.subscribe('a.*', () => {}, { limits: { messages: 1, overflow } });
      await bus.subscribe('ab', () => {});
      sub.pause();
      assert.equal(bus.emit('a', 1), true);
      assert.equal(bus.emit('a', 2), false);
      assert.equal(sub.stats().refused, 1);
      assert.equal(bus.emit('ab', 3), false);
      assert.equal(sub.stats().refused, 2);
    });
  }

  test('random mailboxes of all policies: true means everybody has it, false means nobody', async (t) => {
    const policies = ['block', 'reject', 'drop-oldest', 'drop-newest'] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ messages: fc.integer({ min: 1, max: 4 }), overflow: fc.constantFrom(...policies) }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 20 }),
        async (mailboxes, actions) => {
          const { bus, clock, close } = await world(t);
          const subs: Subscription[] = [];
          for (const limits of mailboxes) {
            const sub = await bus.subscribe('t', () => {}, { limits });
            sub.pause();
            subs.push(sub);
          }
          const entered = (): number[] =>
            subs.map((sub) => sub.stats().waiting + sub.stats().dropped + sub.stats().handled);
          for (const action of actions) {
            const drained = subs[action];
            if (drained !== undefined) {
              drained.resume();
              await clock.settle();
              drained.pause();
            }
            const before = entered();
            const taken = bus.emit('t', 1);
            await clock.settle();
            assert.deepEqual(
              entered(),
              before.map((count) => count + (taken ? 1 : 0)),
            );
          }
          await close();
        },
      ),
      { numRuns: 40, seed: 20_260_101 },
    );
  });
});

describe('publish()', () => {
  test('resolves to a receipt when every mailbox has accepted, without waiting for a handler', async (t) => {
    const { bus } = await world(t);
    for (let i = 0; i < 2; i++) (await bus.subscribe('t', () => new Promise(() => {}))).pause();
    const receipt = await bus.publish('t', 1, { id: 'mine' });
    assert.deepEqual(receipt, {
      id: 'mine',
      matched: 2,
      stored: 0,
      spooled: 0,
      level: 'memory',
      unreachable: [],
    });
  });

  test('nothing matched: a receipt that says so', async (t) => {
    const { bus } = await world(t);
    assert.equal((await bus.publish('nobody', 1)).matched, 0);
  });

  test('atLeast: fewer routes are NO_SUBSCRIBERS, and nobody has the message', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ payload }) => void seen.push(payload));
    assert.equal((await bus.publish('t', 1, { atLeast: 1 })).matched, 1);
    const error = await failure(bus.publish('t', 2, { atLeast: 2, id: 'mine' }), 'NO_SUBSCRIBERS');
    assert.equal(error.retryable, true);
    assert.equal(error.receipt?.matched, 1);
    assert.equal(error.receipt?.id, 'mine');
    assert.match(error.message, /'t' matches 1 subscriptions, 2 were asked for/);
    await clock.settle();
    assert.deepEqual(seen, [1]);
  });

  test('block: waits for room, in order of publishing', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const seen: unknown[] = [];
    const sub = await bus.subscribe('t', ({ payload }) => void seen.push(payload), { limits: { messages: 2 } });
    sub.pause();
    const sent = [1, 2, 3, 4].map((n) => bus.publish('t', n));
    assert.deepEqual(await Promise.all(sent.map(async (receipt) => (await outcome(receipt)).state)), [
      'resolved',
      'resolved',
      'pending',
      'pending',
    ]);
    sub.resume();
    await clock.settle();
    for (const receipt of sent) assert.equal((await receipt).matched, 1);
    assert.deepEqual(seen, [1, 2, 3, 4]);
  });

  test('block: after its timeout it is TIMEOUT, with the receipt and the failed routes; the others have it', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ payload }) => void seen.push(payload), { name: 'free' });
    const sub = await bus.subscribe('t', ({ payload }) => void seen.push(payload), {
      name: 'full',
      limits: { messages: 1 },
    });
    sub.pause();
    bus.emit('t', 1);
    const sent = bus.publish('t', 2, { timeout: 5000 });
    await clock.advance(4999);
    assert.equal((await outcome(sent)).state, 'pending');
    const failed = failure(sent, 'TIMEOUT');
    await clock.advance(1);
    const error = await failed;
    assert.equal(error.retryable, true);
    assert.deepEqual(error.failures, [{ subscription: 'full', node: 'here', code: 'TIMEOUT' }]);
    assert.equal(error.receipt?.matched, 2);
    assert.match(error.message, /1 of 2 routes did not take .* within 5000 ms: here\/full \(TIMEOUT\)/);
    assert.deepEqual(seen, [1, 2]);
    assert.equal(sub.stats().refused, 1);
    sub.resume();
    await clock.advance(60_000);
    assert.deepEqual(seen, [1, 2, 1], 'a publish that was given up does not come after all');
  });

  test('block: the default timeout is 10 s', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 1 } });
    sub.pause();
    bus.emit('t', 1);
    const sent = bus.publish('t', 2);
    await clock.advance(9999);
    assert.equal((await outcome(sent)).state, 'pending');
    const failed = failure(sent, 'TIMEOUT');
    await clock.advance(1);
    await failed;
  });

  test('block: publishes that were given up make room for others to wait', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 2 } });
    sub.pause();
    for (const n of [1, 2]) bus.emit('t', n);
    const given = [3, 4].map((n) => failure(bus.publish('t', n, { timeout: 10 }), 'TIMEOUT'));
    await clock.advance(10);
    await Promise.all(given);
    const sent = bus.publish('t', 5, { timeout: 1000 });
    assert.equal((await outcome(sent)).state, 'pending', 'nobody waits before it');
    sub.resume();
    await clock.settle();
    assert.equal((await sent).matched, 1);
  });

  test('block: more waiting than the mailbox holds is MAILBOX_FULL at once', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 2 }, name: 'full' });
    sub.pause();
    const sent = [1, 2, 3, 4].map((n) => bus.publish('t', n));
    const error = await failure(bus.publish('t', 5), 'MAILBOX_FULL');
    assert.deepEqual(error.failures, [{ subscription: 'full', node: 'here', code: 'MAILBOX_FULL' }]);
    assert.equal(sub.stats().refused, 1);
    sub.resume();
    await clock.settle();
    for (const receipt of sent) assert.equal((await outcome(receipt)).state, 'resolved');
  });

  test('reject: a full mailbox is MAILBOX_FULL at once, with the receipt; the others have it', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ payload }) => void seen.push(payload));
    const sub = await bus.subscribe('t', () => {}, { name: 'full', limits: { messages: 1, overflow: 'reject' } });
    sub.pause();
    await bus.publish('t', 1);
    const error = await failure(bus.publish('t', 2, { id: 'mine' }), 'MAILBOX_FULL');
    assert.equal(error.retryable, true);
    assert.equal(error.receipt?.id, 'mine');
    assert.deepEqual(error.failures, [{ subscription: 'full', node: 'here', code: 'MAILBOX_FULL' }]);
    assert.equal(sub.stats().refused, 1);
    await clock.settle();
    assert.deepEqual(seen, [1, 2]);
  });

  for (const overflow of ['drop-oldest', 'drop-newest'] as const) {
    test(`${overflow}: a full mailbox still gives a receipt; the drop is counted`, async (t) => {
      const { bus } = await world(t);
      const sub = await bus.subscribe('t', () => {}, { limits: { messages: 1, overflow } });
      sub.pause();
      for (const n of [1, 2, 3]) assert.equal((await bus.publish('t', n)).matched, 1);
      assert.equal(sub.stats().dropped, 2);
      assert.equal(sub.stats().waiting, 1);
    });
  }

  test('signal: aborted before, nobody has the message; aborted while it waits, it is not sent after all', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const seen: unknown[] = [];
    const sub = await bus.subscribe('t', ({ payload }) => void seen.push(payload), { limits: { messages: 1 } });
    sub.pause();
    const reason = new Error('enough');
    const before = await failure(bus.publish('t', 0, { signal: AbortSignal.abort(reason) }), 'ABORTED');
    assert.equal(before.cause, reason);
    assert.equal(before.retryable, false);
    bus.emit('t', 1);
    const controller = new AbortController();
    const sent = bus.publish('t', 2, { signal: controller.signal });
    assert.equal((await outcome(sent)).state, 'pending');
    controller.abort(reason);
    const error = await failure(sent, 'ABORTED');
    assert.equal(error.cause, reason);
    assert.equal(error.receipt?.matched, 1);
    sub.resume();
    await clock.advance(60_000);
    assert.deepEqual(seen, [1]);
  });

  test('a signal that is aborted afterwards changes nothing, and keeps no listener', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 1 } });
    sub.pause();
    bus.emit('t', 0);
    const controller = new AbortController();
    const { signal } = controller;
    const sent = bus.publish('t', 1, { signal });
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    sub.resume();
    await clock.settle();
    await sent;
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    controller.abort();
    await clock.settle();
  });

  test('publishes that share a signal share one listener: more than ten would have Node warn of a leak', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 100 } });
    sub.pause();
    for (let i = 0; i < 100; i++) bus.emit('t', i);
    const controller = new AbortController();
    const { signal } = controller;
    const sent = Array.from({ length: 50 }, () => failure(bus.publish('t', 1, { signal }), 'ABORTED'));
    assert.ok(getEventListeners(signal, 'abort').length <= 1);
    controller.abort();
    await clock.settle();
    await Promise.all(sent);
    assert.equal(getEventListeners(signal, 'abort').length, 0);
  });

  test('a mailbox that closes while a publish waits for it is CLOSED for that route', async (t) => {
    const { bus, clock } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { name: 'full', limits: { messages: 1 } });
    sub.pause();
    bus.emit('t', 1);
    const failed = failure(bus.publish('t', 2), 'CLOSED');
    await resolved(clock, sub.close());
    assert.deepEqual((await failed).failures, [{ subscription: 'full', node: 'here', code: 'CLOSED' }]);
  });

  test('many different timeouts keep no timers', async (t) => {
    const { bus, clock } = await world(t);
    const before = clock.pendingTimers;
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 1000 } });
    sub.pause();
    for (let i = 0; i < 1000; i++) bus.emit('t', i);
    const sent = Array.from({ length: 200 }, (_, i) => failure(bus.publish('t', 1, { timeout: 100 + i }), 'TIMEOUT'));
    await clock.advance(300);
    await Promise.all(sent);
    await clock.advance(1000);
    assert.equal(clock.pendingTimers, before);
  });
});

describe('publishMany()', () => {
  test('sends in order and resolves to the receipts, in order', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('t', ({ payload, id, key }) => void seen.push([payload, id, key]));
    const receipts = await bus.publishMany([
      { topic: 't', payload: 1, id: 'a', key: 'k' },
      { topic: 'nobody', payload: 2, id: 'b' },
      { topic: 't', payload: 3, id: 'c', headers: { h: 'v' } },
    ]);
    assert.deepEqual(
      receipts.map(({ id, matched }) => [id, matched]),
      [
        ['a', 1],
        ['b', 0],
        ['c', 1],
      ],
    );
    await clock.settle();
    assert.deepEqual(seen, [
      [1, 'a', 'k'],
      [3, 'c', undefined],
    ]);
    assert.deepEqual(await bus.publishMany([]), []);
  });

  test('5,000 messages at a time all get their receipts', async (t) => {
    const { bus } = await world(t);
    const sub = await bus.subscribe('t', () => {});
    sub.pause();
    const receipts = await bus.publishMany(Array.from({ length: 5000 }, (_, i) => ({ topic: 't', payload: i })));
    assert.equal(receipts.length, 5000);
    assert.equal(sub.stats().waiting, 5000);
  });

  test('every message is checked before the first is sent', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    await bus.subscribe('.*', ({ payload }) => void seen.push(payload));
    const good = { topic: 't', payload: 1 };
    for (const [bad, code] of [
      [{ topic: '', payload: 1 }, 'TOPIC_INVALID'],
      [{ topic: 't', payload: new Map() }, 'PAYLOAD_INVALID'],
      [{ topic: 't', payload: 1, ttl: 0 }, 'OPTION_INVALID'],
      [{ topic: 't', payload: 1, signal: AbortSignal.abort() }, 'ABORTED'],
    ] as const) {
      await assert.rejects(bus.publishMany([good, bad as Outgoing]), refusal(code));
    }
    await clock.settle();
    assert.deepEqual(seen, []);
  });

  test('when some fail, the error has what became of each; the others are sent', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    const sub = await bus.subscribe('small', () => {}, { limits: { messages: 1, overflow: 'reject' } });
    sub.pause();
    await bus.subscribe('large', ({ payload }) => void seen.push(payload));
    const error = await failure(
      bus.publishMany([
        { topic: 'small', payload: 1 },
        { topic: 'small', payload: 2 },
        { topic: 'nobody', payload: 3, atLeast: 1 },
        { topic: 'large', payload: 4 },
      ]),
      'MAILBOX_FULL',
    );
    assert.match(error.message, /^2 of 4 messages failed, the first with: /);
    assert.deepEqual(
      error.results?.map((result) => (result instanceof BusError ? result.code : result.matched)),
      [1, 'MAILBOX_FULL', 'NO_SUBSCRIBERS', 1],
    );
    assert.equal(error.cause, error.results?.[1]);
    await clock.settle();
    assert.deepEqual(seen, [4]);
  });

  test('a signal that is aborted meanwhile stops what is not sent yet, too', async (t) => {
    const { bus, clock, outcome } = await world(t);
    const sub = await bus.subscribe('t', () => {}, { limits: { messages: 2000 } });
    sub.pause();
    for (let i = 0; i < 2000; i++) bus.emit('t', i);
    const controller = new AbortController();
    const { signal } = controller;
    const sent = bus.publishMany(Array.from({ length: 1500 }, (_, i) => ({ topic: 't', payload: i, signal })));
    assert.equal((await outcome(sent)).state, 'pending');
    controller.abort();
    const end = await outcome(sent);
    assert.equal(end.state, 'rejected', 'the rest waits for its deadline');
    const { error } = end as { error: BusError }; // as just seen
    assert.equal(error.code, 'ABORTED');
    assert.equal(error.results?.length, 1500);
    sub.resume();
    await clock.settle();
  });
});

test('explain() tells which subscriptions match, on which nodes, with which retry policy', async (t) => {
  const { bus, clock } = await world(t);
  assert.deepEqual(bus.explain('orders.eu'), { topic: 'orders.eu', routes: [] });
  await bus.subscribe('orders\\..*', () => {}, { name: 'a', retry: { attempts: 2 } });
  const b = await bus.subscribe(/eu$/i, () => {}, { name: 'b' });
  await bus.subscribe('other', () => {});
  const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };
  const here = { node: 'here', durable: false, reachable: true };
  assert.deepEqual(bus.explain('orders.eu').routes, [
    { subscription: 'a', pattern: 'orders\\..*', ...here, retry: { ...retry, attempts: 2 } },
    { subscription: 'b', pattern: '/eu$/i', ...here, retry },
  ]);
  await resolved(clock, b.close());
  assert.equal(bus.explain('orders.eu').routes.length, 1);
  assert.throws(() => bus.explain(''), refusal('TOPIC_INVALID'));
});
