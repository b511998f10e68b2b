import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { type ScanResult, scanProblem, scanTokens } from '../../src/wire/scan.ts';

const of = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
const scan = (bytes: Uint8Array): ScanResult => scanTokens(bytes, 0, bytes.length);
const says = (bytes: Uint8Array): string => scanProblem(scan(bytes));
const repeat = (byte: number, count: number): number[] => new Array<number>(count).fill(byte);
const timestamp96 = (seconds: bigint, nanoseconds = 0): Uint8Array => {
  const bytes = Buffer.alloc(15);
  bytes.set([0xc7, 12, 0xff]);
  bytes.writeUInt32BE(nanoseconds, 3);
  bytes.writeBigInt64BE(seconds, 7);
  return bytes;
};

test('every kind of value is accepted', () => {
  const accepted: [string, Uint8Array][] = [
    ['nil', of(0xc0)],
    ['false', of(0xc2)],
    ['true', of(0xc3)],
    ['positive fixint', of(0x7f)],
    ['negative fixint', of(0xe0)],
    ['uint 8', of(0xcc, 1)],
    ['uint 16', of(0xcd, 1, 2)],
    ['uint 32', of(0xce, 1, 2, 3, 4)],
    ['uint 64', of(0xcf, ...repeat(0xff, 8))],
    ['int 8', of(0xd0, 1)],
    ['int 16', of(0xd1, 1, 2)],
    ['int 32', of(0xd2, 1, 2, 3, 4)],
    ['int 64', of(0xd3, ...repeat(0xff, 8))],
    ['float 32', of(0xca, 1, 2, 3, 4)],
    ['float 64', of(0xcb, 1, 2, 3, 4, 5, 6, 7, 8)],
    ['fixstr', of(0xa1, 0x61)],
    ['empty fixstr', of(0xa0)],
    ['str 8', of(0xd9, 1, 0x61)],
    ['str 16', of(0xda, 0, 1, 0x61)],
    ['str 32', of(0xdb, 0, 0, 0, 1, 0x61)],
    ['bin 8', of(0xc4, 1, 0)],
    ['bin 16', of(0xc5, 0, 1, 0)],
    ['bin 32', of(0xc6, 0, 0, 0, 1, 0)],
    ['fixarray', of(0x92, 1, 2)],
    ['array 16', of(0xdc, 0, 1, 1)],
    ['array 32', of(0xdd, 0, 0, 0, 1, 1)],
    ['fixmap', of(0x81, 0xa1, 0x61, 1)],
    ['map 16', of(0xde, 0, 1, 0xd9, 1, 0x61, 1)],
    ['map 32', of(0xdf, 0, 0, 0, 1, 0xda, 0, 1, 0x61, 1)],
    ['a key of str 32', of(0x81, 0xdb, 0, 0, 0, 1, 0x61, 1)],
    ['timestamp 32', of(0xd6, 0xff, 1, 2, 3, 4)],
    ['timestamp 64', of(0xd7, 0xff, 1, 2, 3, 4, 5, 6, 7, 8)],
    ['timestamp 96', timestamp96(-1n, 999_999_999)],
    ['the last date', timestamp96(8_640_000_000_000n)],
    ['the first date', timestamp96(-8_640_000_000_000n)],
    ['maps and arrays within each other', of(0x82, 0xa1, 0x61, 0x92, 0x80, 0x90, 0xa1, 0x62, 0x81, 0xa0, 0xc0)],
  ];
  for (const [name, bytes] of accepted) {
    assert.equal(says(bytes), 'is well-formed', name);
    // Without its last byte it ends too early; with one more it goes on.
    if (bytes.length > 1) assert.equal(says(bytes.subarray(0, -1)), 'ends in the middle of a value', name);
    assert.equal(says(of(...bytes, 0xc0)), 'goes on after its value', name);
  }
});

test('only the bytes between start and end are read', () => {
  const bytes = of(0xc1, 0x92, 1, 2, 0xc1);
  assert.equal(scanTokens(bytes, 1, 4), 0);
  assert.equal(scanProblem(scanTokens(bytes, 1, 3)), 'ends in the middle of a value');
  assert.equal(scanProblem(scanTokens(bytes, 2, 2)), 'ends in the middle of a value');
});

test('extension types other than a timestamp are refused', () => {
  const record = new Packr({ useRecords: true }).pack({ a: 1 });
  assert.equal(says(record), 'holds an extension type');
  for (const value of [new Set([1]), /a/, new Error('x'), undefined]) {
    assert.equal(says(new Packr({ useRecords: false, moreTypes: true }).pack(value)), 'holds an extension type');
  }
  assert.equal(says(of(0xd4, 0xff, 0)), 'holds an extension type');
  assert.equal(says(of(0xc7, 5, 0xff, 0, 0, 0, 0, 0)), 'holds an extension type');
  assert.equal(says(of(0xd8, 0xff, ...repeat(0, 16))), 'holds an extension type');
  assert.equal(says(of(0xc8, 0, 4, 0xff, 0, 0, 0, 0)), 'holds an extension type');
});

test('a timestamp that is no date is refused', () => {
  const problem = 'holds a timestamp that is no valid date';
  assert.equal(says(timestamp96(8_640_000_000_000n, 1)), problem);
  assert.equal(says(timestamp96(8_640_000_000_001n)), problem);
  assert.equal(says(timestamp96(-8_640_000_000_001n)), problem);
  assert.equal(says(timestamp96(0n, 1_000_000_000)), problem);
  assert.equal(says(of(0xd7, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)), problem);
});

test('keys must be strings, and none may be __proto__', () => {
  assert.equal(says(of(0x81, 1, 1)), 'has a map key that is not a string');
  assert.equal(says(of(0x81, 0xc4, 1, 0x61, 1)), 'has a map key that is not a string');
  const proto = Buffer.from('__proto__');
  for (const head of [[0xa9], [0xd9, 9], [0xda, 0, 9], [0xdb, 0, 0, 0, 9]]) {
    assert.equal(says(of(0x81, ...head, ...proto, 1)), "has a member named '__proto__'");
  }
  assert.equal(says(of(0x81, 0xa9, ...Buffer.from('__proto_x'), 1)), 'is well-formed');
  assert.equal(says(of(0x91, 0xa9, ...proto)), 'is well-formed', 'as a value it is a string like others');
});

test('32 levels are accepted, 33 are not, even when the last is empty', () => {
  assert.equal(says(of(...repeat(0x91, 31), 0x90)), 'is well-formed');
  assert.equal(says(of(...repeat(0x91, 32), 0xc0)), 'is well-formed');
  assert.equal(says(of(...repeat(0x91, 32), 0x90)), 'is nested deeper than 32');
  assert.equal(says(of(...repeat(0x91, 100_000))), 'is nested deeper than 32');
});

test('100,000 values are accepted, one more is not; keys do not count', () => {
  const array = (count: number, byte: number): Uint8Array => {
    const bytes = Buffer.alloc(5 + count, byte);
    bytes[0] = 0xdd;
    bytes.writeUInt32BE(count, 1);
    return bytes;
  };
  assert.equal(says(array(99_999, 0xc0)), 'is well-formed');
  assert.equal(says(array(100_000, 0xc0)), 'holds more than 100000 values');
  assert.equal(says(array(1_000_000, 0x80)), 'holds more than 100000 values');
  const map = Buffer.alloc(5 + 2 * 99_999);
  map[0] = 0xdf;
  map.writeUInt32BE(99_999, 1);
  for (let at = 5; at < map.length; at += 2) map[at] = 0xa0;
  assert.equal(says(map), 'is well-formed');
});

test('a declared length beyond the bytes is refused at once', () => {
  for (const token of [0xc6, 0xdb, 0xdd, 0xdf]) {
    assert.equal(says(of(token, 0xff, 0xff, 0xff, 0xff, 0xc0)), 'ends in the middle of a value');
  }
});

test('0xc1 is refused', () => {
  assert.equal(says(of(0xc1)), 'holds the byte 0xc1, which means nothing');
});

test('what another encoder writes of plain values is accepted', () => {
  const packr = new Packr({ useRecords: false });
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
      fc.pre(!JSON.stringify(value).includes('"__proto__":'));
      assert.equal(says(packr.pack(value)), 'is well-formed');
    }),
    { verbose: 1 },
  );
});
