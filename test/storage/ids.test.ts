import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RecentIds } from '../../src/storage/ids.ts';

const runs = Math.min(2000, Number(process.env.MAILVAN_RUNS ?? 100));

test('knows every id that it was told, and no other', () => {
  const id = fc.oneof(
    fc.record({ origin: fc.constantFrom('o', 'p', 'o.1'), number: fc.integer({ min: 1, max: 40 }) }),
    fc.record({
      origin: fc.constantFrom('x', 'y.z', 'o.5', 'o', 'p.x', 'q.', 'r.0x10', 's.1e1', 't.01'),
      number: fc.constant(0),
    }),
  );
  const name = ({ origin, number }: { origin: string; number: number }): string =>
    number === 0 ? origin : `${origin}.${number}`;
  fc.assert(
    fc.property(fc.array(fc.tuple(id, fc.integer({ min: 1, max: 5 }))), fc.array(id), (given, asked) => {
      const ids = new RecentIds(0);
      const known = new Set<string>();
      for (const [each, count] of given) {
        if (each.number === 0) {
          ids.id(each.origin);
          known.add(each.origin);
        } else {
          ids.run(each.origin, each.number, count);
          for (let i = 0; i < count; i++) known.add(name({ ...each, number: each.number + i }));
        }
      }
      for (const each of [...asked.map(name), 'o.01', 'o.1e0', 'o.0x1', 'o. 1', 'p.', '', '.', 'o.1.0']) {
        assert.equal(ids.has(each), known.has(each), each);
      }
    }),
    { numRuns: runs },
  );
});

test('remembers two minutes or 100,000 ids at least, whichever ends first, and forgets afterwards', () => {
  for (const rate of [100, 2000]) {
    const ids = new RecentIds(0);
    let number = 0;
    const entered: number[] = [];
    for (let second = 0; second < 400; second++) {
      const now = second * 1000;
      ids.roll(now);
      ids.run('o', number + 1, rate);
      number += rate;
      entered.push(number);
      const twoMinutes = entered[Math.max(0, second - 119)] ?? 0;
      const must = Math.max(twoMinutes, number - 100_000) + 1;
      assert.ok(ids.has(`o.${Math.min(number, must)}`), `${must} of ${number} at ${second}s`);
      assert.ok(ids.has(`o.${number}`));
    }
    assert.ok(!ids.has('o.1'));
    assert.ok(!ids.has(`o.${number - 400_000}`));
  }
});

test('explicit ids are forgotten too, so memory is bounded', () => {
  const ids = new RecentIds(0);
  for (let i = 0; i < 350_000; i++) {
    if (i % 1000 === 0) ids.roll(i / 1000);
    ids.id(`id-${i}`);
  }
  assert.ok(ids.has('id-349999') && ids.has('id-250000'));
  assert.ok(!ids.has('id-100000'));
});
