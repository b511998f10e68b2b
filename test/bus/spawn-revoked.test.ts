import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from '../core/testbed.ts';
import { DurableWorld } from './durable-world.ts';

// The only node that still knows of spawns that were given up comes back to a leader that has never heard of them.

for (const { what, wait, away, code } of [
  { what: 'before the leader has settled', wait: 2_000, away: 5_000, code: 'TIMEOUT' },
  { what: 'after the leader has settled', wait: 2_000, away: 12_000, code: 'TIMEOUT' },
  { what: 'after the new leader has refused them', wait: 20_000, away: 12_000, code: 'UNPLACEABLE' },
] as const) {
  test(`spawns that were given up are taken back when their host comes back ${what}`, async () => {
    const world = new DurableWorld({ storeDelay: 50 });
    await world.start('lead');
    await world.start('a', { stored: false });
    const worker = await world.start('b', { stored: false });
    const alive = new Set<string>();
    worker.handlers.define('k', ({ placement, signal }) => {
      signal.addEventListener('abort', () => alive.delete(placement));
      return { onStart: () => void alive.add(placement) };
    });
    await world.clock.advance(100);
    const names = ['x', 'y', 'z'];
    const refused = Promise.all(
      names.map((name) => assert.rejects(world.bus('a').spawn('k', { name, wait }), refusal(code, ''))),
    );
    await world.clock.advance(1);
    world.cut('a'); // the leader has heard it, and tells only the other one
    while (alive.size < names.length) await world.clock.advance(1);
    await world.die('lead');
    await world.start('lead');
    world.heal('a');
    world.cut('b');
    await world.clock.advance(away);
    await world.until(refused);
    assert.deepEqual([...alive], names);
    world.heal('b');
    await world.clock.advance(20_000);
    assert.deepEqual([...alive], []);
    assert.deepEqual(world.bus('lead').placements.list(), []);
    await world.close();
  });
}
