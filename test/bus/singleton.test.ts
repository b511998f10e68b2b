import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Message } from '../../src/core/message.ts';
import type { ActorContext } from '../../src/hosting/kinds.ts';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

/** A leader with a store, two nodes that can run the singleton, and what it has done there. */
async function world(options: { manual?: boolean } = {}) {
  const all = new DurableWorld();
  await all.start('lead');
  /** Who runs it: node and generation. */
  const alive = new Set<string>();
  const handled: string[] = [];
  const outputs: string[] = [];
  /** Set to keep a message in the handler until it is resolved. */
  const gates: (() => void)[] = [];
  let gated = false;
  const kind = (context: ActorContext) => {
    const me = `${context.node}.${context.generation}`;
    context.signal.addEventListener('abort', () => alive.delete(me));
    return {
      onStart: () => void alive.add(me),
      onStop: () => void alive.delete(me),
      onMessage: async ({ payload }: Message, given: { publish(topic: string, payload: unknown): Promise<void> }) => {
        if (gated) await new Promise<void>((open) => gates.push(open));
        await given.publish('out', `${me} ${String(payload)}`);
        handled.push(`${me} ${String(payload)}`);
      },
    };
  };
  for (const node of ['a', 'b']) (await all.start(node, { stored: false })).handlers.define('only', kind);
  await all.durable('lead', 'out', ({ payload }) => void outputs.push(String(payload)), { pattern: 'out' });
  const failover = options.manual === true ? ({ failover: 'manual' } as const) : {};
  const placement = await all.until(
    all.bus('a').spawn('only', { name: 'one', pattern: 'in', singleton: true, durable: true, ...failover }),
  );
  const where = (): string[] =>
    (all.bus('lead').placements.get('one')?.info?.instances ?? []).map(
      ({ node, generation, state }) => `${node}.${generation} ${state}`,
    );
  return { all, alive, handled, outputs, gates, where, placement, gate: (on: boolean) => (gated = on) };
}

describe('a singleton', () => {
  test('that is cut off from the leader stops itself before it is placed elsewhere, and never runs twice', async () => {
    const { all, alive, where } = await world();
    assert.deepEqual([where(), [...alive]], [['a.1 running'], ['a.1']]);
    all.cut('a');
    await all.clock.advance(14_000);
    assert.deepEqual([...alive], ['a.1']);
    await all.clock.advance(4_000); // 15 s after it had last heard the leader
    assert.deepEqual([where(), [...alive]], [['a.1 running'], []]);
    await all.clock.advance(5_000); // 20 s after the leader had last heard it
    assert.deepEqual([where(), [...alive]], [['b.2 running'], ['b.2']]);
    all.heal('a');
    await all.clock.advance(10_000);
    assert.deepEqual([where(), [...alive]], [['b.2 running'], ['b.2']]);
    await all.close();
  });

  test('stays where it is when the leader is back in time, and starts again when it had stopped itself', async () => {
    const { all, alive, where } = await world();
    await all.die('lead');
    await all.clock.advance(8_000);
    await all.start('lead');
    await all.clock.advance(15_000);
    assert.deepEqual([where(), [...alive]], [['a.1 running'], ['a.1']]);
    await all.die('lead');
    await all.clock.advance(30_000);
    assert.deepEqual([...alive], []);
    await all.start('lead');
    await all.clock.advance(30_000);
    assert.equal(where().length, 1);
    assert.equal(alive.size, 1);
    assert.match(where()[0] ?? '', /^[ab]\.2 running$/);
    await all.close();
  });

  test('whose failover is manual waits for an operator', async () => {
    const { all, alive, where } = await world({ manual: true });
    all.cut('a');
    await all.clock.advance(60_000);
    assert.deepEqual([where(), [...alive]], [['a.1 running'], ['a.1']]);
    await all.until(all.bus('b').placements.rebalance({ lost: true }));
    assert.deepEqual([where(), [...alive]], [['b.2 running'], ['a.1', 'b.2']]);
    all.heal('a');
    await all.clock.advance(5_000);
    assert.deepEqual([...alive], ['b.2']);
    await all.close();
  });

  test('whose place was taken settles nothing any more, and what it has staged goes with that', async () => {
    const { all, gates, handled, outputs, where, gate } = await world({ manual: true });
    gate(true);
    await all.until(all.bus('lead').publish('in', 'x'));
    await all.when(() => gates.length === 1);
    all.cut('a');
    await all.clock.advance(16_000);
    gate(false);
    await all.until(all.bus('b').placements.rebalance({ lost: true }));
    await all.when(() => outputs.length === 1);
    assert.deepEqual([where(), handled], [['b.2 running'], ['b.2 x']]);
    all.heal('a');
    gates[0]?.();
    await all.clock.advance(20_000);
    assert.deepEqual(outputs, ['b.2 x']);
    await all.close();
  });

  test('on the home of its mailbox loses what it holds as soon as the home hears of its successor', async () => {
    const all = new DurableWorld();
    await all.start('lead');
    const handled: string[] = [];
    let hold = true;
    const gates: (() => void)[] = [];
    for (const node of ['a', 'b']) {
      const bus = await all.start(node, { stored: node === 'a' });
      bus.handlers.define('only', (context) => ({
        onMessage: async () => {
          if (hold) await new Promise<void>((open) => gates.push(open));
          handled.push(context.node);
        },
      }));
    }
    const given = { name: 'one', pattern: 'in', singleton: true, durable: true, failover: 'manual' } as const;
    await all.until(all.bus('a').spawn('only', given));
    await all.until(all.bus('a').publish('in', 'x'));
    await all.when(() => gates.length === 1);
    all.cut('a');
    await all.clock.advance(16_000);
    await all.until(all.bus('lead').placements.rebalance({ lost: true }));
    hold = false;
    all.heal('a');
    await all.when(() => handled.length === 1);
    gates[0]?.();
    await all.clock.advance(5_000);
    const [mailbox] = await all.until(all.bus('a').mailboxes.list());
    assert.deepEqual([handled, mailbox?.waiting], [['b', 'a'], 0]);
    assert.equal((await all.until(all.bus('a').status())).mailboxes[0]?.handled, 1, 'the late one did not count');
    await all.close();
  });

  test('is refused two instances, and a failover without being one', async () => {
    const all = new DurableWorld();
    const bus = await all.start('lead');
    bus.handlers.define('k', () => ({}));
    await assert.rejects(bus.spawn('k', { singleton: true, instances: 2 }), refusal('OPTION_INVALID', 'singleton'));
    await assert.rejects(bus.spawn('k', { failover: 'manual' }), refusal('OPTION_INVALID', 'failover'));
    await all.close();
  });
});
