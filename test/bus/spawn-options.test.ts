import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import type { SpawnOptions } from '../../src/bus/options/spawn-options.ts';
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

  test('is handed its arguments, and none where none were given', async (t) => {
    const w = await world(t);
    const handed: unknown[] = [];
    w.bus.handlers.define('idle', ({ args }) => {
      handed.push(args);
      return {};
    });
    await resolved(w.clock, w.bus.spawn('idle', { args: { file: 'x', n: 1n } }));
    await resolved(w.clock, w.bus.spawn('idle'));
    assert.deepEqual(handed, [{ file: 'x', n: 1n }, undefined]);
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

describe('what spawn() and capabilities may be', () => {
  const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i}`);
  const named = (count: number): Record<string, boolean> => Object.fromEntries(many(count).map((name) => [name, true]));

  test('a wrong value is refused, with the value and the way out', async (t) => {
    const { bus } = await world(t);
    bus.handlers.define('idle', () => ({}));
    const wrong: readonly [object, ...string[]][] = [
      [{ instances: 0 }, 'instances 0', 'from 1 to 1000'],
      [{ instances: 1001 }, 'instances 1001'],
      [{ pinned: [] }, 'pinned', '1 to 1,000 nodes'],
      [{ pinned: many(1001) }, 'pinned', '1 to 1,000 nodes'],
      [{ wait: 0 }, 'wait 0', 'from 1 to 86400000'],
      [{ restart: 'no' }, 'restart "no"'],
      [{ pending: 1 }, 'pending 1'],
      [{ failover: 'manual' }, "'failover' goes only with singleton"],
      [{ singleton: true, failover: 'never' }, 'failover "never"'],
      [{ concurrency: 2 }, "'concurrency' goes only with a pattern"],
      [{ where: named(65) }, 'where: 65 conditions', 'at most 64'],
      [{ where: { region: 'x'.repeat(257) } }, 'where.region', '256'],
      [{ where: { region: { in: many(65) } } }, 'where.region.in', '64'],
      [{ where: { gpu: { gte: '2' } } }, 'where.gpu.gte "2"'],
      [{ instnaces: 2 }, "'instances'"],
    ];
    for (const [options, ...texts] of wrong)
      await assert.rejects(bus.spawn('idle', options), refusal('OPTION_INVALID', ...texts));
  });

  test('arguments and settings have at most 64 KiB, encoded', async (t) => {
    const { bus, clock } = await world(t);
    bus.handlers.define('idle', () => ({ onTell: () => undefined }));
    const [fits, large] = [new Uint8Array(65_536 - 5), new Uint8Array(65_536 - 2)];
    const placement = await resolved(clock, bus.spawn('idle', { name: 'one', args: fits }));
    await assert.rejects(bus.spawn('idle', { args: large }), refusal('PAYLOAD_TOO_LARGE', 'args', '65536'));
    await resolved(clock, placement.tell(fits));
    await assert.rejects(placement.tell(large), refusal('PAYLOAD_TOO_LARGE', 'tell()', '65536'));
  });

  test('a node has at most 64 capabilities, with texts of at most 256 characters', async (t) => {
    const { bus } = await world(t, { capabilities: { ...named(63), text: 'x'.repeat(256) } });
    const [own] = await bus.placements.nodes();
    assert.equal(Object.keys(own?.capabilities ?? {}).length, 64);
    for (const [capabilities, ...texts] of [
      [named(65), '65', 'at most 64'],
      [{ text: 'x'.repeat(257) }, 'capabilities.text', '256'],
    ] as const) {
      await assert.rejects(world(t, { capabilities }), refusal('OPTION_INVALID', ...texts));
    }
  });
});
