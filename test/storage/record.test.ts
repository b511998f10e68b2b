import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { emptyState, packState, unpackState } from '../../src/storage/journal-state.ts';
import { keyNumber, packRecord, recordKind, unpackRecord } from '../../src/storage/record.ts';
import { refusal } from '../core/testbed.ts';

/** Every value that differs from `value` in one bit. */
function* flips(value: Uint8Array): Generator<readonly [bit: number, Uint8Array]> {
  for (let bit = 0; bit < value.length * 8; bit++) {
    const copy = new Uint8Array(value);
    copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
    yield [bit, copy];
  }
}

const fields = {
  sequence: 7,
  attempt: 2,
  due: 1_767_225_600_000,
  topic: 'a/b',
  headers: { h: 'v' },
  payload: Uint8Array.of(1, 2, 3),
};

test('a record comes back as it was', () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string().filter((name) => name !== '__proto__'),
        fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
      ),
      (given) => {
        const copy = { ...given };
        assert.deepEqual({ ...unpackRecord(recordKind.node, 'k', packRecord(recordKind.node, copy)) }, copy);
      },
    ),
  );
});

test('every flipped bit and every cut of a parked record is noticed', () => {
  const value = packRecord(recordKind.parked, fields);
  for (const [bit, flipped] of flips(value)) {
    assert.throws(
      () => unpackRecord(recordKind.parked, 'pk/x', flipped),
      refusal('STORE_CORRUPT', 'pk/x'),
      `bit ${bit}`,
    );
  }
  for (let length = 0; length < value.length; length++) {
    assert.throws(() => unpackRecord(recordKind.parked, 'k', value.subarray(0, length)), refusal('STORE_CORRUPT'));
  }
});

test('every flipped bit and every cut of a state is noticed', () => {
  const value = packState({
    ...emptyState,
    head: 3,
    tail: 9,
    gone: [{ first: 5, count: 2, bytes: 10 }],
    partials: [{ first: 7, left: Uint8Array.of(2), count: 1, bytes: 5 }],
    cut: [[7, 2]],
    started: [8],
    watermarks: [['o', 4]],
  });
  for (const [bit, flipped] of flips(value)) {
    assert.throws(() => unpackState('st/x', flipped), refusal('STORE_CORRUPT', 'st/x'), `bit ${bit}`);
  }
  for (let length = 0; length < value.length; length++) {
    assert.throws(() => unpackState('k', value.subarray(0, length)), refusal('STORE_CORRUPT'));
  }
});

test('a state comes back as it was', () => {
  const number = fc.nat(2 ** 40);
  fc.assert(
    fc.property(
      fc.record({
        head: number,
        tail: number,
        total: number,
        mark: number,
        gone: fc.array(fc.record({ first: number, count: number, bytes: number })),
        partials: fc.array(
          fc.record({ first: number, left: fc.uint8Array({ maxLength: 128 }), count: number, bytes: number }),
        ),
        cut: fc.array(fc.tuple(number, number)),
        started: fc.array(number),
        watermarks: fc.array(fc.tuple(fc.string(), number)),
        parked: fc.record({ count: number, bytes: number }),
        admitted: number,
        seen: number,
      }),
      (state) => {
        const plain = structuredClone(state);
        const found = unpackState('k', packState(plain));
        assert.deepEqual(
          { ...found, partials: found.partials.map((each) => ({ ...each, left: [...each.left] })) },
          { ...plain, partials: plain.partials.map((each) => ({ ...each, left: [...each.left] })) },
        );
      },
    ),
  );
});

test('a record of another kind is noticed', () => {
  assert.throws(
    () => unpackRecord(recordKind.dead, 'k', packRecord(recordKind.parked, fields)),
    refusal('STORE_CORRUPT'),
  );
});

test('numbers in keys sort as numbers do, up to the largest', () => {
  const number = fc.oneof(fc.nat(100), fc.maxSafeNat());
  fc.assert(
    fc.property(number, number, (a, b) => {
      assert.equal(Math.sign(a - b), keyNumber(a) < keyNumber(b) ? -1 : keyNumber(a) > keyNumber(b) ? 1 : 0);
    }),
  );
  assert.equal(keyNumber(Number.MAX_SAFE_INTEGER).length, 11);
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.nat(3000), (value, more) => {
      for (const each of [value, Math.min(value + more, Number.MAX_SAFE_INTEGER), more]) {
        assert.equal(Number.parseInt(keyNumber(each), 36), each);
        assert.equal(keyNumber(each).length, 11);
      }
    }),
  );
});
