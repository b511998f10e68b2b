import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBus } from '../../src/bus/bus.ts';
import type { BusEvent } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { tempFolder } from '../storage/disk.ts';

/** Longer: MAILVAN_RUNS=2000 for as many times the work. */
const share = Number(process.env.MAILVAN_RUNS ?? 100) / 100;

test('a store that is opened fifty times keeps what was published, until it was handled, and no longer', async (t) => {
  const dataDir = tempFolder(t);
  const seed = Number(process.env.MAILVAN_SEED ?? 1);
  const dice = new VirtualClock(seed);
  const roll = (sides: number): number => Math.floor(dice.random() * sides);
  const waiting = new Set<number>();
  const twice: number[] = [];
  let next = 0;
  for (let round = 0; round < Math.max(10, 50 * share); round++) {
    const events: BusEvent[] = [];
    await using bus = await createBus({ dataDir, logger: silentLogger, durability: roll(4) === 0 ? 'fsync' : 'os' });
    bus.on('*', (event) => events.push(event));
    const handling = roll(3) > 0;
    const done = new Set<number>();
    const sub = await bus.subscribe(
      'in',
      handling
        ? async ({ payload }, { attempt }) => {
            const n = Number(payload);
            if (n % 5 === 0 && attempt === 1) throw new Error('once more');
            if (!waiting.delete(n)) twice.push(n);
            done.add(n);
          }
        : null,
      { name: 'work', durable: true, retry: { delay: 1, jitter: 0 } },
    );
    for (let i = 0; i < 1 + roll(5); i++) {
      const many = Array.from({ length: roll(100) }, () => ({ topic: 'in', payload: next++ }));
      for (const { payload } of many) waiting.add(payload);
      const published = bus.publishMany(many);
      if (roll(2) === 0) await published;
      else {
        for (const { id } of await published) assert.notEqual(id, '');
      }
    }
    if (handling && roll(2) === 0) {
      await bus.drain();
      assert.equal(waiting.size, 0, `round ${round}: ${[...waiting].slice(0, 5)}`);
    }
    const { waiting: size, running } = sub.stats();
    if (!handling) assert.equal(size + running, waiting.size, `round ${round}`);
    await bus.close();
    assert.deepEqual(
      events.filter(({ type }) => type.startsWith('store.') || type === 'message.dead'),
      [],
    );
  }
  await using bus = await createBus({ dataDir, logger: silentLogger });
  await bus.subscribe('in', ({ payload }) => void (waiting.delete(Number(payload)) || twice.push(Number(payload))), {
    name: 'work',
    durable: true,
  });
  await bus.drain();
  assert.deepEqual([...waiting], []);
  assert.deepEqual(twice, [], 'after a close in order nothing comes twice');
});

test('two that declare one durable name at the same time get one mailbox', async (t) => {
  await using bus = await createBus({ dataDir: tempFolder(t), logger: silentLogger });
  let handled = 0;
  const subscribe = () => bus.subscribe('in', () => void handled++, { name: 'work', durable: true });
  await Promise.all([subscribe(), subscribe(), subscribe()]);
  const receipt = await bus.publish('in', 1);
  await bus.drain();
  assert.equal(receipt.matched, 1);
  assert.equal(handled, 1);
});

for (const durability of ['fsync', 'os'] as const) {
  test(`a process that is killed at any moment loses nothing that has a receipt: ${durability}`, async (t) => {
    const folder = tempFolder(t);
    const rounds = Math.max(2, Math.round(3 * share));
    for (let round = 0; round < rounds; round++) {
      const file = fileURLToPath(new URL('./durable-child.ts', import.meta.url));
      const args = ['--import', 'tsx', file, folder, String(round * 1_000_000), durability];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      t.after(() => child.kill('SIGKILL'));
      await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
      assert.equal(child.exitCode, null, 'it runs');
      await new Promise((done) => setTimeout(done, 20 + Math.random() * 400));
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    const numbers = (name: string): number[] =>
      readFileSync(`${folder}/${name}`, 'utf8').split('\n').slice(0, -1).map(Number);
    const receipts = numbers('receipts');
    const handled = new Set(numbers('handled'));
    assert.ok(receipts.length > 0, 'something was published');
    const events: BusEvent[] = [];
    const rest = new Set<number>();
    const results: number[] = [];
    const bus = await createBus({ dataDir: `${folder}/data`, logger: silentLogger });
    bus.on('*', (event) => events.push(event));
    const attempts: number[] = [];
    await bus.subscribe(
      'in',
      ({ payload }, { attempt }) => {
        assert.ok(!rest.has(Number(payload)), `${payload} comes twice`);
        rest.add(Number(payload));
        attempts.push(attempt);
      },
      { name: 'work', durable: true, concurrency: 10 },
    );
    await bus.subscribe('out', ({ payload }) => void results.push(Number(payload)), { name: 'results', durable: true });
    await bus.drain();
    await bus.close();
    const lost = receipts.filter((n) => !handled.has(n) && !rest.has(n));
    assert.deepEqual(lost, [], `${lost.length} of ${receipts.length} are lost`);
    assert.deepEqual(
      events.filter(({ type }) => type === 'store.gap' || type === 'message.dead'),
      [],
    );
    // A step is there as a whole or not at all: its output exactly when its input has gone.
    assert.equal(new Set(results).size, results.length, 'an output is there twice');
    const out = new Set(results);
    for (const n of receipts) {
      if (n % 3 === 0)
        assert.equal(out.has(n), !rest.has(n), `${n}: its output is ${out.has(n)}, it waits: ${rest.has(n)}`);
    }
  });
}
