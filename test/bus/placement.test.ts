import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { Placement } from '../../src/bus/placement/placement.ts';
import { BusError } from '../../src/core/errors.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { ActorContext, HandlerActor } from '../../src/hosting/kinds.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

/** What instances have done, in order: `<what> <node>/<instance>.<generation>`. */
class Diary {
  readonly lines: string[] = [];

  /** A kind that notes what happens to it. */
  kind(more: (context: ActorContext) => HandlerActor = () => ({})) {
    return (context: ActorContext): HandlerActor => {
      const { node, instance, generation } = context;
      const note = (what: string): void => void this.lines.push(`${what} ${node}/${instance}.${generation}`);
      const own = more(context);
      return {
        onStart: async () => {
          note('start');
          await own.onStart?.();
        },
        onMessage: (message, given) => {
          note(`message ${String(message.payload)}`);
          return own.onMessage?.(message, given);
        },
        onTell: (value) => {
          note(`tell ${String(value)}`);
          return own.onTell?.(value);
        },
        onStop: async () => {
          note('stop');
          await own.onStop?.();
        },
      };
    };
  }

  take(): string[] {
    return this.lines.splice(0);
  }
}

function nodesOf(placement: Placement | undefined): string[] {
  return (placement?.info?.instances ?? []).map(({ node, state }) =>
    state === 'running' ? node : `${node}: ${state}`,
  );
}

describe('a bus that stands alone', () => {
  test('runs a handler actor from onStart over messages and tells to onStop', async () => {
    await using bus = await createBus({ logger: silentLogger });
    const diary = new Diary();
    bus.handlers.define('writer', diary.kind());
    const placement = await bus.spawn('writer', { name: 'w', pattern: 'a\\..*', args: { file: 'x' } });
    await bus.publish('a.b', 1);
    await bus.drain();
    await placement.tell('louder');
    await bus.publish('a.c', 2);
    await bus.drain();
    await placement.stop();
    assert.equal((await bus.publish('a.d', 3)).matched, 0);
    const { node } = bus;
    assert.deepEqual(
      diary.take(),
      ['start', 'message 1', 'tell louder', 'message 2', 'stop'].map((what) => `${what} ${node}/0.1`),
    );
    assert.equal(placement.info, undefined);
    assert.deepEqual(bus.placements.list(), []);
    await placement.stop(); // twice is harmless
  });

  test('refuses a kind that it does not define, saying so, and leaves nothing behind', async () => {
    await using bus = await createBus({ logger: silentLogger });
    bus.handlers.define('reader', () => ({}));
    const error = await bus.spawn('writer', { name: 'w' }).then(
      () => assert.fail('it was placed'),
      (thrown: unknown) => thrown as BusError,
    );
    assert.equal(error.code, 'UNPLACEABLE');
    assert.match(error.reasons?.[bus.node] ?? '', /does not define the kind 'writer' \(it defines reader\)/);
    assert.match(error.message, new RegExp(bus.node));
    assert.deepEqual(bus.placements.list(), []);
  });

  test('fails a spawn whose onStart throws, and leaves nothing behind', async () => {
    await using bus = await createBus({ logger: silentLogger });
    bus.handlers.define('broken', () => ({
      onStart: () => {
        throw new Error('no disk');
      },
    }));
    await assert.rejects(bus.spawn('broken', { name: 'b' }), refusal('UNPLACEABLE', 'no disk'));
    assert.deepEqual(bus.placements.list(), []);
  });

  test('starts a failed instance again, as a fresh one, with what it was told, and not when it is told not to', async () => {
    const world = new DurableWorld();
    const bus = await world.open({ node: 'one' });
    const made: number[] = [];
    const told: unknown[] = [];
    const contexts: ActorContext[] = [];
    bus.handlers.define('counter', (context) => {
      let count = 0;
      contexts.push(context);
      return {
        onMessage: () => void made.push(++count),
        onTell: (value) => void told.push(value),
      };
    });
    const placement = await world.until(bus.spawn('counter', { name: 'c', pattern: 'c' }));
    await world.until(placement.tell('settings'));
    await world.until(bus.publish('c', 0));
    await world.until(bus.publish('c', 0));
    await world.until(bus.drain());
    contexts[0]?.fail(new Error('confused'));
    assert.equal(contexts[0]?.signal.aborted, true);
    await world.until(bus.publish('c', 0)); // it waits for the next one
    await world.until(bus.drain());
    assert.deepEqual(made, [1, 2, 1]);
    assert.deepEqual(told, ['settings', 'settings']);
    assert.deepEqual(nodesOf(placement), ['one']);
    const once = await world.until(bus.spawn('counter', { name: 'o', pattern: 'o', restart: false }));
    contexts.at(-1)?.fail(new Error('confused'));
    await world.clock.advance(60_000);
    assert.deepEqual(nodesOf(once), ['one: failed']);
    assert.match(once.info?.instances[0]?.error ?? '', /confused/);
    await world.close();
  });

  test('gives up an instance that fails more than 10 times in 10 seconds', async () => {
    const world = new DurableWorld();
    const bus = await world.open({ node: 'one' });
    let starts = 0;
    bus.handlers.define('flaky', (context) => ({
      onStart: () => {
        if (++starts > 1) throw new Error('again');
        setImmediate(() => undefined);
        world.clock.timer(10, () => context.fail(new Error('first')));
      },
    }));
    const placement = await world.until(bus.spawn('flaky', { name: 'f' }));
    await world.clock.advance(60_000);
    assert.equal(starts, 11);
    assert.match(placement.info?.instances[0]?.error ?? '', /again: it is not started again/);
    await world.close();
  });
});

/** A leader and three nodes that can write, in different regions. */
async function cluster(options: { stored?: boolean } = {}): Promise<{ world: DurableWorld; diary: Diary }> {
  const world = new DurableWorld();
  const diary = new Diary();
  await world.start('lead');
  for (const [node, region] of [
    ['a', 'eu'],
    ['b', 'eu'],
    ['c', 'us'],
  ] as const) {
    const bus = await world.start(node, { stored: options.stored ?? false, capabilities: { writer: true, region } });
    bus.handlers.define('writer', diary.kind());
  }
  return { world, diary };
}

describe('a cluster', () => {
  test('places where the capabilities are, and tells why not elsewhere', async () => {
    const { world } = await cluster();
    const bus = world.bus('a');
    const placement = await world.until(bus.spawn('writer', { name: 'w', where: { region: 'us' } }));
    assert.deepEqual(nodesOf(placement), ['c']);
    const verdicts = await world.until(bus.explainPlacement('writer', { where: { region: 'us' } }));
    assert.deepEqual(
      verdicts.map(({ node, fits, reason }) => [node, fits, reason]),
      [
        ['lead', false, "it does not define the kind 'writer' (it defines none)"],
        ['a', false, "its 'region' is 'eu', wanted is 'us'"],
        ['b', false, "its 'region' is 'eu', wanted is 'us'"],
        ['c', true, undefined],
      ],
    );
    await assert.rejects(
      world.until(bus.spawn('writer', { where: { region: 'asia' } })),
      (error: unknown) =>
        error instanceof BusError && error.code === 'UNPLACEABLE' && Object.keys(error.reasons ?? {}).length === 4,
    );
    await world.close();
  });

  test('finds a name from every node, and takes the same request twice for one', async () => {
    const { world } = await cluster();
    const [one, two] = await world.until(
      Promise.all([world.bus('a').spawn('writer', { name: 'w' }), world.bus('b').spawn('writer', { name: 'w' })]),
    );
    assert.deepEqual(one.info, two.info);
    await world.clock.advance(10);
    assert.deepEqual(nodesOf(world.bus('c').placements.get('w')), nodesOf(one));
    await assert.rejects(
      world.until(world.bus('c').spawn('writer', { name: 'w', args: 1 })),
      refusal('NAME_TAKEN', 'args'),
    );
    await world.close();
  });

  test('starts elsewhere what ran on a node that is down, and gives nothing back before rebalance()', async () => {
    const { world, diary } = await cluster();
    const bus = world.bus('a');
    const placement = await world.until(bus.spawn('writer', { name: 'w', instances: 3, spread: 'node' }));
    assert.deepEqual(nodesOf(placement), ['a', 'b', 'c']);
    const other = await world.until(bus.spawn('writer', { name: 'v', instances: 3 }));
    assert.deepEqual(nodesOf(other), ['a', 'b', 'c']);
    diary.take();
    await world.die('c');
    await world.clock.advance(14_000);
    assert.deepEqual(nodesOf(other), ['a', 'b', 'c']);
    await world.clock.advance(2000);
    assert.deepEqual(nodesOf(placement), ['a', 'b'], 'spread by node leaves one without a place');
    assert.deepEqual(nodesOf(other), ['a', 'b', 'a']);
    const back = await world.start('c', { stored: false, capabilities: { writer: true, region: 'us' } });
    back.handlers.define('writer', diary.kind());
    await world.clock.advance(1000);
    assert.deepEqual(nodesOf(placement), ['a', 'b', 'c'], 'what had no place has one now');
    assert.deepEqual(nodesOf(other), ['a', 'b', 'a'], 'what runs stays');
    await world.until(bus.placements.rebalance());
    await world.clock.advance(10);
    assert.deepEqual([...nodesOf(other)].sort(), ['a', 'b', 'c']);
    await world.close();
  });

  test('moves what no longer fits, and starts what waited, when capabilities change', async () => {
    const { world, diary } = await cluster();
    const bus = world.bus('a');
    const placement = await world.until(bus.spawn('writer', { name: 'w', where: { region: 'us' } }));
    const waiting = await world.until(bus.spawn('writer', { name: 'p', where: { gpu: { gte: 2 } }, pending: true }));
    assert.deepEqual([nodesOf(placement), nodesOf(waiting)], [['c'], []]);
    diary.take();
    world.bus('b').capabilities = { region: 'us', gpu: 4 };
    await world.clock.advance(100);
    assert.deepEqual([nodesOf(placement), nodesOf(waiting)], [['c'], ['b']]);
    world.bus('c').capabilities = {};
    await world.clock.advance(100);
    assert.deepEqual(nodesOf(placement), ['b']);
    assert.deepEqual(diary.take(), ['start b/0.1', 'stop c/0.1', 'start b/0.2']);
    world.bus('b').capabilities = {};
    await world.clock.advance(100);
    assert.deepEqual([nodesOf(placement), nodesOf(waiting)], [[], []]);
    assert.deepEqual(world.seen('lead', 'placement.pending').at(-1)?.missing, 1);
    await world.close();
  });

  test('hands over what runs on a node that leaves, before it leaves', async () => {
    const { world, diary } = await cluster();
    const placement = await world.until(
      world.bus('a').spawn('writer', { name: 'w', where: { region: 'us' }, pattern: 't' }),
    );
    world.bus('b').capabilities = { region: 'us' };
    await world.clock.advance(100);
    diary.take();
    await world.until(world.bus('c').close());
    await world.clock.advance(10);
    assert.deepEqual(nodesOf(placement), ['b']);
    assert.deepEqual(diary.take(), ['stop c/0.1', 'start b/0.2']);
    await world.close();
  });

  test('moves at most 3 instances at once', async () => {
    const { world } = await cluster();
    const slow = (): HandlerActor => ({
      onStart: () => new Promise<void>((done) => void world.clock.timer(1000, done)),
    });
    for (const node of ['a', 'b', 'c']) world.bus(node).handlers.define('slow', slow);
    const spawned = Array.from({ length: 10 }, (_, i) =>
      world.bus('a').spawn('slow', { name: `s${i}`, where: { region: 'us' } }),
    );
    await world.until(Promise.all(spawned));
    for (const node of ['a', 'b']) world.bus(node).capabilities = { region: 'us' };
    await world.die('c');
    const starting: number[] = [];
    const all = (): string[] =>
      world
        .bus('lead')
        .placements.list()
        .flatMap(({ instances }) => instances.map(({ state }) => state));
    for (let t = 0; t < 30_000; t += 100) {
      await world.clock.advance(100);
      starting.push(all().filter((state) => state === 'starting').length);
    }
    assert.equal(Math.max(...starting), 3);
    assert.deepEqual(
      all(),
      Array.from({ length: 10 }, () => 'running'),
    );
    await world.close();
  });

  test('drains a node on request, until that is undone', async () => {
    const { world } = await cluster();
    const placement = await world.until(world.bus('a').spawn('writer', { name: 'w', instances: 4 }));
    await world.until(world.bus('c').placements.drain('b'));
    await world.clock.advance(100);
    assert.deepEqual([...nodesOf(placement)].sort(), ['a', 'a', 'c', 'c']);
    const verdicts = await world.until(world.bus('c').explainPlacement('writer'));
    assert.equal(verdicts.find(({ node }) => node === 'b')?.reason, 'it is about to leave');
    await world.until(world.bus('c').placements.drain('b', { undo: true }));
    await world.until(world.bus('c').placements.rebalance());
    await world.clock.advance(100);
    assert.equal(new Set(nodesOf(placement)).size, 3);
    await world.close();
  });

  test('rebalances one placement alone when it is named', async () => {
    const { world } = await cluster();
    const bus = world.bus('a');
    await world.until(world.bus('c').placements.drain('c'));
    for (const name of ['v', 'w']) await world.until(bus.spawn('writer', { name, instances: 3 }));
    await world.until(world.bus('c').placements.drain('c', { undo: true }));
    const moved = await world.until(bus.placements.rebalance({ name: 'w' }));
    assert.deepEqual(
      moved.map(({ placement, to }) => [placement, to]),
      [['w', 'c']],
    );
    const rest = await world.until(bus.placements.rebalance());
    assert.deepEqual(
      rest.map(({ placement, to }) => [placement, to]),
      [['v', 'c']],
    );
    await world.close();
  });

  test('tells every instance, and again after a move', async () => {
    const { world, diary } = await cluster();
    const placement = await world.until(world.bus('a').spawn('writer', { name: 'w', instances: 2, spread: 'region' }));
    await world.until(placement.tell('one'));
    await world.until(world.bus('b').placements.get('w')?.tell('two') ?? assert.fail());
    const [first, second] = nodesOf(placement);
    assert.deepEqual(
      diary
        .take()
        .filter((line) => line.startsWith('tell'))
        .sort(),
      [`tell one ${first}/0.1`, `tell one ${second}/1.2`, `tell two ${first}/0.1`, `tell two ${second}/1.2`],
    );
    await world.die('c');
    await world.clock.advance(16_000);
    diary.take();
    const back = await world.start('c', { stored: false, capabilities: { region: 'us' } });
    back.handlers.define('writer', diary.kind());
    await world.clock.advance(100);
    assert.deepEqual(diary.take(), ['start c/1.3', 'tell two c/1.3']);
    await world.close();
  });
});

describe('without a leader', () => {
  test('what has no name runs where its host lives, and what needs another node fails', async () => {
    const { world, diary } = await cluster();
    await world.die('lead');
    await world.clock.advance(4000);
    const bus: Bus = world.bus('a');
    const placement = await world.until(bus.spawn('writer'));
    assert.deepEqual(diary.take(), ['start a/0.1']);
    await assert.rejects(
      world.until(bus.spawn('writer', { where: { region: 'us' } })),
      refusal('UNPLACEABLE', 'leader'),
    );
    await assert.rejects(world.until(bus.spawn('writer', { name: 'w' })), refusal('NO_LEADER'));
    await world.start('lead');
    await world.clock.advance(30_000);
    assert.deepEqual(nodesOf(placement), ['a']);
    assert.deepEqual(nodesOf(world.bus('lead').placements.get(placement.name)), ['a']);
    assert.deepEqual(diary.take(), []);
    await world.until(bus.close());
    await world.clock.advance(100);
    assert.equal(world.bus('lead').placements.get(placement.name), undefined, 'it ends with its node');
    await world.close();
  });
});
