import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameDecoder, frameHeaderBytes, writeFrameLength } from '../../src/wire/decoder.ts';

function frame(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(frameHeaderBytes + body.length);
  writeFrameLength(bytes, 0, body.length);
  bytes.set(body, frameHeaderBytes);
  return bytes;
}

function header(length: number): Uint8Array {
  const bytes = new Uint8Array(frameHeaderBytes);
  writeFrameLength(bytes, 0, length);
  return bytes;
}

const unexpected = (): never => assert.fail('a body was handed out');

const filled = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));

test('bodies come out as they went in, however the stream is cut', () => {
  const bodies = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 20 });
  const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 50 }));
  fc.assert(
    fc.property(bodies, cuts, (sent, lengths) => {
      const stream = Buffer.concat(sent.map(frame));
      const decoder = new FrameDecoder({ maxFrame: 300 });
      const received: Uint8Array[] = [];
      for (let at = 0; at < stream.length; ) {
        const next = at + (lengths.next().value ?? 1);
        decoder.push(stream.subarray(at, next), (body) => {
          received.push(body);
        });
        at = next;
      }
      assert.deepEqual(
        received.map((body) => Buffer.from(body)),
        sent.map((body) => Buffer.from(body)),
      );
    }),
    { verbose: 1 },
  );
});

test('a frame that lies within one chunk is a view of it, one that spans chunks is not', () => {
  const stream = Buffer.concat([frame(filled(10)), frame(filled(20)), frame(filled(30))]);
  const chunk = stream.subarray(0, 50);
  const received: Uint8Array[] = [];
  const decoder = new FrameDecoder({ maxFrame: 100 });
  decoder.push(chunk, (body) => received.push(body));
  decoder.push(stream.subarray(50), (body) => received.push(body));
  assert.deepEqual(
    received.map((body) => body.length),
    [10, 20, 30],
  );
  assert.equal(received[0]?.buffer, chunk.buffer);
  assert.equal(received[1]?.buffer, chunk.buffer);
  assert.notEqual(received[2]?.buffer, chunk.buffer);
});

for (const length of [101, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
  test(`a declared length of ${length} beyond the limit is refused, in one piece or byte by byte`, () => {
    const error = { code: 'PROTOCOL_ERROR', message: new RegExp(`declares ${length} bytes, the limit is 100`) };
    const whole = new FrameDecoder({ maxFrame: 100 });
    assert.throws(() => whole.push(header(length), unexpected), error);
    const bytewise = new FrameDecoder({ maxFrame: 100 });
    const bytes = header(length);
    for (let i = 0; i < 3; i++) bytewise.push(bytes.subarray(i, i + 1), unexpected);
    assert.throws(() => bytewise.push(bytes.subarray(3), unexpected), error);
  });
}

test('an empty body is refused', () => {
  assert.throws(() => new FrameDecoder({ maxFrame: 100 }).push(header(0), unexpected), { code: 'PROTOCOL_ERROR' });
});

test('a body of exactly the limit is accepted, and the limit may be raised', () => {
  const sizes: number[] = [];
  const decoder = new FrameDecoder({ maxFrame: 100 });
  decoder.push(frame(filled(100)), (body) => sizes.push(body.length));
  decoder.maxFrame = 200;
  decoder.push(frame(filled(200)), (body) => sizes.push(body.length));
  assert.deepEqual(sizes, [100, 200]);
});

test('after a broken frame every push is refused', () => {
  const decoder = new FrameDecoder({ maxFrame: 100 });
  assert.throws(() => decoder.push(header(0), unexpected));
  assert.throws(() => decoder.push(frame(filled(1)), unexpected), { code: 'PROTOCOL_ERROR' });
});

test('a receiver that throws breaks the decoder: nothing is handed out twice', () => {
  const decoder = new FrameDecoder({ maxFrame: 100 });
  const boom = new Error('boom');
  assert.throws(
    () =>
      decoder.push(frame(filled(1)), () => {
        throw boom;
      }),
    boom,
  );
  assert.throws(() => decoder.push(frame(filled(1)), unexpected), { code: 'PROTOCOL_ERROR' });
});

test('a receiver that returns false gets nothing more', () => {
  for (const cut of [2, 12]) {
    const stream = Buffer.concat([frame(filled(8)), frame(filled(9)), header(0)]);
    const decoder = new FrameDecoder({ maxFrame: 100 });
    let count = 0;
    const receive = (): boolean => ++count < 1;
    decoder.push(stream.subarray(0, cut), receive);
    decoder.push(stream.subarray(cut), receive);
    decoder.push(frame(filled(3)), receive);
    assert.equal(count, 1);
  }
});

test('a large length that is only declared costs little memory', () => {
  const limit = 64 * 1024 * 1024;
  const decoders = Array.from({ length: 64 }, () => new FrameDecoder({ maxFrame: limit }));
  const before = process.memoryUsage().arrayBuffers;
  for (const decoder of decoders) {
    decoder.push(header(limit), unexpected);
    decoder.push(filled(10), unexpected);
  }
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown <= 64 * 1024 * 1024, `${grown} bytes for 64 frames that declared 64 MiB each`);
});

test('feeding byte by byte takes time in proportion to the bytes', () => {
  const copied = (length: number): number => {
    // Counts what is copied instead of the time: every byte once from its chunk, and again when the buffer grows.
    const set = Uint8Array.prototype.set;
    let count = 0;
    Uint8Array.prototype.set = function (source, offset) {
      count += source.length;
      set.call(this, source, offset);
    };
    try {
      const stream = frame(filled(length));
      const decoder = new FrameDecoder({ maxFrame: length });
      let received: Uint8Array | undefined;
      count = 0;
      for (let at = 0; at < stream.length; at++) {
        decoder.push(stream.subarray(at, at + 1), (body) => {
          received = body;
        });
      }
      assert.ok(received !== undefined && Buffer.from(received).equals(filled(length)));
    } finally {
      Uint8Array.prototype.set = set;
    }
    return count;
  };
  assert.ok(copied(10_000) <= 2 * 10_000);
  assert.ok(copied(1_000_000) <= 2.5 * 1_000_000);
});
