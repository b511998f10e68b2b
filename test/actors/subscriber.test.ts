import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DeadLetters } from '../../src/actors/dead-letters.ts';
import type { Context } from '../../src/actors/delivery.ts';
import { FilterChain } from '../../src/actors/filters.ts';
import type { Runtime } from '../../src/actors/runtime.ts';
import { Subscriber } from '../../src/actors/subscriber.ts';
import type { TreeNode } from '../../src/actors/supervisor.ts';
import { type Deferred, deferred } from '../../src/core/async.ts';
import { PermanentError } from '../../src/core/errors.ts';
import { EventHub } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { Message } from '../../src/core/message.ts';
import { defaultRetry } from '../../src/core/retry.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { Commits } from '../../src/storage/commits.ts';
import { MemoryStore } from '../../src/storage/memory.ts';
import { decodePayload, encodePayload } from '../../src/wire/codec.ts';
import { refusal, resolved, until, type World, world } from '../core/testbed.ts';

const noJitter = { jitter: 0 };

/** A handler whose calls wait until the test ends them. */
class Desk {
  readonly calls: { message: Message; context: Context; end: Deferred<void> }[] = [];
  readonly handler = (message: Message, context: Context): Promise<void> => {
    const end = deferred<void>();
    this.calls.push({ message, context, end });
    return end.promise;
  };

  /** What was handed out, as `payload/attempt`. */
  get log(): string[] {
    return this.calls.map(({ message, context }) => `${String(message.payload)}/${context.attempt}`);
  }

  /** The last call with this payload. */
  call(payload: unknown) {
    const call = this.calls.findLast(({ message }) => message.payload === payload);
    assert.ok(call !== undefined, `nothing was handed out with ${String(payload)}`);
    return call;
  }
}

function find(tree: TreeNode, name: string): TreeNode {
  const found = tree.children.flatMap((child) => (child.name === name ? [child] : findAll(child, name)))[0];
  assert.ok(found !== undefined, `no part ${name}`);
  return found;
}

function findAll(tree: TreeNode, name: string): TreeNode[] {
  return tree.children.flatMap((child) => (child.name === name ? [child] : findAll(child, name)));
}

async function emitAll({ bus, clock }: World, topic: string, ...payloads: unknown[]): Promise<void> {
  for (const payload of payloads) assert.equal(bus.emit(topic, payload), true);
  await clock.settle();
}

describe('settling', () => {
  test('a handler that returns or resolves acknowledges; nothing comes twice', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sync = await w.bus.subscribe('t', ({ payload }) => void seen.push(payload));
    const asyn = await w.bus.subscribe('t', async ({ payload }) => void seen.push(payload));
    await emitAll(w, 't', 1, 2);
    await w.clock.advance(60_000);
    assert.deepEqual(seen.sort(), [1, 1, 2, 2]);
    for (const sub of [sync, asyn]) {
      const { handled, failed, waiting, running } = sub.stats();
      assert.deepEqual({ handled, failed, waiting, running }, { handled: 2, failed: 0, waiting: 0, running: 0 });
    }
  });

  for (const [how, fail] of [
    [
      'throws',
      (): void => {
        throw new Error('no');
      },
    ],
    ['rejects', (): Promise<void> => Promise.reject(new Error('no'))],
  ] as const) {
    test(`a handler that ${how} has the message tried again after 100, 200, 400 and 800 ms; then it is a dead letter`, async (t) => {
      const w = await world(t);
      const at: number[] = [];
      const attempts: number[] = [];
      const sub = await w.bus.subscribe(
        't',
        (_message, context) => {
          at.push(w.clock.monotonic());
          attempts.push(context.attempt);
          return fail();
        },
        { retry: noJitter },
      );
      await emitAll(w, 't', 'x');
      await w.clock.advance(60_000);
      assert.deepEqual(at, [0, 100, 300, 700, 1500]);
      assert.deepEqual(attempts, [1, 2, 3, 4, 5]);
      const { failed, dead, handled } = sub.stats();
      assert.deepEqual({ failed, dead, handled }, { failed: 5, dead: 1, handled: 0 });
      assert.deepEqual(
        w.seen('message.retried').map(({ attempt, delay }) => [attempt, delay]),
        [
          [1, 100],
          [2, 200],
          [3, 400],
          [4, 800],
        ],
      );
      const [death] = w.seen('message.dead');
      assert.equal(death?.reason, 'attempts');
      assert.equal(death?.attempts, 5);
      assert.equal(death?.error.message, 'no');
      const [letter] = await w.bus.deadLetters.list();
      assert.equal(letter?.attempts, 5);
      assert.equal(letter?.reason, 'attempts');
    });
  }

  test('each wait is varied by at most its share of jitter, and messages that failed together part', async (t) => {
    const w = await world(t);
    const at = new Map<unknown, number[]>();
    const fail = ({ payload }: Message): void => {
      at.set(payload, [...(at.get(payload) ?? []), w.clock.monotonic()]);
      throw new Error('no');
    };
    await w.bus.subscribe('t', fail, { outage: false });
    await emitAll(w, 't', ...Array.from({ length: 50 }, (_, i) => i));
    await w.clock.advance(60_000);
    const firstWaits = new Set<number>();
    for (const times of at.values()) {
      assert.equal(times.length, 5);
      for (const [i, plain] of [100, 200, 400, 800].entries()) {
        const wait = (times[i + 1] ?? 0) - (times[i] ?? 0);
        assert.ok(wait >= plain * 0.8 && wait <= plain * 1.2 + 1, `${wait} for ${plain}`);
        if (i === 0) firstWaits.add(wait);
      }
    }
    assert.ok(firstWaits.size > 10, 'the waits differ');
  });

  test('retry options are heeded: attempts, delay, factor, maxDelay', async (t) => {
    const w = await world(t);
    const at: number[] = [];
    const fail = (): void => {
      at.push(w.clock.monotonic());
      throw new Error('no');
    };
    await w.bus.subscribe('t', fail, { retry: { attempts: 4, delay: 10, factor: 10, maxDelay: 500, jitter: 0 } });
    await emitAll(w, 't', 'x');
    await w.clock.advance(60_000);
    assert.deepEqual(at, [0, 10, 110, 610]);
  });

  test('with attempts: 1 a failure is final', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => Promise.reject(new Error('no')), { retry: { attempts: 1 } });
    await emitAll(w, 't', 'x');
    assert.equal(sub.stats().dead, 1);
    assert.deepEqual(w.seen('message.retried'), []);
  });

  test('a PermanentError goes to the dead letters at once', async (t) => {
    const w = await world(t);
    class NoSuchOrder extends PermanentError {}
    const sub = await w.bus.subscribe('t', ({ payload }) => {
      if (payload === 'sync') throw new PermanentError('no such order');
      return Promise.reject(new NoSuchOrder('no such order'));
    });
    await emitAll(w, 't', 'sync', 'async');
    assert.equal(sub.stats().dead, 2);
    const letters = await w.bus.deadLetters.list();
    assert.deepEqual(
      letters.map(({ reason, attempts, lastError }) => [reason, attempts, lastError.message]),
      [
        ['permanent', 1, 'no such order'],
        ['permanent', 1, 'no such order'],
      ],
    );
  });

  test('term() goes to the dead letters at once, whatever the handler does afterwards', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', async ({ payload }, context) => {
      if (payload === 'late') await null;
      context.term(`not wanted: ${String(payload)}`);
      context.term('again');
      if (payload === 'throws') throw new Error('ignored');
    });
    await emitAll(w, 't', 'early', 'late', 'throws');
    await w.clock.advance(60_000);
    const { dead, failed, handled } = sub.stats();
    assert.deepEqual({ dead, failed, handled }, { dead: 3, failed: 3, handled: 0 });
    const texts = (await w.bus.deadLetters.list()).map(({ lastError }) => lastError.message);
    assert.deepEqual(texts.sort(), ['not wanted: early', 'not wanted: late', 'not wanted: throws']);
  });

  test('a settled attempt is forgotten at once, even when the handler had called term() before it first awaited', async (t) => {
    const w = await world(t);
    const before = w.clock.pendingTimers;
    await w.bus.subscribe('t', async (_message, context) => {
      context.term();
      await null;
    });
    await emitAll(w, 't', 'x');
    await w.clock.advance(1000);
    assert.equal(w.clock.pendingTimers, before, 'the attempt is still watched');
  });

  for (const [what, thrown, text] of [
    ['a string', 'text', 'text'],
    ['undefined', undefined, 'thrown: undefined'],
    ['null', null, 'thrown: null'],
    ['an object', { code: 1 }, 'thrown: an object'],
    ['an error whose name and message are no strings', Object.assign(new Error(), { name: 5n, message: () => 1 }), ''],
    [
      'an error whose message cannot be read',
      Object.defineProperty(new Error(), 'message', {
        get: () => {
          throw new Error('gotcha');
        },
      }),
      '',
    ],
  ] as const) {
    for (const how of ['throws', 'rejects with'] as const) {
      test(`a handler that ${how} ${what} is a failed attempt like any other`, async (t) => {
        const w = await world(t);
        const seen: unknown[] = [];
        const sub = await w.bus.subscribe(
          't',
          ({ payload }) => {
            seen.push(payload);
            if (payload !== 'bad') return undefined;
            if (how === 'throws') throw thrown;
            return Promise.reject(thrown);
          },
          { retry: { attempts: 2, jitter: 0 } },
        );
        await emitAll(w, 't', 'bad', 'good');
        await w.clock.advance(1000);
        assert.deepEqual(seen, ['bad', 'good', 'bad']);
        assert.equal(sub.stats().dead, 1);
        const [letter] = await w.bus.deadLetters.list();
        if (text !== '') assert.equal(letter?.lastError.message, text);
        assert.equal(typeof letter?.lastError.message, 'string');
        assert.equal(sub.state, 'active');
      });
    }
  }

  for (const [what, spoil] of [
    [
      'a cycle',
      (payload: Record<string, unknown>): void => {
        payload.self = payload;
      },
    ],
    [
      'a function',
      (payload: Record<string, unknown>): void => {
        payload.callback = () => {};
      },
    ],
  ] as const) {
    for (const how of ['throws', 'rejects'] as const) {
      test(`a handler that puts ${what} into its payload and ${how} takes down nobody`, async (t) => {
        const w = await world(t);
        const seen: unknown[] = [];
        const sub = await w.bus.subscribe<Record<string, unknown>>(
          't',
          ({ payload }) => {
            seen.push(payload.n);
            if (payload.n !== 1) return undefined;
            spoil(payload);
            if (how === 'throws') throw new Error('no');
            return Promise.reject(new Error('no'));
          },
          { retry: { attempts: 1 } },
        );
        await emitAll(w, 't', { n: 1 }, { n: 2 });
        await w.clock.advance(1000);
        assert.deepEqual(seen, [1, 2]);
        assert.equal(sub.state, 'active');
        const { dead, running, waiting } = sub.stats();
        assert.deepEqual({ dead, running, waiting }, { dead: 1, running: 0, waiting: 0 });
      });
    }
  }

  test('a handler that returns something whose then() cannot be read fails, and blocks nobody', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }) => {
        seen.push(payload);
        if (payload !== 'bad') return undefined;
        return Object.defineProperty({}, 'then', {
          get: () => {
            throw new Error('gotcha');
          },
        });
      },
      { retry: { attempts: 1 } },
    );
    await emitAll(w, 't', 'bad', 'good');
    await w.clock.advance(1000);
    assert.deepEqual(seen, ['bad', 'good']);
    const { dead, running } = sub.stats();
    assert.deepEqual({ dead, running }, { dead: 1, running: 0 });
  });

  test('a logger that throws takes down neither the subscription nor the process', async (t) => {
    const broken = {
      debug: () => assert.fail('broken logger'),
      info: () => assert.fail('broken logger'),
      warn: () => assert.fail('broken logger'),
      error: () => assert.fail('broken logger'),
      child: () => broken,
    };
    const w = await world(t, { logger: broken });
    const seen: string[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }, { attempt }) => {
        seen.push(`${String(payload)}/${attempt}`);
        if (payload === 'hangs') return new Promise(() => {});
        return payload === 'good' ? undefined : Promise.reject(new Error('no'));
      },
      { retry: { attempts: 2, jitter: 0 }, timeout: 1000, concurrency: 3 },
    );
    await emitAll(w, 't', 'bad', 'hangs', 'good');
    await w.clock.advance(10_000);
    assert.deepEqual(seen, ['bad/1', 'hangs/1', 'good/1', 'bad/2', 'hangs/2']);
    assert.equal(sub.state, 'active');
    assert.equal(sub.stats().dead, 2);
  });
});

describe('keys', () => {
  test('a nacked message with a key is redelivered before later ones of its key', async (t) => {
    const w = await world(t);
    const seen: string[] = [];
    await w.bus.subscribe(
      't',
      ({ payload }, { attempt }) => {
        seen.push(`${String(payload)}/${attempt}`);
        if (payload === 'a1' && attempt < 3) throw new Error('not yet');
      },
      { retry: noJitter, concurrency: 10 },
    );
    for (const [payload, key] of [
      ['a1', 'a'],
      ['a2', 'a'],
      ['b1', 'b'],
      ['x', undefined],
      ['a3', 'a'],
    ] as const) {
      w.bus.emit('t', payload, key === undefined ? {} : { key });
    }
    await w.clock.advance(10_000);
    assert.deepEqual(seen, ['a1/1', 'b1/1', 'x/1', 'a1/2', 'a1/3', 'a2/1', 'a3/1']);
  });

  test('one message of a key runs at a time, whatever the concurrency', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    await w.bus.subscribe('t', desk.handler, { concurrency: 10 });
    for (const payload of ['a1', 'a2', 'b1', 'a3']) w.bus.emit('t', payload, { key: payload.slice(0, 1) });
    await w.clock.settle();
    assert.deepEqual(desk.log, ['a1/1', 'b1/1']);
    desk.call('a1').end.resolve();
    await w.clock.settle();
    assert.deepEqual(desk.log, ['a1/1', 'b1/1', 'a2/1']);
  });

  test('a key goes on after a dead letter, a timeout and a term()', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    await w.bus.subscribe(
      't',
      ({ payload }, context) => {
        seen.push(payload);
        if (payload === 'dies') throw new PermanentError('no');
        if (payload === 'hangs') return new Promise(() => {});
        if (payload === 'terms') context.term();
        return undefined;
      },
      { timeout: 1000, retry: { attempts: 1 } },
    );
    for (const payload of ['dies', 'hangs', 'terms', 'last']) w.bus.emit('t', payload, { key: 'k' });
    await w.clock.advance(1000);
    assert.deepEqual(seen, ['dies', 'hangs', 'terms', 'last']);
  });
});

describe('attempts that take too long', () => {
  test('the signal is aborted, the message tried again, and the actor replaced', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    const sub = await w.bus.subscribe('t', desk.handler, { name: 'slow', timeout: 1000, retry: noJitter });
    await emitAll(w, 't', 'x');
    const { signal } = desk.call('x').context;
    assert.equal(find((await w.bus.status()).tree, 'slow').generation, 1);
    await w.clock.advance(999);
    assert.equal(signal.aborted, false);
    await w.clock.advance(1);
    assert.equal(signal.aborted, true);
    refusal('TIMEOUT')(signal.reason);
    assert.equal(find((await w.bus.status()).tree, 'slow').generation, 2);
    assert.equal(find((await w.bus.status()).tree, 'slow').state, 'running');
    assert.equal(sub.stats().abandoned, 1);
    assert.equal(sub.stats().running, 0);
    await w.clock.advance(100);
    assert.deepEqual(desk.log, ['x/1', 'x/2']);
    assert.equal(desk.call('x').context.signal.aborted, false, 'the second attempt has a signal of its own');
    const [retried] = w.seen('message.retried');
    refusal('TIMEOUT', "on 't' took longer than 1000 ms")(retried?.error);
  });

  test('a signal that is read only after the time was up is aborted', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    await w.bus.subscribe('t', desk.handler, { timeout: 1000, retry: { attempts: 1 } });
    await emitAll(w, 't', 'x');
    await w.clock.advance(1000);
    assert.equal(desk.call('x').context.signal.aborted, true);
  });

  test('a late return settles nothing: the next attempt decides', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    const sub = await w.bus.subscribe('t', desk.handler, { timeout: 1000, retry: noJitter });
    await emitAll(w, 't', 'x');
    await w.clock.advance(1100);
    const [stale, current] = desk.calls;
    stale?.end.resolve();
    await w.clock.settle();
    assert.deepEqual([sub.stats().handled, sub.stats().running], [0, 1], 'the stale attempt has done nothing');
    assert.equal(sub.stats().abandoned, 0, 'its handler has returned');
    await assert.rejects(async () => stale?.context.publish('out', 1), refusal('CLOSED', 'timedOut'));
    stale?.context.term('too late');
    stale?.context.extend(1000);
    current?.end.resolve();
    await w.clock.advance(60_000);
    const { handled, dead, failed } = sub.stats();
    assert.deepEqual({ handled, dead, failed }, { handled: 1, dead: 0, failed: 1 });
    assert.deepEqual(desk.log, ['x/1', 'x/2']);
  });

  test('a late rejection counts no second failure', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    const sub = await w.bus.subscribe('t', desk.handler, { timeout: 1000, retry: noJitter });
    await emitAll(w, 't', 'x');
    await w.clock.advance(1100);
    desk.calls[0]?.end.reject(new Error('late'));
    desk.calls[1]?.end.resolve();
    await w.clock.settle();
    const { failed, handled } = sub.stats();
    assert.deepEqual({ failed, handled }, { failed: 1, handled: 1 });
  });

  test('a handler that never returns holds up neither the messages behind it nor other subscriptions', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe(
      't',
      ({ payload }) => {
        if (payload === 'hangs') return new Promise(() => {});
        return void seen.push(payload);
      },
      { timeout: 1000, retry: { attempts: 3, jitter: 0 } },
    );
    const other: unknown[] = [];
    await w.bus.subscribe('t', ({ payload }) => void other.push(payload));
    await emitAll(w, 't', 'hangs', 1, 2);
    assert.deepEqual(other, ['hangs', 1, 2]);
    assert.deepEqual(seen, []);
    await w.clock.advance(60_000);
    assert.deepEqual(seen, [1, 2]);
    const { dead, abandoned, handled } = sub.stats();
    assert.deepEqual({ dead, abandoned, handled }, { dead: 1, abandoned: 3, handled: 2 });
    assert.equal((await w.bus.deadLetters.list())[0]?.lastError.name, 'BusError');
  });

  test('extend() gives the attempt that long from now, called before or after the first await', async (t) => {
    const w = await world(t);
    const before = w.clock.pendingTimers;
    const desk = new Desk();
    const sub = await w.bus.subscribe(
      't',
      (message, context) => {
        if (message.payload === 'early') context.extend(5000);
        return desk.handler(message, context);
      },
      { timeout: 1000, concurrency: 2, retry: { attempts: 1 } },
    );
    await emitAll(w, 't', 'early', 'late');
    await w.clock.advance(900);
    desk.call('late').context.extend(2000);
    await w.clock.advance(1999);
    assert.equal(sub.stats().running, 2);
    await w.clock.advance(1);
    assert.equal(sub.stats().running, 1, "the late one's time is up");
    desk.call('early').context.extend(10_000);
    await w.clock.advance(9_999);
    assert.equal(sub.stats().running, 1);
    desk.call('early').end.resolve();
    await w.clock.settle();
    const { handled, dead } = sub.stats();
    assert.deepEqual({ handled, dead }, { handled: 1, dead: 1 });
    assert.equal(w.clock.pendingTimers, before);
  });

  test('extend() takes 1 ms to a day', async (t) => {
    const w = await world(t);
    const errors: unknown[] = [];
    await w.bus.subscribe('t', (_message, context) => {
      for (const ms of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 86_400_001]) {
        try {
          context.extend(ms);
        } catch (error) {
          errors.push(error);
        }
      }
    });
    await emitAll(w, 't', 'x');
    assert.equal(errors.length, 5);
    for (const error of errors) refusal('OPTION_INVALID', 'extend(')(error);
  });
});

describe('concurrency', () => {
  test('at most so many run at a time, and the next starts when one ends', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    const sub = await w.bus.subscribe('t', desk.handler, { concurrency: 3 });
    await emitAll(w, 't', 1, 2, 3, 4, 5);
    assert.deepEqual(desk.log, ['1/1', '2/1', '3/1']);
    assert.deepEqual([sub.stats().running, sub.stats().waiting], [3, 2]);
    desk.call(2).end.resolve();
    await w.clock.settle();
    assert.deepEqual(desk.log, ['1/1', '2/1', '3/1', '4/1']);
    desk.call(1).end.reject(new Error('no'));
    await w.clock.settle();
    assert.deepEqual(desk.log, ['1/1', '2/1', '3/1', '4/1', '5/1']);
    assert.equal(sub.stats().running, 3);
  });

  test('a timed-out attempt holds no place', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    await w.bus.subscribe('t', desk.handler, { concurrency: 2, timeout: 1000, retry: { attempts: 1 } });
    await emitAll(w, 't', 1, 2, 3, 4);
    await w.clock.advance(1000);
    assert.deepEqual(desk.log, ['1/1', '2/1', '3/1', '4/1']);
  });

  test('10,000 messages through handlers that take their time arrive once each', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe(
      't',
      async ({ payload }) => {
        await null;
        seen.push(payload);
      },
      { concurrency: 10 },
    );
    await emitAll(w, 't', ...Array.from({ length: 10_000 }, (_, i) => i));
    await until(w.clock, () => sub.stats().handled >= 10_000);
    assert.equal(seen.length, 10_000);
    assert.equal(new Set(seen).size, 10_000);
  });
});

describe('staged messages', () => {
  test('what context.publish() staged is published when the handler has succeeded, not before', async (t) => {
    const w = await world(t);
    const out: unknown[] = [];
    await w.bus.subscribe('out', ({ payload, key, headers, id }) => void out.push([payload, key, { ...headers }, id]));
    const desk = new Desk();
    const sub = await w.bus.subscribe('in', desk.handler);
    await emitAll(w, 'in', 'x');
    const { context, end } = desk.call('x');
    await context.publish('out', 1, { key: 'k', headers: { h: 'v' }, id: 'own' });
    await context.publish('out', 2, { id: 'two' });
    await w.clock.settle();
    assert.deepEqual(out, []);
    end.resolve();
    await w.clock.settle();
    assert.deepEqual(out, [
      [1, 'k', { h: 'v' }, 'own'],
      [2, undefined, {}, 'two'],
    ]);
    assert.equal(sub.stats().handled, 1);
  });

  test('a handler that does not wait stages, too', async (t) => {
    const w = await world(t);
    const out: unknown[] = [];
    await w.bus.subscribe('out', ({ payload }) => void out.push(payload));
    const sub = await w.bus.subscribe('in', ({ payload }, context) => {
      void context.publish('out', payload);
    });
    await emitAll(w, 'in', 1, 2);
    assert.deepEqual(out, [1, 2]);
    assert.equal(sub.stats().handled, 2);
    assert.equal(sub.stats().running, 0);
  });

  test('what a failed attempt staged is lost, and the attempt that succeeds publishes once', async (t) => {
    const w = await world(t);
    const out: unknown[] = [];
    await w.bus.subscribe('out', ({ payload }) => void out.push(payload));
    await w.bus.subscribe('in', async (_message, context) => {
      await context.publish('out', context.attempt);
      if (context.attempt < 3) throw new Error('no');
    });
    await emitAll(w, 'in', 'x');
    await w.clock.advance(10_000);
    assert.deepEqual(out, [3]);
  });

  test('what an attempt staged before its time was up is lost', async (t) => {
    const w = await world(t);
    const out: unknown[] = [];
    await w.bus.subscribe('out', ({ payload }) => void out.push(payload));
    await w.bus.subscribe(
      'in',
      async (_message, context) => {
        await context.publish('out', context.attempt);
        if (context.attempt === 1) await new Promise(() => {});
      },
      { timeout: 1000 },
    );
    await emitAll(w, 'in', 'x');
    await w.clock.advance(10_000);
    assert.deepEqual(out, [2]);
  });

  test('what is staged is checked at once', async (t) => {
    const w = await world(t);
    const errors: unknown[] = [];
    await w.bus.subscribe('in', async (_message, context) => {
      for (const stage of [
        () => context.publish('', 1),
        () => context.publish('out', () => {}),
        () => context.publish('out', 1, { ttl: 0 }),
        () => context.publish('out', 1, { timeout: 5 } as object),
      ]) {
        await stage().catch((error: unknown) => errors.push(error));
      }
    });
    await emitAll(w, 'in', 'x');
    const [topic, payload, ttl, unknown] = errors;
    refusal('TOPIC_INVALID')(topic);
    refusal('PAYLOAD_INVALID')(payload);
    refusal('OPTION_INVALID', 'ttl 0')(ttl);
    refusal('OPTION_INVALID', "'timeout'")(unknown);
  });

  test('a handler stages at most 1,000 messages', async (t) => {
    const w = await world(t);
    const out: unknown[] = [];
    await w.bus.subscribe('out', ({ payload }) => void out.push(payload));
    let refused: unknown;
    await w.bus.subscribe('in', async (_message, context) => {
      for (let i = 0; i < 1000; i++) await context.publish('out', i);
      await context.publish('out', 1000).catch((error: unknown) => {
        refused = error;
      });
    });
    await emitAll(w, 'in', 'x');
    await until(w.clock, () => out.length === 1000);
    refusal('OPTION_INVALID', '1000')(refused);
  });

  test('the delivery is settled after the receipts of all that it staged', async (t) => {
    const w = await world(t);
    const target = await w.bus.subscribe('out', () => {}, { limits: { messages: 1 } });
    target.pause();
    const sub = await w.bus.subscribe('in', async (_message, context) => {
      await context.publish('out', 1);
      await context.publish('out', 2);
    });
    await emitAll(w, 'in', 'x');
    assert.deepEqual([sub.stats().running, sub.stats().handled], [1, 0], 'the second one waits for room');
    target.resume();
    await w.clock.settle();
    assert.deepEqual([sub.stats().running, sub.stats().handled], [0, 1]);
  });

  test('what is staged while the receipts are awaited is refused: it would be lost', async (t) => {
    const w = await world(t);
    const target = await w.bus.subscribe('out', () => {}, { limits: { messages: 1 } });
    target.pause();
    let late: Context | undefined;
    await w.bus.subscribe('in', async (_message, context) => {
      late = context;
      await context.publish('out', 1);
      await context.publish('out', 2);
    });
    await emitAll(w, 'in', 'x');
    await assert.rejects(async () => late?.publish('out', 3), refusal('CLOSED'));
  });

  test('a staged message that nobody takes within 10 s has the attempt fail, and it is tried again', async (t) => {
    const w = await world(t);
    const target = await w.bus.subscribe('out', () => {}, { limits: { messages: 1 } });
    target.pause();
    w.bus.emit('out', 0);
    const sub = await w.bus.subscribe('in', (_message, context) => void context.publish('out', context.attempt), {
      retry: noJitter,
    });
    await emitAll(w, 'in', 'x');
    await w.clock.advance(10_050);
    const { failed, waiting, running } = sub.stats();
    assert.deepEqual({ failed, waiting, running }, { failed: 1, waiting: 1, running: 0 });
    target.resume();
    await w.clock.advance(1000);
    assert.equal(sub.stats().handled, 1);
  });

  test('an attempt whose time is up while its receipts are awaited is not counted as abandoned: its handler has returned', async (t) => {
    const w = await world(t);
    const target = await w.bus.subscribe('out', () => {}, { limits: { messages: 1 } });
    target.pause();
    w.bus.emit('out', 0);
    const sub = await w.bus.subscribe('in', async (_message, context) => context.publish('out', 1), {
      timeout: 1000,
      retry: { attempts: 1 },
    });
    await emitAll(w, 'in', 'x');
    await w.clock.advance(1000);
    const { dead, running, abandoned } = sub.stats();
    assert.deepEqual({ dead, running, abandoned }, { dead: 1, running: 0, abandoned: 0 });
  });
});

describe('pause, resume and drain', () => {
  test('a paused subscription hands out nothing; what runs goes on; the mailbox still takes what comes', async (t) => {
    const w = await world(t);
    const desk = new Desk();
    const sub = await w.bus.subscribe('t', desk.handler, { name: 'p' });
    await emitAll(w, 't', 1, 2);
    sub.pause();
    sub.pause();
    assert.equal(sub.state, 'paused');
    desk.call(1).end.resolve();
    await emitAll(w, 't', 3);
    assert.deepEqual(desk.log, ['1/1']);
    assert.deepEqual([sub.stats().handled, sub.stats().waiting], [1, 2]);
    assert.deepEqual(w.seen('subscription.paused').length, 1);
    sub.resume();
    sub.resume();
    await w.clock.settle();
    assert.equal(sub.state, 'active');
    assert.deepEqual(desk.log, ['1/1', '2/1']);
  });

  test('retries of a paused subscription wait until it is resumed', async (t) => {
    const w = await world(t);
    const attempts: number[] = [];
    const sub = await w.bus.subscribe('t', (_message, { attempt }) => {
      attempts.push(attempt);
      if (attempt === 1) throw new Error('no');
    });
    await emitAll(w, 't', 'x');
    sub.pause();
    await w.clock.advance(60_000);
    assert.deepEqual(attempts, [1]);
    sub.resume();
    await w.clock.settle();
    assert.deepEqual(attempts, [1, 2]);
  });

  test('drain() resolves when nothing waits and nothing runs, retries included', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe(
      't',
      async (_message, { attempt }) => {
        await null;
        if (attempt === 1) throw new Error('no');
      },
      { retry: noJitter },
    );
    assert.equal((await w.outcome(sub.drain())).state, 'resolved', 'an empty one is drained');
    await emitAll(w, 't', 1, 2);
    const drained = sub.drain();
    assert.equal((await w.outcome(drained)).state, 'pending');
    await w.clock.advance(100);
    assert.equal((await w.outcome(drained)).state, 'resolved');
    assert.equal(sub.stats().handled, 2);
  });

  test('drain() waits for a dead letter to be stored', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => Promise.reject(new PermanentError('no')));
    w.bus.emit('t', 1);
    await resolved(w.clock, sub.drain());
    assert.equal((await w.bus.status()).deadLetters.size, 1);
    assert.equal(sub.stats().dead, 1);
  });

  test('drain() gives up after its timeout, saying what is left and why', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => {}, { name: 'still' });
    sub.pause();
    await emitAll(w, 't', 1, 2);
    const drained = sub.drain({ timeout: 5000 });
    await w.clock.advance(4999);
    assert.equal((await w.outcome(drained)).state, 'pending');
    const expected = assert.rejects(drained, refusal('TIMEOUT', "'still'", '5000 ms', '2 wait, 0 run', 'it is paused'));
    await w.clock.advance(1);
    await expected;
    await assert.rejects(sub.drain({ timeout: -1 }), refusal('OPTION_INVALID', 'timeout -1'));
  });

  test('bus.drain() waits for all subscriptions, and for what they publish to each other', async (t) => {
    const w = await world(t);
    const seen: unknown[] = [];
    await w.bus.subscribe('c', async ({ payload }) => void seen.push(payload));
    await w.bus.subscribe('b', async ({ payload }, context) => context.publish('c', payload));
    await w.bus.subscribe('a', async ({ payload }, context) => context.publish('b', payload));
    w.bus.emit('a', 'x');
    await resolved(w.clock, w.bus.drain());
    assert.deepEqual(seen, ['x']);
  });

  test('bus.drain() gives up after its timeout', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => {}, { name: 'still' });
    sub.pause();
    await emitAll(w, 't', 1);
    const drained = w.bus.drain({ timeout: 5000 });
    await w.clock.advance(4999);
    assert.equal((await w.outcome(drained)).state, 'pending');
    const expected = assert.rejects(drained, refusal('TIMEOUT', "'still'"));
    await w.clock.advance(1);
    await expected;
  });
});

describe('actors that fault', () => {
  /** Lets the turns of actors whose name matches throw while `broken` says so. */
  function faulty(name: RegExp, broken: () => boolean): (runtime: Runtime) => Runtime {
    return (runtime) => ({
      name: runtime.name,
      stop: (ref) => runtime.stop(ref),
      close: () => runtime.close(),
      spawn: (parent, child, behaviour) =>
        runtime.spawn(parent, child, {
          turn: () => {
            if (name.test(child) && broken()) throw new Error('the turn broke');
            behaviour.turn();
          },
          fault: (error) => behaviour.fault(error),
        }),
    });
  }

  test('a turn that throws restarts the actor with backoff, and nothing is lost', async (t) => {
    let broken = true;
    const w = await world(t, {}, { runtime: faulty(/^fragile/, () => broken) });
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe('t', ({ payload }) => void seen.push(payload), { name: 'fragile' });
    await emitAll(w, 't', 1, 2);
    assert.deepEqual(seen, []);
    broken = false;
    await w.clock.advance(1000);
    assert.deepEqual(seen, [1, 2]);
    assert.equal(sub.state, 'active');
    const part = find((await w.bus.status()).tree, 'fragile');
    assert.ok(part.restarts > 0);
    assert.equal(part.state, 'running');
  });

  test('an actor that faults more than 10 times in 10 s is quarantined: paused, its mailbox kept, an event raised', async (t) => {
    const w = await world(t, {}, { runtime: faulty(/^fragile/, () => true) });
    const healthy: unknown[] = [];
    const sub = await w.bus.subscribe('t', () => assert.fail('never called'), { name: 'fragile' });
    await w.bus.subscribe('t', ({ payload }) => void healthy.push(payload));
    await emitAll(w, 't', 1, 2);
    await w.clock.advance(30_000);
    assert.equal(sub.state, 'quarantined');
    assert.equal(sub.stats().waiting, 2);
    assert.deepEqual(healthy, [1, 2], 'its neighbours are unharmed');
    assert.equal(w.bus.state, 'running');
    assert.deepEqual(
      w.seen('subscription.quarantined').map(({ subscription, reason }) => [subscription, reason]),
      [['fragile', 'the turn broke']],
    );
    await emitAll(w, 't', 3);
    assert.equal(sub.stats().waiting, 3, 'it still takes what comes');
  });

  test('a quarantined subscription goes on after resume()', async (t) => {
    let broken = true;
    const w = await world(t, {}, { runtime: faulty(/^fragile/, () => broken) });
    const seen: unknown[] = [];
    const sub = await w.bus.subscribe('t', ({ payload }) => void seen.push(payload), { name: 'fragile' });
    await emitAll(w, 't', 1, 2);
    await w.clock.advance(30_000);
    assert.equal(sub.state, 'quarantined');
    broken = false;
    sub.resume();
    await w.clock.advance(10_000);
    assert.equal(sub.state, 'active');
    assert.deepEqual(seen, [1, 2]);
    assert.equal(find((await w.bus.status()).tree, 'fragile').state, 'running');
    await emitAll(w, 't', 3);
    assert.deepEqual(seen, [1, 2, 3]);
  });
});

describe('drops and refusals', () => {
  for (const [overflow, left] of [
    ['drop-oldest', [3, 4]],
    ['drop-newest', [1, 2]],
  ] as const) {
    test(`${overflow}: every drop is counted and told, several of a turn in one event`, async (t) => {
      const w = await world(t);
      const seen: unknown[] = [];
      const sub = await w.bus.subscribe('t', ({ payload }) => void seen.push(payload), {
        name: 'small',
        limits: { messages: 2, overflow },
      });
      sub.pause();
      await emitAll(w, 't', 1, 2, 3, 4);
      assert.equal(sub.stats().dropped, 2);
      assert.deepEqual(w.seen('message.dropped'), [
        { type: 'message.dropped', subscription: 'small', node: 'here', count: 2, reason: overflow },
      ]);
      sub.resume();
      await w.clock.settle();
      assert.deepEqual(seen, left);
    });
  }

  test('what waited when a subscription is closed is dropped, counted and told', async (t) => {
    const w = await world(t);
    const sub = await w.bus.subscribe('t', () => Promise.reject(new Error('no')), { name: 'gone' });
    await emitAll(w, 't', 1);
    sub.pause();
    await emitAll(w, 't', 2);
    await resolved(w.clock, sub.close());
    assert.equal(sub.stats().dropped, 2, 'one waited for its retry');
    assert.deepEqual(
      w.seen('message.dropped').map(({ count, reason }) => [count, reason]),
      [[2, 'closed']],
    );
  });
});

test("a payload that cannot be decoded is a dead letter 'payload' at once, kept as the bytes that it is", async () => {
  const clock = new VirtualClock();
  const commits = new Commits({ clock, failed: (error) => assert.fail(error) });
  commits.open(new MemoryStore());
  const limits = { messages: 10, bytes: 10_000 };
  const deadLetters = new DeadLetters({ commits, clock, limits, replayTo: () => undefined });
  const events = new EventHub(silentLogger);
  const deaths: unknown[] = [];
  events.on('message.dead', (event) => deaths.push(event));
  const seen: unknown[] = [];
  const subscriber = new Subscriber({
    name: 'sub',
    node: 'here',
    mailboxId: 'box',
    incarnation: '0-00',
    handler: ({ payload }) => void seen.push(payload),
    retry: defaultRetry,
    outage: false,
    limits: { messages: 10, bytes: 1000, age: Number.POSITIVE_INFINITY, overflow: 'block', deadLetters: false },
    filters: new FilterChain(),
    latestOnly: false,
    concurrency: 1,
    timeout: 1000,
    clock,
    log: silentLogger,
    events,
    deadLetters,
    prepare: () => assert.fail('nothing is staged'),
    publishStaged: () => assert.fail('nothing is staged'),
  });
  subscriber.attach({
    wake: () => {
      clock.immediate(() => subscriber.turn());
      return true;
    },
    replace: () => assert.fail('no attempt takes long'),
    fault: (error) => assert.fail(String(error)),
    revive: async () => {},
  });
  const garbage = Uint8Array.of(0xc1, 1, 2);
  for (const bytes of [garbage, encodePayload('good')]) {
    subscriber.offer(new Message('t', undefined, undefined, 'k', 0, 'there', 100, 'origin', 1, bytes, decodePayload));
  }
  await clock.advance(60_000);
  assert.deepEqual(seen, ['good'], 'what follows it runs on');
  const [letter] = await deadLetters.list();
  assert.equal(letter?.reason, 'payload');
  assert.equal(letter?.attempts, 1);
  assert.deepEqual(letter?.payload, garbage);
  assert.equal(letter?.source, 'there');
  assert.equal(deaths.length, 1);
});

test('the numbers of a subscription: rate is what was handled in the last second', async (t) => {
  const w = await world(t);
  const sub = await w.bus.subscribe('t', () => {});
  assert.deepEqual(sub.stats(), {
    waiting: 0,
    bytes: 0,
    running: 0,
    abandoned: 0,
    handled: 0,
    failed: 0,
    dead: 0,
    dropped: 0,
    expired: 0,
    filtered: 0,
    refused: 0,
    rate: 0,
    probing: false,
  });
  for (let i = 0; i < 20; i++) {
    await emitAll(w, 't', 1, 2, 3, 4, 5);
    await w.clock.advance(100);
  }
  assert.equal(sub.stats().handled, 100);
  assert.equal(sub.stats().rate, 50);
  await w.clock.advance(5000);
  assert.equal(sub.stats().rate, 0);
});
