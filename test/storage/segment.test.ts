import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Message } from '../../src/core/message.ts';
import { giveIds, type IdSink, readIds, readWatermarks } from '../../src/storage/ids.ts';
import {
  keptBytes,
  idsOf as packedIds,
  packSegment,
  packStub,
  packStubOf,
  readMessages,
  readSegment,
  segmentMessages,
  storedForm,
} from '../../src/storage/segment.ts';
import { refusal } from '../core/testbed.ts';

const runs = Math.min(2000, Number(process.env.MAILVAN_RUNS ?? 60));

interface Given {
  topic: string;
  payload: unknown;
  headers: Record<string, string>;
  key: string | undefined;
  source: string;
  origin: string;
  number: number;
  expiresAt: number;
  dueAt: number;
  publishedAt: number;
}

function messageOf({
  topic,
  payload,
  headers,
  key,
  source,
  origin,
  number,
  expiresAt,
  dueAt,
  publishedAt,
}: Given): Message {
  const message = new Message(
    topic,
    payload,
    headers,
    key,
    publishedAt,
    source,
    0,
    origin,
    number,
    undefined,
    undefined,
  );
  message.expiresAt = expiresAt;
  message.dueAt = dueAt;
  return storedForm(message);
}

const text = (max: number) => fc.string({ unit: 'grapheme', minLength: 1, maxLength: max });
const given: fc.Arbitrary<Given> = fc.record({
  topic: fc.oneof(fc.constantFrom('a', 'b/c', 'é'), text(80)),
  payload: fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.uint8Array({ maxLength: 300 })),
  headers: fc.dictionary(
    text(8).filter((name) => name !== '__proto__'),
    fc.string({ unit: 'grapheme' }),
    { maxKeys: 3 },
  ),
  key: fc.option(text(20), { nil: undefined }),
  source: fc.constantFrom('here', 'there', 'n-1'),
  origin: fc.oneof(fc.constantFrom('o1', 'o2', 'id/with/slashes'), text(30)),
  number: fc.oneof(fc.constant(0), fc.nat(50), fc.maxSafeNat()),
  expiresAt: fc.oneof(fc.constant(0), fc.nat()),
  dueAt: fc.oneof(fc.constant(0), fc.nat()),
  publishedAt: fc.nat(),
});

const plain = (message: Message): unknown => {
  const { id, topic, payload, headers, key, source, origin, number, expiresAt, dueAt, publishedAt, size } = message;
  const bytes = payload instanceof Uint8Array ? [...payload] : payload;
  return {
    id,
    topic,
    payload: bytes,
    headers: { ...headers },
    key,
    source,
    origin,
    number,
    expiresAt,
    dueAt,
    publishedAt,
    size,
  };
};

const head = { first: 17, mark: 12, bytesBefore: 4711, time: 1_767_225_600_000 };

/** Ids, as they would be known after a start. */
function idsIn(give: (sink: IdSink) => void): Set<string> {
  const found = new Set<string>();
  give({
    id: (id) => found.add(id),
    run: (origin, from, count) => {
      for (let i = 0; i < count; i++) found.add(`${origin}.${from + i}`);
    },
  });
  return found;
}

function check(list: Given[], marks: Map<string, number>): void {
  const messages = list.map(messageOf);
  const bytes = messages.reduce((sum, { size }) => sum + size, 0);
  const value = packSegment({ ...head, count: list.length, bytes }, messages, marks);
  const record = readSegment('k', value);
  assert.deepEqual(
    { first: record.first, mark: record.mark, bytesBefore: record.bytesBefore, time: record.time },
    head,
  );
  assert.equal(record.count, list.length);
  assert.equal(record.bytes, bytes);
  const found = readMessages('k', record);
  assert.deepEqual(found.map(plain), messages.map(plain));
  assert.equal(
    found.reduce((sum, { size }) => sum + size, 0),
    bytes,
  );
  const ids = idsIn((sink) => readIds(record.ids, sink));
  assert.deepEqual(packedIds(value), record.ids);
  assert.deepEqual(
    idsIn((sink) => giveIds(messages, sink)),
    ids,
  );
  for (const { id } of messages) assert.ok(ids.has(id), `the id ${id} is not in ${[...ids].join(', ')}`);
  const read = new Map<string, number>();
  readWatermarks(record.watermarks, (origin, number) => void read.set(origin, number));
  assert.deepEqual(read, marks);
  const stub = readSegment('k', packStubOf(value));
  assert.deepEqual(packStubOf(value.slice(0, keptBytes(value))), stub.value);
  assert.equal(stub.kind, 'stub');
  assert.deepEqual(
    [stub.first, stub.count, stub.bytes, stub.time],
    [record.first, record.count, record.bytes, record.time],
  );
  assert.deepEqual(stub.ids, record.ids);
  assert.deepEqual(stub.watermarks, record.watermarks);
}

const marks = fc.array(fc.tuple(text(20), fc.nat())).map((entries) => new Map(entries));

test('a segment comes back as it was, and its stub knows its ids', () => {
  fc.assert(
    fc.property(fc.array(given, { minLength: 1, maxLength: 40 }), marks, (list, watermarks) => check(list, watermarks)),
    { numRuns: runs },
  );
});

test('so does one of as many messages as there may be, of as many topics and origins', () => {
  const list = Array.from({ length: segmentMessages }, (_, i) => ({
    topic: `topic/${i}`,
    payload: i,
    headers: {},
    key: undefined,
    source: 'here',
    origin: `origin-${i}`,
    number: i,
    expiresAt: 0,
    dueAt: 0,
    publishedAt: i,
  }));
  check(list, new Map([['o', 3]]));
});

test('what is packed later leaves alone what was packed before', () => {
  const list = Array.from({ length: 300 }, (_, i) => messageOf({ ...one, payload: 'x'.repeat(i * 10), number: i + 1 }));
  const records = list.map((message) => packSegment({ ...head, count: 1, bytes: 1 }, [message], undefined));
  const stubs = records.map(packStubOf);
  for (const [i, value] of records.entries()) {
    const [found] = readMessages('k', readSegment('k', value));
    assert.equal(found?.number, i + 1);
    assert.equal(found?.payload, 'x'.repeat(i * 10));
    assert.deepEqual(readSegment('k', stubs[i] as Uint8Array).ids, packedIds(value)); // as many as records
  }
});

test('messages that count up take one id together', () => {
  const list = Array.from({ length: 1000 }, (_, i) => messageOf({ ...one, number: i + 1 }));
  const ids = packedIds(packSegment({ ...head, count: 1000, bytes: 0 }, list, undefined));
  assert.ok(ids.length < 40, `${ids.length} bytes`);
});

const one: Given = {
  topic: 'a',
  payload: 'x',
  headers: { h: 'v' },
  key: 'k',
  source: 'here',
  origin: 'o',
  number: 1,
  expiresAt: 5,
  dueAt: 6,
  publishedAt: 7,
};

test('every flipped bit and every cut of a segment and of a stub is noticed', () => {
  const messages = [one, { ...one, number: 0, origin: 'id' }].map(messageOf);
  const value = packSegment({ ...head, count: 2, bytes: 9 }, messages, new Map([['o', 2]]));
  for (const whole of [value, packStubOf(value), packStub({ ...head, count: 2, bytes: 9 })]) {
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const copy = new Uint8Array(whole);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.throws(() => readMessages('k', readSegment('k', copy)), refusal('STORE_CORRUPT'), `bit ${bit}`);
    }
    for (let length = 0; length < whole.length; length++) {
      assert.throws(() => readSegment('k', whole.subarray(0, length)), refusal('STORE_CORRUPT'), `cut to ${length}`);
    }
  }
});

test('what the publisher does with its object afterwards changes nothing that is stored', () => {
  const payload = { n: 1 };
  const stored = messageOf({ ...one, payload });
  payload.n = 2;
  assert.deepEqual(stored.payload, { n: 1 });
});
