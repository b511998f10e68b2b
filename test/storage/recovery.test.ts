import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { Disk } from '../../src/testing/disk.ts';
import { Life, policyOf } from '../actors/durable-bed.ts';

/** Longer: MAILVAN_RUNS=500 for so many random backlogs. */
const runs = Math.max(1, Math.floor(Number(process.env.MAILVAN_RUNS ?? 60) / 20));
type Damage = 'flip' | 'cut' | 'remove';

/** A closed mailbox with segments that are whole, partly and wholly left, and with parked messages. @returns what waits. */
async function backlog(seed: number): Promise<{ disk: Disk; id: string; epoch: number; waiting: Set<number> }> {
  const dice = new VirtualClock(seed);
  const roll = (sides: number): number => Math.floor(dice.random() * sides);
  const disk = new Disk();
  const life = await Life.start(disk, { seed });
  const { mailbox } = await life.mailbox('a/b', policyOf({ retry: { delay: 60_000, maxDelay: 60_000 } }));
  const waiting = new Set<number>();
  let next = 0;
  for (let segment = 0; segment < 4 + roll(8); segment++) {
    for (let i = 0; i < 1 + roll(5); i++) {
      waiting.add(next);
      const delayed = roll(6) === 0 ? { delay: 50_000 } : {};
      life.offer(mailbox, next++, { ...delayed, ...(roll(4) === 0 ? { key: `k${next}` } : {}) });
    }
    await life.clock.advance(5);
  }
  const consumer = life.consume(
    mailbox,
    async ({ payload }) => {
      const what = roll(4);
      if (what === 0) throw new Error('later');
      if (what === 1) await new Promise(() => {});
      waiting.delete(payload as number);
    },
    { concurrency: next, credit: next },
  );
  if (roll(3) > 0) await life.clock.advance(1 + roll(50));
  await life.run(() => consumer.close(0));
  const epoch = await life.close();
  assert.equal(mailbox.size, waiting.size);
  return { disk, id: mailbox.id, epoch, waiting };
}

function damaged(value: Uint8Array, how: Damage, dice: VirtualClock): Uint8Array | undefined {
  if (how === 'remove') return undefined;
  if (how === 'cut') return value.subarray(0, Math.floor(dice.random() * value.length));
  const copy = new Uint8Array(value);
  const bit = Math.floor(dice.random() * value.length * 8);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

interface After {
  readonly delivered: Set<number>;
  readonly gaps: { count: number; reason: string }[];
}

/** Opens it, takes all that is there, puts something new through it, and opens it once more. */
async function takeAll(disk: Disk, epoch: number): Promise<After> {
  const life = await Life.start(disk, { epoch, seed: 5 });
  const { mailbox } = await life.mailbox('a/b');
  const delivered = new Set<number>();
  const consumer = life.consume(mailbox, ({ payload }) => void delivered.add(payload as number), { concurrency: 5 });
  await life.clock.advance(200_000);
  const told = life.offer(mailbox, -1);
  await life.run(() => mailbox.drain(100_000));
  assert.equal(told.told(), 'synced');
  assert.ok(delivered.delete(-1), 'it goes on');
  assert.equal(mailbox.size, 0);
  assert.equal(mailbox.bytes, 0);
  await life.run(() => consumer.close(0));
  const next = await life.close();
  const again = await Life.start(disk, { epoch: next, seed: 6 });
  assert.equal((await again.mailbox('a/b')).mailbox.size, 0);
  await again.close();
  return { delivered, gaps: life.seen('store.gap').map(({ count, reason }) => ({ count, reason })) };
}

test('without damage all that waits is delivered, and no gap is told', async () => {
  for (let seed = 1; seed <= runs * 5; seed++) {
    const { disk, epoch, waiting } = await backlog(seed);
    const { delivered, gaps } = await takeAll(disk, epoch);
    assert.deepEqual([...delivered].sort(), [...waiting].sort(), `seed ${seed}`);
    assert.deepEqual(gaps, [], `seed ${seed}`);
  }
});

for (const prefix of ['sg', 'st', 'pk', 'pl'] as const) {
  for (const how of ['flip', 'cut', 'remove'] as const) {
    test(`one damaged record: ${prefix}, ${how}: what is missing is told, and the rest is delivered`, async () => {
      const problems: string[] = [];
      for (let seed = 1; seed <= runs; seed++) {
        const probe = await backlog(seed);
        for (const key of probe.disk.keys(`${prefix}/`)) {
          const { disk, epoch, waiting } = await backlog(seed);
          const value = disk.values.get(key) as Uint8Array;
          disk.tamper(key, damaged(value, how, new VirtualClock(seed)));
          try {
            const { delivered, gaps } = await takeAll(disk, epoch);
            const missing = [...waiting].filter((n) => !delivered.has(n)).length;
            const told = gaps.reduce((sum, { count }) => sum + count, 0);
            const reasons = gaps.map(({ count, reason }) => `${count}: ${reason}`).join('; ');
            assert.equal(told, missing, `${missing} are missing, told are ${told} (${reasons})`);
            if (missing > 0 || how !== 'remove') assert.ok(gaps.length > 0, 'it is told');
            if (prefix !== 'st') {
              const extra = [...delivered].filter((n) => !waiting.has(n));
              assert.deepEqual(extra, [], 'nothing comes back');
            }
          } catch (error) {
            problems.push(
              `seed ${seed}, ${key.replace(/[0-9a-f]{16}/, '')}: ${(error as Error).message.split('\n')[0]}`,
            );
          }
        }
      }
      assert.deepEqual(problems.slice(0, 8), [], `${problems.length} in all`);
    });
  }
}
