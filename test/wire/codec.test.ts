import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { BusError } from '../../src/core/errors.ts';
import { measurePayload } from '../../src/core/payload.ts';
import { decodeControl, decodePayload, encodeControl, encodePayload } from '../../src/wire/codec.ts';

const key = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.constantFrom('constructor', 'toJSON', 'hasOwnProperty', 'length'),
);
const scalar = fc.oneof(
  fc.constantFrom(null, true, false, -0, Number.NaN, Infinity, -Infinity, 2 ** 53, 2 ** 32, 2 ** 31, -(2 ** 31) - 1),
  fc.integer(),
  fc.integer({ min: -33_000, max: 70_000 }),
  fc.double(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'binary', minLength: 60, maxLength: 100 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 100 }),
  fc.uint8Array({ maxLength: 80 }),
  fc.date({ noInvalidDate: true }),
);
/** Every legal payload: what the walk at publish lets pass. */
const payload = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 8 }),
    fc.dictionary(
      key.filter((name) => name !== '__proto__'),
      tie('value'),
      { maxKeys: 8, noNullPrototype: true },
    ),
  ),
})).value;

const of = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const roundTrip = (value: unknown): unknown => decodePayload(encodePayload(value));

test('every legal payload comes back as what was sent', () => {
  fc.assert(
    fc.property(payload, (value) => {
      measurePayload(value, 1_048_576);
      assert.deepStrictEqual(roundTrip(value), value);
    }),
    { numRuns: 500, verbose: 1 },
  );
});

test('another MessagePack library writes the same bytes', () => {
  const packr = new Packr({ useRecords: false, variableMapSize: true, useToJSON: false });
  const minusZero = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null) return Object.is(value, -0);
    return Object.values(value).some(minusZero);
  };
  fc.assert(
    fc.property(payload, (value) => {
      fc.pre(!minusZero(value));
      // A value that another library writes in another, equally valid form is none of ours to fix: compare what is read.
      assert.deepStrictEqual(decodePayload(packr.pack(value)), value);
      if (!JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? 'big' : part)).includes('Z"')) {
        assert.ok(Buffer.from(encodePayload(value)).equals(packr.pack(value)));
      }
    }),
    { numRuns: 300, verbose: 1 },
  );
});

test('sizes at which the form of a string, binary, array or map changes come back whole', () => {
  for (const length of [0, 1, 15, 16, 31, 32, 63, 64, 255, 256, 1023, 1024, 16_383, 65_535, 65_536, 99_990]) {
    for (const unit of ['a', 'é', '€', '😀']) {
      const text = unit.repeat(length);
      assert.equal(roundTrip(text), text);
      assert.deepStrictEqual(roundTrip([text]), [text]);
    }
    const binary = new Uint8Array(length).fill(7);
    assert.deepStrictEqual(roundTrip(binary), binary);
    assert.deepStrictEqual(roundTrip({ binary }), { binary });
    const array = new Array<number>(length).fill(1);
    assert.deepStrictEqual(roundTrip(array), array);
    const map = Object.fromEntries(array.map((one, i) => [`k${i}`, one]));
    assert.deepStrictEqual(roundTrip(map), map);
    assert.deepStrictEqual(roundTrip([map, 'behind it']), [map, 'behind it']);
  }
});

test('a string keeps its byte order mark', () => {
  for (const length of [1, 40, 200, 9000]) {
    const text = `\ufeff${'a'.repeat(length)}`;
    assert.equal(roundTrip(text), text);
  }
});

test('a lone surrogate becomes the replacement character', () => {
  for (const tail of ['', 'a'.repeat(50)]) {
    assert.equal(roundTrip(`\ud800${tail}`), `\ufffd${tail}`);
    assert.deepStrictEqual(roundTrip({ text: `\ud800${tail}` }), { text: `\ufffd${tail}` });
  }
});

test('members that are undefined are left out', () => {
  assert.deepStrictEqual(roundTrip({ a: undefined, b: 1, c: { d: undefined } }), { b: 1, c: {} });
});

test('a Buffer comes back as a plain Uint8Array', () => {
  const bytes = Buffer.from('abc');
  for (const back of [roundTrip(bytes), (roundTrip({ bytes }) as { bytes: unknown }).bytes]) {
    assert.deepStrictEqual(back, Uint8Array.from(bytes));
  }
});

test('a bigint stays a bigint and a number a number, whatever their size', () => {
  for (const value of [0n, 1n, -1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 63n, 2n ** 64n - 1n]) {
    assert.equal(roundTrip(value), value);
  }
  for (const value of [2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, -(2 ** 31) - 1, 1e300]) {
    assert.equal(roundTrip(value), value);
  }
});

test('dates to the ends of the calendar come back to the millisecond', () => {
  for (const time of [
    0,
    1,
    -1,
    999,
    1000,
    -8.64e15,
    8.64e15,
    2 ** 32 * 1000,
    2 ** 32 * 1000 - 1,
    2 ** 34 * 1000,
    1.7e12 + 1,
  ]) {
    assert.deepStrictEqual(roundTrip(new Date(time)), new Date(time));
  }
});

test('an object with members named like methods is an object like others', () => {
  const value = { toJSON: 'x', constructor: null, hasOwnProperty: 1, valueOf: [] };
  assert.deepStrictEqual(roundTrip(value), value);
  const bare: unknown = Object.assign(Object.create(null), { toJSON: 1, a: 2 });
  assert.deepStrictEqual(roundTrip(bare), { toJSON: 1, a: 2 });
});

test('what was returned is never written to again', () => {
  const values = Array.from({ length: 3000 }, (_, i) => ({
    i,
    text: 'x'.repeat((i * 37) % 500),
    big: i % 500 === 0 ? new Uint8Array(40_000) : 0,
  }));
  const encoded = values.map((value) => encodePayload(value));
  encoded.forEach((bytes, i) => {
    assert.deepStrictEqual(decodePayload(bytes), values[i]);
  });
});

test('a small value keeps little memory that is not its own', () => {
  encodePayload('x'.repeat(1_000_000));
  for (const value of ['a', { a: 1 }, new Uint8Array(100)]) {
    assert.ok(encodePayload(value).buffer.byteLength <= 16_384);
  }
  assert.ok(encodePayload('x'.repeat(100_000)).buffer.byteLength <= 100_005);
});

test('the result shares no memory with the bytes it came from', () => {
  for (const value of [
    new Uint8Array(50).fill(1),
    { a: new Uint8Array(50).fill(1) },
    ['x'.repeat(9000), new Uint8Array(9000).fill(1)],
  ]) {
    const bytes = Uint8Array.from(encodePayload(value));
    const back = decodePayload(bytes);
    bytes.fill(0xff);
    assert.deepStrictEqual(back, value);
    decodePayload(encodePayload({ other: new Uint8Array(60).fill(9) }));
    assert.deepStrictEqual(back, value);
  }
});

test('a getter may encode, and one that throws leaves the encoder as it was', () => {
  const inner = { a: 1 };
  const outer = {
    before: 'x',
    get nested() {
      return encodePayload(inner);
    },
    after: 'y',
  };
  assert.deepStrictEqual(roundTrip(outer), { before: 'x', nested: encodePayload(inner), after: 'y' });
  const boom = new Error('boom');
  const bad = {
    before: 'x',
    get member(): never {
      throw boom;
    },
  };
  assert.throws(() => encodePayload(bad), boom);
  assert.throws(() => encodePayload({ bad: Symbol('s') }), { code: 'PAYLOAD_INVALID' });
  assert.deepStrictEqual(roundTrip(inner), inner);
});

test('what is no payload is refused, even when nobody has checked it before', () => {
  const loop: unknown[] = [];
  loop.push(loop);
  for (const value of [
    undefined,
    () => 1,
    Symbol('s'),
    new Map(),
    /a/,
    new Date(Number.NaN),
    2n ** 64n,
    loop,
    [undefined],
  ]) {
    assert.throws(() => encodePayload(value), { code: 'PAYLOAD_INVALID' });
    assert.throws(() => encodeControl({ value: [value] }), { code: 'PROTOCOL_ERROR' });
  }
});

test('bytes that were tampered with decode to a payload or are refused', () => {
  const plain = (value: unknown): void => {
    measurePayload(value, 16_777_216); // throws for anything exotic
  };
  fc.assert(
    fc.property(
      payload,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }),
      (value, changes) => {
        const bytes = Uint8Array.from(encodePayload(value));
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        try {
          plain(decodePayload(bytes));
        } catch (error) {
          assert.ok(error instanceof BusError && error.code === 'PAYLOAD_INVALID', String(error));
        }
      },
    ),
    { numRuns: 1000, verbose: 1 },
  );
});

test('random bytes decode to a payload or are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        measurePayload(decodePayload(bytes), 16_777_216);
      } catch (error) {
        assert.ok(error instanceof BusError && error.code === 'PAYLOAD_INVALID', String(error));
      }
    }),
    { numRuns: 5000, verbose: 1 },
  );
});

test('what other libraries put beside MessagePack is refused', () => {
  const rich = new Packr({ moreTypes: true, structuredClone: true });
  for (const value of [new Set([1]), /a/, new Error('x'), { a: 1 }, [undefined], 2n ** 70n]) {
    assert.throws(() => decodePayload(rich.pack(value)), { code: 'PAYLOAD_INVALID' });
  }
  assert.throws(
    () => decodePayload(of(0x81, 0xa9, ...Buffer.from('__proto__'), 0x80)),
    /has a member named '__proto__'/,
  );
  assert.throws(() => decodePayload(of()), { code: 'PAYLOAD_INVALID' });
});

test('a control body is a map', () => {
  const body = { kind: 'hello', protocol: [1, 2], node: 'a', nonce: new Uint8Array(16), none: undefined };
  const { none, ...rest } = body;
  assert.deepStrictEqual(decodeControl(encodeControl(body)), rest);
  assert.equal(none, undefined);
  const large = Object.fromEntries(Array.from({ length: 70_000 }, (_, i) => [`k${i}`, i]));
  assert.deepStrictEqual(decodeControl(encodeControl(large)), large);
});

test('anything else in a control body is PROTOCOL_ERROR', () => {
  for (const bytes of [of(), of(0xc0), of(0x90), of(0x81), of(0x81, 1, 1), of(0x80, 0x80), of(0xd4, 0x72, 0x40)]) {
    assert.throws(() => decodeControl(bytes), { code: 'PROTOCOL_ERROR' });
  }
});
