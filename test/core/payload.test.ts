import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { maxDepth, maxValues, measurePayload } from '../../src/core/payload.ts';
import { decodePayload, encodePayload } from '../../src/wire/codec.ts';
import { refusal } from './testbed.ts';

const mebibyte = 1024 * 1024;
const measure = (payload: unknown, limit = mebibyte): number => measurePayload(payload, limit);

/** `depth` arrays in each other around a value. */
function nested(depth: number, value: unknown = 1): unknown {
  let payload = value;
  for (let i = 0; i < depth; i++) payload = [payload];
  return payload;
}

describe('what may be published', () => {
  test('every kind of value, however combined', () => {
    for (const payload of [
      null,
      true,
      0,
      -0,
      1.5,
      Number.NaN,
      Number.NEGATIVE_INFINITY,
      Number.MAX_VALUE,
      0n,
      -(2n ** 63n),
      2n ** 64n - 1n,
      '',
      'ä😀\ud800',
      new Uint8Array(3),
      Buffer.from('x'),
      new Date(0),
      new Date(8.64e15),
      [],
      {},
      Object.create(null),
      { a: { b: [1, { c: null }] }, toString: 'x', constructor: 1, 'a.b': 2, '': 3 },
      Object.freeze({ a: Object.freeze([1]) }),
    ]) {
      assert.ok(measure(payload) > 0);
    }
  });

  test('members that are undefined are left out', () => {
    assert.equal(measure({ a: 1, b: undefined }), measure({ a: 1 }));
    assert.deepEqual(decodePayload(encodePayload({ a: 1, b: undefined })), { a: 1 });
  });

  test('the same object in several places', () => {
    const shared = { a: 1 };
    assert.ok(measure([shared, shared, { shared }]) > 0);
  });
});

class Order {
  readonly id = 1;
}

describe('what is refused, with the path to it', () => {
  for (const [what, value, text] of [
    ['undefined', undefined, 'is undefined'],
    ['a function', () => {}, 'is a function'],
    ['a symbol', Symbol('s'), 'is Symbol(s)'],
    ['a Map', new Map(), 'is an instance of Map'],
    ['a Set', new Set(), 'is an instance of Set'],
    ['a RegExp', /x/, 'is an instance of RegExp'],
    ['an Error', new Error('x'), 'is an instance of Error'],
    ['a promise', Promise.resolve(), 'is an instance of Promise'],
    ['an instance of a class', new Order(), 'is an instance of Order'],
    ['a boxed string', new String('x'), 'is an instance of String'],
    ['an ArrayBuffer', new ArrayBuffer(1), 'is an instance of ArrayBuffer'],
    ['another typed array', new Float64Array(1), 'is an instance of Float64Array'],
    ['a DataView', new DataView(new ArrayBuffer(1)), 'is an instance of DataView'],
    ['an invalid Date', new Date(Number.NaN), 'is an invalid Date'],
    ['a bigint of more than 64 bits', 2n ** 64n, 'is a bigint of more than 64 bits'],
    ['a negative bigint of more than 64 bits', -(2n ** 63n) - 1n, 'is a bigint of more than 64 bits'],
  ] as const) {
    test(what, () => {
      assert.throws(() => measure(value), refusal('PAYLOAD_INVALID', `payload ${text}`, 'allowed are'));
      if (value !== undefined) {
        assert.throws(() => measure({ a: value }), refusal('PAYLOAD_INVALID', `payload.a ${text}`));
        assert.throws(() => measure([1, { b: [value] }]), refusal('PAYLOAD_INVALID', `payload[1].b[0] ${text}`));
      } else {
        assert.throws(() => measure([1, value]), refusal('PAYLOAD_INVALID', `payload[1] ${text}`));
      }
    });
  }

  test('a hole in an array is undefined', () => {
    // biome-ignore lint/suspicious/noSparseArray: that is what is tested.
    assert.throws(() => measure([1, , 3]), refusal('PAYLOAD_INVALID', 'payload[1] is undefined'));
  });

  test("a member named '__proto__', for it would become another's name on the way", () => {
    const payload = { a: [JSON.parse('{"__proto__": 1}')] };
    assert.throws(() => measure(payload), refusal('PAYLOAD_INVALID', "'__proto__'", 'payload.a[0]'));
  });

  test('the first problem is named when there are several', () => {
    const payload = JSON.parse('{"a": 1}') as Record<string, unknown>;
    Object.defineProperty(payload, '__proto__', { value: undefined, enumerable: true });
    payload.b = () => {};
    assert.throws(() => measure(payload), refusal('PAYLOAD_INVALID', 'payload.b is a function'));
  });

  test('a cycle, without walking it for ever', () => {
    const list: unknown[] = [];
    list.push(list);
    const object: Record<string, unknown> = {};
    object.self = { object };
    const wide: unknown[] = [];
    for (let i = 0; i < 1000; i++) wide.push(wide);
    for (const payload of [list, object, wide]) {
      assert.throws(() => measure(payload), refusal('PAYLOAD_INVALID', 'deeper than 32'));
    }
  });
});

describe('limits', () => {
  test('32 levels of nesting, not one more', () => {
    assert.equal(maxDepth, 32);
    assert.ok(measure(nested(32)) > 0);
    assert.throws(() => measure(nested(33)), refusal('PAYLOAD_INVALID', `payload${'[0]'.repeat(32)} is nested`, '32'));
    assert.throws(() => measure(nested(32, {})), refusal('PAYLOAD_INVALID', 'deeper than 32'));
    assert.ok(measure(nested(32, new Uint8Array(1))) > 0, 'bytes and dates are no level');
    assert.ok(measure(nested(32, new Date(0))) > 0);
    assert.deepEqual(decodePayload(encodePayload(nested(32))), nested(32), 'a reader agrees');
  });

  test('100,000 values, not one more, the root and every member counted', () => {
    assert.equal(maxValues, 100_000);
    const limit = 1e9;
    assert.ok(measure(new Array(99_999).fill(1), limit) > 0);
    assert.throws(
      () => measure(new Array(100_000).fill(1), limit),
      refusal('PAYLOAD_INVALID', 'holds more than 100000 values'),
    );
    const object = Object.fromEntries(Array.from({ length: 99_999 }, (_, i) => [`m${i}`, i]));
    assert.ok(measure(object, limit) > 0);
    assert.throws(() => measure({ ...object, one: 'more' }, limit), refusal('PAYLOAD_INVALID', '100000'));
    assert.deepEqual(decodePayload(encodePayload(new Array(99_999).fill(1))), new Array(99_999).fill(1));
  });

  test('far too many values are not all walked', () => {
    let reads = 0;
    const endless = new Proxy([] as number[], {
      get: (target, key) => {
        if (key === 'length') return 5_000_000;
        if (typeof key === 'string' && /^\d+$/.test(key)) {
          reads++;
          return 1;
        }
        return Reflect.get(target, key);
      },
    });
    assert.throws(() => measure(endless), refusal('PAYLOAD_INVALID', '100000'));
    assert.ok(reads < 10 * maxValues, `${reads} reads`);
  });

  for (const [what, make] of [
    ['a string', (n: number) => 'x'.repeat(n)],
    ['a string of two-byte letters', (n: number) => `${'ä'.repeat(n >> 1)}${n % 2 === 1 ? 'x' : ''}`],
    ['a string of emoji', (n: number) => `${'😀'.repeat(n >> 2)}${'x'.repeat(n % 4)}`],
    ['bytes', (n: number) => new Uint8Array(n)],
    ['an object of strings', (n: number) => ({ first: 'x'.repeat(100), second: 'ä', rest: 'y'.repeat(n - 200) })],
    ['a list of small numbers', (n: number) => new Array(n).fill(7)],
    [
      'an object of numbers',
      (n: number) => Object.fromEntries(Array.from({ length: n >> 4 }, (_, i) => [`key-${i}`, i])),
    ],
  ] as const) {
    test(`${what}: what takes as many bytes as the limit says goes; one more is PAYLOAD_TOO_LARGE`, () => {
      for (const n of [1000, 40_000, 70_000]) {
        const payload = make(n);
        const exact = encodePayload(payload).length;
        measure(payload, exact);
        assert.throws(
          () => measure(payload, exact - 1),
          refusal('PAYLOAD_TOO_LARGE', `${exact - 1}`, 'limits.payload'),
        );
      }
    });
  }

  test('a valid payload that is too large says so; an invalid one says that first', () => {
    assert.throws(() => measure('x'.repeat(2 * mebibyte)), refusal('PAYLOAD_TOO_LARGE', '2097', '1048576'));
    assert.throws(() => measure(['x'.repeat(2 * mebibyte), () => {}]), refusal('PAYLOAD_INVALID', 'payload[1]'));
  });
});

const payloads = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.double(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.date({ noInvalidDate: true }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5 },
    ),
  ),
})).value;

test('any payload: the measured size is near the encoded one, never far below', () => {
  fc.assert(
    fc.property(payloads, (payload) => {
      const estimate = measure(payload);
      const encoded = encodePayload(payload).length;
      assert.ok(encoded <= 3 * estimate, `${encoded} bytes were estimated as ${estimate}`);
    }),
  );
});

test('any payload of plain text: the measured size is never below the encoded one', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 50 }), { maxLength: 20 }), (payload) => {
      assert.ok(encodePayload(payload).length <= measure(payload));
    }),
  );
});

test('measuring one payload says nothing about the next', () => {
  assert.throws(() => measure(() => {}));
  assert.ok(measure({ a: 1 }) > 0);
  assert.throws(() => measure('x'.repeat(100), 10));
  assert.ok(measure('x', 10) > 0);
});
