import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Heap } from '../../src/core/heap.ts';
import { Meter } from '../../src/core/meter.ts';
import { Ring } from '../../src/core/ring.ts';

describe('heap', () => {
  test('gives out the least first, whatever the order of pushes and pops', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.integer({ min: -50, max: 50 }), { nil: 'pop' as const })), (steps) => {
        const heap = new Heap<number>((a, b) => a - b);
        const model: number[] = [];
        for (const step of steps) {
          assert.equal(heap.peek(), model[0]);
          if (step === 'pop') {
            assert.equal(heap.pop(), model.shift());
          } else {
            heap.push(step);
            model.push(step);
            model.sort((a, b) => a - b);
          }
          assert.equal(heap.size, model.length);
          assert.deepEqual(
            [...heap].sort((a, b) => a - b),
            model,
          );
        }
        while (model.length > 0) assert.equal(heap.pop(), model.shift());
        assert.equal(heap.pop(), undefined);
      }),
    );
  });

  test('clear() empties it', () => {
    const heap = new Heap<number>((a, b) => a - b);
    for (const n of [3, 1, 2]) heap.push(n);
    heap.clear();
    assert.equal(heap.size, 0);
    assert.equal(heap.peek(), undefined);
    heap.push(5);
    assert.equal(heap.pop(), 5);
  });
});

describe('ring', () => {
  test('behaves as an array does', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('push' as const), times: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ do: fc.constant('unshift' as const), times: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ do: fc.constant('shift' as const), times: fc.integer({ min: 1, max: 40 }) }),
      fc.record({ do: fc.constant('clear' as const), times: fc.constant(1) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const ring = new Ring<number>();
        const model: number[] = [];
        let next = 0;
        for (const { do: what, times } of steps) {
          for (let i = 0; i < times; i++) {
            if (what === 'push') {
              ring.push(next);
              model.push(next++);
            } else if (what === 'unshift') {
              ring.unshift(next);
              model.unshift(next++);
            } else if (what === 'shift') {
              assert.equal(ring.shift(), model.shift());
            } else {
              ring.clear();
              model.length = 0;
            }
          }
          assert.equal(ring.size, model.length);
          assert.equal(ring.peek(), model[0]);
          assert.deepEqual([...ring], model);
          for (const at of [0, 1, model.length - 1, model.length, model.length + 100]) {
            if (at >= 0) assert.equal(ring.at(at), model[at]);
          }
        }
      }),
    );
  });

  test('100,000 in and out, wrapping round, and as new after it was emptied', () => {
    const ring = new Ring<number>();
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 100_000; i++) ring.push(i);
      for (let i = 0; i < 100_000; i++) assert.equal(ring.shift(), i);
      assert.equal(ring.shift(), undefined);
      assert.equal(ring.size, 0);
    }
  });

  test('holds on to nothing that it gave out', () => {
    const ring = new Ring<object>();
    ring.push({});
    ring.shift();
    assert.equal(ring.peek(), undefined);
    assert.equal(ring.at(0), undefined);
  });
});

describe('meter', () => {
  test('tells how many a second, over the last second', () => {
    const meter = new Meter();
    assert.equal(meter.rate(0), 0);
    for (let now = 0; now < 3000; now += 10) meter.mark(5, now);
    assert.equal(meter.total, 1500);
    assert.equal(meter.rate(3000), 500);
    assert.equal(meter.rate(3500), 250, 'half of the last second is over');
    assert.equal(meter.rate(5000), 0);
    meter.mark(7, 100_000);
    assert.equal(meter.rate(100_000), 7, 'what has passed of this second counts whole');
    assert.equal(meter.total, 1507);
  });
});
