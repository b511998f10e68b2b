import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { blockFor, textBytes, writeText } from '../../src/storage/block.ts';

const texts = fc.oneof(
  fc.string({ unit: 'binary-ascii', maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)), maxLength: 100 }),
);

test('a text takes as many bytes as UTF-8 does, and they are the same', () => {
  fc.assert(
    fc.property(texts, (text) => {
      const expected = Buffer.from(text);
      assert.equal(textBytes(text), expected.length);
      const block = blockFor(2 + expected.length);
      const start = block.used;
      assert.equal(writeText(block.to, block.view, start, text), start + 2 + expected.length);
      const record = Buffer.from(block.cut(2 + expected.length));
      assert.equal(record.readUInt16BE(0), expected.length);
      assert.deepEqual(record.subarray(2), expected);
    }),
  );
});

test('records lie beside one another, and a large one has its memory to itself', () => {
  const records = [7, 100, 2048, 2049, 50_000, 2048, 2048, 2048, 2048, 1].map((bytes, i) => {
    const record = blockFor(bytes).cut(bytes);
    assert.equal(record.length, bytes);
    return record.fill(i);
  });
  for (const [i, record] of records.entries()) assert.ok(record.every((byte) => byte === i));
  assert.equal(records[0]?.buffer, records[1]?.buffer);
  for (const i of [3, 4]) assert.equal(records[i]?.buffer.byteLength, records[i]?.length);
});
