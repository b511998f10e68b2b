import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bus } from '../../src/bus/bus.ts';
import type { WatchEvent, WatchTarget } from '../../src/bus/watching/watching.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

/** What a watch tells, in short. */
function watch(bus: Bus, target: WatchTarget): { told: string[]; end: () => void } {
  const told: string[] = [];
  const end = bus.watch(target, (event: WatchEvent) => {
    if ('placement' in event)
      told.push(`${event.state} ${event.instances.map(({ node, state }) => `${node}:${state}`).join(' ')}`.trim());
    else if ('subscription' in event) told.push(`${event.state} ${event.nodes.join(' ')}`.trim());
    else told.push(event.state);
  });
  return { told, end };
}

async function world(): Promise<DurableWorld> {
  const all = new DurableWorld();
  await all.start('lead');
  for (const node of ['a', 'b']) await all.start(node, { stored: false });
  return all;
}

describe('watching a node', () => {
  test('tells at once how it is, also when it is gone already, and then every change until it is ended', async () => {
    const all = await world();
    const [of, gone, own] = [
      watch(all.bus('a'), { node: 'b' }),
      watch(all.bus('a'), { node: 'nobody' }),
      watch(all.bus('a'), { node: 'a' }),
    ];
    assert.deepEqual(of.told, [], 'not before watch() has returned');
    await all.clock.advance(0);
    assert.deepEqual([of.told, gone.told, own.told], [['alive'], ['absent'], ['alive']]);
    all.cut('b');
    await all.clock.advance(5_000);
    assert.deepEqual(of.told, ['alive', 'suspect']);
    await all.clock.advance(15_000);
    assert.deepEqual(of.told, ['alive', 'suspect', 'down']);
    const late = watch(all.bus('a'), { node: 'b' });
    await all.clock.advance(0);
    assert.deepEqual(late.told, ['down']);
    all.heal('b');
    await all.clock.advance(5_000);
    await all.until(all.bus('b').close());
    await all.clock.advance(10);
    assert.deepEqual(of.told, ['alive', 'suspect', 'down', 'alive', 'left']);
    of.end();
    await all.start('b', { stored: false });
    await all.clock.advance(10);
    assert.equal(of.told.length, 5);
    assert.deepEqual(late.told.at(-1), 'alive');
    await all.close();
  });

  test('misses nothing across a restart of the leader: who died meanwhile is told of', async () => {
    const all = await world();
    const { told } = watch(all.bus('a'), { node: 'b' });
    const leader = watch(all.bus('a'), { node: 'lead' });
    await all.clock.advance(10);
    await all.die('lead');
    await all.die('b');
    await all.clock.advance(2_000);
    await all.start('lead');
    await all.clock.advance(30_000);
    assert.deepEqual(told, ['alive', 'suspect', 'down']);
    assert.deepEqual(leader.told, ['alive', 'suspect', 'down', 'alive'], 'another life of it');
    await all.close();
  });

  test('a node that was started anew in an instant is told of as gone and back', async () => {
    const all = await world();
    const { told } = watch(all.bus('a'), { node: 'b' });
    await all.clock.advance(10);
    await all.die('b');
    await all.start('b', { stored: false });
    await all.clock.advance(1_000);
    assert.deepEqual(
      told.filter((state) => state !== 'suspect'),
      ['alive', 'down', 'alive'],
    );
    await all.close();
  });
});

test('watching a placement tells of its instances, of its moves and of its end, on every node', async () => {
  const all = await world();
  for (const node of ['a', 'b']) all.bus(node).handlers.define('k', () => ({}));
  const before = watch(all.bus('b'), { placement: 'p' });
  const placement = await all.until(all.bus('a').spawn('k', { name: 'p' }));
  await all.clock.advance(10);
  assert.deepEqual(before.told, ['gone', 'pending a:starting', 'running a:running']);
  await all.until(all.bus('a').close());
  await all.clock.advance(10);
  assert.deepEqual(before.told.slice(3), ['pending a:stopping', 'pending', 'pending b:starting', 'running b:running']);
  await assert.rejects(all.until(placement.stop()), refusal('CLOSED'));
  await all.until(all.bus('lead').placements.get('p')?.stop() ?? assert.fail());
  await all.clock.advance(10);
  assert.equal(before.told.at(-1), 'gone');
  await all.close();
});

test('watching a subscription tells where it is: the home of a durable one, every node of one in memory', async () => {
  const all = await world();
  const memory = watch(all.bus('a'), { subscription: 's' });
  const durable = watch(all.bus('a'), { subscription: 'd' });
  const full = watch(all.bus('a'), { subscription: 'test/d' });
  const sub = await all.until(all.bus('b').subscribe('t', () => {}, { name: 's' }));
  await all.until(all.bus('a').subscribe('t', () => {}, { name: 's' }));
  await all.until(all.bus('b').subscribe('t', null, { name: 'd', durable: true }));
  await all.until(sub.close());
  await all.until(all.bus('b').unsubscribe('d'));
  await all.clock.advance(10);
  assert.deepEqual(memory.told, ['absent', 'present b', 'present a b', 'present a']);
  assert.deepEqual(durable.told, ['absent', 'present lead', 'absent']);
  assert.deepEqual(full.told, durable.told);
  await all.close();
});

test('what makes no sense is refused', async () => {
  const all = await world();
  const bus = all.bus('a');
  const nothing = (): void => {};
  assert.throws(() => bus.watch({} as WatchTarget, nothing), refusal('OPTION_INVALID', 'one of'));
  assert.throws(
    () => bus.watch({ node: 'a', placement: 'b' } as WatchTarget, nothing),
    refusal('OPTION_INVALID', 'one of'),
  );
  assert.throws(() => bus.watch({ node: 'no such name' }, nothing), refusal('NAME_INVALID', 'no such name'));
  assert.throws(() => bus.watch({ node: 'a' }, 'listener' as never), refusal('OPTION_INVALID', 'listener'));
  await all.close();
});

test('members that come and go are messages on $sys.node topics, for subscriptions that ask for them by name', async () => {
  const all = await world();
  const got: string[] = [];
  const everything: string[] = [];
  const note = ({ topic, payload }: { topic: string; payload: unknown }): void => {
    got.push(`${topic} ${(payload as { node: string }).node}`);
  };
  await all.until(all.bus('a').subscribe('\\$sys\\.node\\..*', note));
  await all.until(all.bus('a').subscribe('.*', ({ topic }) => void everything.push(topic)));
  all.cut('b');
  await all.clock.advance(20_000);
  all.heal('b');
  await all.clock.advance(5_000);
  await all.until(all.bus('b').close());
  await all.clock.advance(10);
  assert.deepEqual(got, ['$sys.node.suspect b', '$sys.node.down b', '$sys.node.joined b', '$sys.node.left b']);
  assert.deepEqual(everything, []);
  await all.close();
});
