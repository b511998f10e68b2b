import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Message } from '../../src/core/message.ts';
import { Loaded, type Segment } from '../../src/storage/loaded.ts';
import { storedForm } from '../../src/storage/segment.ts';

const runs = Math.min(2000, Number(process.env.MAILVAN_RUNS ?? 100));
const none = new Uint8Array(0);
const message = storedForm(new Message('a', 1, undefined, undefined, 0, 'node', 0, 'origin', 1, undefined, undefined));
const { size } = message;

function segmentOf(first: number, count: number): Segment {
  const bytes = count * size;
  const head = { first, count, mark: 0, bytesBefore: (first - 1) * size, bytes, time: 0 };
  return { ...head, key: '', record: none, left: count, leftBytes: bytes, bits: undefined, emptied: false };
}

const steps = fc.array(
  fc.oneof(
    { weight: 2, arbitrary: fc.record({ add: fc.integer({ min: 1, max: 10 }) }) },
    { weight: 12, arbitrary: fc.record({ leave: fc.oneof(fc.nat({ max: 3 }), fc.nat()) }) },
    { weight: 2, arbitrary: fc.record({ write: fc.boolean() }) },
  ),
  { maxLength: 300 },
);

test('what has left the segments in memory is told exactly, whatever leaves in whatever order, and whatever write fails', () => {
  fc.assert(
    fc.property(steps, (each) => {
      const loaded = new Loaded();
      const all: Segment[] = [];
      const here = new Set<number>();
      let untold: Segment[] = [];
      let tail = 0;
      const told = (): void => {
        const head = loaded.head?.first ?? tail + 1;
        const behind = all.filter(({ first }) => first >= head);
        assert.equal(behind[0]?.emptied ?? false, false, 'the head has something left, or is about to be written');
        const gone = loaded.gone().flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
        const partly = loaded.partials().flatMap(({ first, left, count, bytes }) => {
          const places = [...left].flatMap((byte, i) =>
            [0, 1, 2, 3, 4, 5, 6, 7].filter((b) => byte & (1 << b)).map((b) => first + 8 * i + b),
          );
          assert.equal(places.length, count);
          assert.equal(bytes, count * size);
          return places;
        });
        const expected = [];
        for (const { first, count } of behind)
          for (let s = first; s < first + count; s++) if (!here.has(s)) expected.push(s);
        assert.deepEqual(
          [...gone, ...partly].sort((a, b) => a - b),
          expected,
        );
        assert.equal(
          loaded.broken,
          behind.some(({ left, count, emptied }) => left < count && !emptied),
        );
      };
      const write = (fails: boolean): void => {
        for (const segment of untold) loaded.clear(segment);
        assert.equal(
          loaded.pass(),
          all.some(({ first, emptied }) => emptied && first > (loaded.head?.first ?? tail)),
        );
        told();
        if (!fails) untold = [];
        else for (const segment of untold) loaded.restore(segment);
      };
      for (const step of each) {
        if ('add' in step) {
          const segment = segmentOf(tail + 1, step.add);
          all.push(segment);
          loaded.add(segment);
          for (let i = 0; i < step.add; i++) here.add(++tail);
        } else if ('leave' in step) {
          const sequence = [...here][step.leave % here.size];
          if (sequence === undefined) continue;
          const segment = all.find(({ first, count }) => sequence < first + count) as Segment; // it is in one of them
          here.delete(sequence);
          const empty = loaded.leave({ message, sequence, segment });
          assert.equal(empty, segment.left === 0);
          assert.equal(loaded.leave({ message, sequence, segment }), undefined, 'it leaves once');
          if (empty === true) untold.push(segment);
        } else {
          write(step.write);
        }
      }
      write(true);
      write(false);
      write(false);
    }),
    { numRuns: runs },
  );
});

test('a write that fails after the head has moved past a segment leaves what is behind the head to be told', () => {
  const loaded = new Loaded();
  const [first, second, third] = [segmentOf(1, 1), segmentOf(2, 1), segmentOf(3, 1)];
  for (const segment of [first, second, third]) loaded.add(segment);
  loaded.leave({ message, sequence: 1, segment: first });
  loaded.clear(first);
  assert.equal(loaded.pass(), false);
  assert.equal(loaded.head, second);
  loaded.restore(first);
  assert.equal(loaded.broken, true);
  loaded.leave({ message, sequence: 3, segment: third });
  for (const segment of [first, third]) loaded.clear(segment);
  assert.equal(loaded.pass(), true);
  assert.equal(loaded.broken, false);
  assert.deepEqual(loaded.gone(), [{ first: 3, count: 1, bytes: size }]);
});
