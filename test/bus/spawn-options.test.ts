import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { SpawnOptions } from '../../src/bus/spawn-options.ts';
import { refusal, resolved, world } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';
import { stage } from './stage.ts';

/** A bus that defines the kind 'stuck', which handles nothing to its end, and what has been begun. */
async function stuck(t: TestContext) {
  const w = await world(t);
  const begun: unknown[] = [];
  w.bus.handlers.define('stuck', () => ({
    onMessage: ({ payload }) => {
      begun.push(payload);
      return new Promise(() => {});
    },
  }));
  const spawn = (options: SpawnOptions) =>
    resolved(w.clock, w.bus.spawn('stuck', { name: 'one', pattern: 't', ...options }));
  const emit = async (...payloads: unknown[]): Promise<boolean[]> => {
    const taken: boolean[] = [];
    for (const payload of payloads) {
      taken.push(w.bus.emit('t', payload));
      await w.clock.settle();
    }
    return taken;
  };
  return { ...w, begun, spawn, emit };
}

describe('an actor that is spawned', () => {
  test('handles as many messages at a time as its concurrency says', async (t) => {
    const { begun, spawn, emit } = await stuck(t);
    await spawn({ concurrency: 3 });
    await emit(1, 2, 3, 4, 5);
    assert.deepEqual(begun, [1, 2, 3]);
  });

  test('has as long for an attempt, and as many attempts, as its timeout and its retry say', async (t) => {
    const { bus, clock, spawn, emit } = await stuck(t);
    await spawn({ timeout: 500, retry: { attempts: 1 } });
    await emit(1);
    await clock.advance(499);
    assert.equal((await bus.deadLetters.list()).length, 0);
    await clock.advance(1);
    assert.deepEqual(
      (await bus.deadLetters.list()).map(({ reason, attempts }) => [reason, attempts]),
      [['attempts', 1]],
    );
  });

  test('has the limits of its mailbox', async (t) => {
    const { spawn, emit } = await stuck(t);
    await spawn({ limits: { messages: 1, overflow: 'reject' } });
    assert.deepEqual(await emit(1, 2, 3), [true, true, false]);
  });

  test('keeps the newest message only where it is told to', async (t) => {
    const { bus, spawn, emit } = await stuck(t);
    await spawn({ latestOnly: true });
    await emit(1, 2, 3);
    const [subscription] = (await bus.status()).subscriptions;
    assert.deepEqual([subscription?.waiting, subscription?.dropped], [1, 1]);
  });

  test('has a durable mailbox with the policy that it was spawned with, which changes by update: true', async () => {
    const w = new DurableWorld();
    const bus = await w.start('lead');
    const begun: unknown[] = [];
    bus.handlers.define('stuck', () => ({
      onMessage: ({ payload }) => {
        begun.push(payload);
        return new Promise(() => {});
      },
    }));
    const spawn = (options: SpawnOptions) =>
      w.until(bus.spawn('stuck', { name: 'one', pattern: 't.', durable: true, ...options }));
    const first = await spawn({
      ...{ durability: 'os', retry: { attempts: 3 }, limits: { messages: 7 }, latestOnly: 'topic' },
      ...{ concurrency: 5, credit: 2 },
    });
    const policy = async () => {
      const { durability, retry, limits, latestOnly } = (await bus.mailboxes.stats('one')).policy;
      return [durability, retry.attempts, limits.messages, latestOnly];
    };
    assert.deepEqual(await policy(), ['os', 3, 7, 'topic']);
    assert.equal((await w.until(bus.publish('tx', 1))).level, 'os');
    await w.until(first.stop({ timeout: 0 })).catch(() => undefined);
    await w.clock.advance(30_000);
    begun.length = 0;
    await assert.rejects(spawn({ limits: { messages: 9 } }), refusal('NAME_TAKEN', 'limits.messages is 7'));
    await spawn({ ...{ limits: { messages: 9 }, retry: { attempts: 4 } }, update: true, concurrency: 5, credit: 2 });
    assert.deepEqual(await policy(), ['os', 4, 9, 'topic'], 'what is not given stays');
    for (let n = 0; n < 5; n++) await w.until(bus.publish(`t${n}`, n));
    await w.clock.advance(100);
    assert.equal(begun.length, 2, 'no more than its credit');
    await w.close();
  });
});

test('whoever waits for placements waits as long as the timeout says', async () => {
  const all = await stage('a', 'b');
  let stands = false;
  const still = async (): Promise<void> => {
    if (stands) await new Promise(() => {});
  };
  const kind = () => ({ onStart: still, onTell: still, onStop: still });
  for (const node of ['a', 'b']) all.bus(node).handlers.define('still', kind);
  const bus = all.bus('a');
  const placement = await all.until(bus.spawn('still', { name: 'one', instances: 2 }));
  await all.until(all.bus('b').placements.drain('b'));
  await all.until(all.bus('b').placements.drain('b', { undo: true }));
  stands = true;
  const waits: Record<string, (timeout: number) => Promise<unknown>> = {
    spawn: (wait) => bus.spawn('still', { name: 'two', wait }),
    tell: (timeout) => placement.tell(1, { timeout }),
    rebalance: (timeout) => bus.placements.rebalance({ timeout }),
    drain: (timeout) => bus.placements.drain('a', { timeout }),
    stop: (timeout) => placement.stop({ timeout }),
  };
  for (const [i, [what, wait]] of Object.entries(waits).entries()) {
    const timeout = 300 + 100 * i;
    const start = all.clock.monotonic();
    await assert.rejects(all.until(wait(timeout)), refusal('TIMEOUT'), what);
    const took = all.clock.monotonic() - start;
    assert.ok(took >= timeout && took <= timeout + 20, `${what}: ${took} ms for ${timeout}`);
  }
  await all.close();
});
