import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BusError } from '../../src/core/errors.ts';
import { Message } from '../../src/core/message.ts';
import { FlowWriter, readFlow } from '../../src/wire/flow.ts';
import { DataReader, DataWriter, maxRows, Parcel, topicSlots } from '../../src/wire/pack.ts';

interface Row {
  stream: number;
  number: number;
  parcel: Parcel | undefined;
}

function messageOf(
  topic: string,
  payload: unknown,
  extra: { id?: string; key?: string; headers?: Record<string, string> } = {},
): Message {
  const { id, key, headers } = extra;
  return new Message(
    topic,
    payload,
    headers,
    key,
    1234.5,
    'node',
    0,
    id ?? 'origin',
    id === undefined ? 7 : 0,
    undefined,
    undefined,
  );
}

function readAll(reader: DataReader, frame: Uint8Array): Row[] {
  const rows: Row[] = [];
  assert.equal(new DataView(frame.buffer, frame.byteOffset).getUint32(0), frame.length - 4);
  reader.read(frame.subarray(4), (stream, number, parcel) => rows.push({ stream, number, parcel }));
  return rows;
}

const opened = (row: Row | undefined) => row?.parcel?.open('node', 'origin', 0).toJSON();

test('what is packed is what is read: stream, number, topic, key, headers, id, time and payload', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          stream: fc.integer({ min: 1, max: 0xffffffff }),
          number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
          topic: fc.stringMatching(/^[a-zü.]{1,60}$/),
          payload: fc.oneof(
            fc.string(),
            fc.integer(),
            fc.uint8Array(),
            fc.dictionary(fc.stringMatching(/^[a-zü]{1,9}$/), fc.boolean(), { noNullPrototype: true }),
          ),
          key: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
          id: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
          given: fc.boolean(),
        }),
        { minLength: 1, maxLength: 50 },
      ),
      (list) => {
        const [writer, reader] = [new DataWriter(), new DataReader()];
        const messages = list.map(({ topic, payload, key, id }) =>
          messageOf(topic, payload, {
            ...(key === undefined ? {} : { key: key.toWellFormed() }),
            ...(id === undefined ? {} : { id: id.toWellFormed() }),
            headers: { a: 'b' },
          }),
        );
        list.forEach(({ stream, number, given }, i) => {
          writer.add(stream, number, given ? Parcel.of(messages[i] as Message) : undefined);
        });
        const rows = readAll(reader, writer.take());
        assert.equal(rows.length, list.length);
        list.forEach(({ stream, number, given }, i) => {
          assert.deepEqual([rows[i]?.stream, rows[i]?.number], [stream, number]);
          if (given) assert.deepEqual(opened(rows[i]), { ...messages[i]?.toJSON() });
          else assert.equal(rows[i]?.parcel, undefined);
        });
      },
    ),
    { numRuns: 200 },
  );
});

test('a message for several streams of one link carries its payload once', () => {
  const writer = new DataWriter();
  const parcel = Parcel.of(messageOf('t', 'x'.repeat(1000)));
  for (let stream = 1; stream <= 20; stream++) writer.add(stream, 1, parcel);
  const frame = writer.take();
  assert.ok(frame.length < 3000, `${frame.length} bytes`);
  const rows = readAll(new DataReader(), frame);
  assert.equal(rows.length, 20);
  for (const row of rows) assert.equal(opened(row)?.payload, 'x'.repeat(1000));
});

test('a topic travels once a link, and again after its slot has been given to another', () => {
  const [writer, reader] = [new DataWriter(), new DataReader()];
  const send = (topic: string): number => {
    writer.add(1, 1, Parcel.of(messageOf(topic, null)));
    const frame = writer.take();
    assert.equal(opened(readAll(reader, frame)[0])?.topic, topic);
    return frame.length;
  };
  const long = 'a'.repeat(100);
  assert.equal(send(long) - send(long), 103);
  for (let i = 0; i < topicSlots; i++) send(`other-${i}`);
  assert.ok(send(long) > 140);
  for (let i = 0; i < topicSlots; i++) assert.ok(send(`other-${i}`) > 0);
});

test('a frame with as many rows and topics as it may hold is read back whole', () => {
  const [writer, reader] = [new DataWriter(), new DataReader()];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; !writer.full; i++) writer.add(1, i + 1, Parcel.of(messageOf(`topic-${round}-${i}`, i)));
    const rows = readAll(reader, writer.take());
    assert.equal(rows.length, maxRows);
    rows.forEach((row, i) => {
      assert.equal(opened(row)?.topic, `topic-${round}-${i}`);
    });
  }
});

test('a data frame that is cut, lengthened or changed is read, or refused with PROTOCOL_ERROR, and never crashes', () => {
  const writer = new DataWriter();
  for (let i = 0; i < 5; i++)
    writer.add(i + 1, i + 1, Parcel.of(messageOf(`t${i}`, { i }, { key: 'k', headers: { h: 'v' } })));
  const frame = writer.take().slice(4);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(frame.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(frame.length),
      (changes, length) => {
        const bytes = frame.slice(0, length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          new DataReader().read(bytes, (_stream, _number, parcel) => {
            const message = parcel?.open('n', 'o', 0);
            try {
              void message?.payload;
            } catch (error) {
              assert.ok(error instanceof BusError && error.code === 'PAYLOAD_INVALID', String(error));
            }
          });
        } catch (error) {
          assert.ok(error instanceof BusError && error.code === 'PROTOCOL_ERROR', String(error));
        }
      },
    ),
    { numRuns: 3000 },
  );
});

test('flow rows are read as they were written, and a cut flow frame is refused', () => {
  const writer = new FlowWriter();
  const rows = [
    [0, 1, 2, 3],
    [1, 0xffffffff, Number.MAX_SAFE_INTEGER, 0],
    [2, 5, 6, 1],
    [3, 7, 0, 0],
  ];
  for (const [kind, stream, number, allow] of rows as [number, number, number, number][])
    writer.add(kind, stream, number, allow);
  const frame = writer.take();
  assert.equal(writer.empty, true);
  const read: number[][] = [];
  readFlow(frame.subarray(4), (...row) => read.push(row));
  assert.deepEqual(read, rows);
  assert.throws(() => readFlow(frame.subarray(4, frame.length - 1), () => {}), { code: 'PROTOCOL_ERROR' });
});

test('a message that waits lets go of the frame that it came in', () => {
  const writer = new DataWriter();
  for (let i = 0; i < 500; i++) writer.add(1, i + 1, Parcel.of(messageOf('t', 'x'.repeat(200))));
  const frame = writer.take();
  const [row] = readAll(new DataReader(), frame);
  const message = row?.parcel?.open('node', 'origin', 0);
  const bytesOf = (): Uint8Array =>
    message?.bytes(() => assert.fail('it is encoded already')) ?? assert.fail('no message');
  assert.equal(bytesOf().buffer, frame.buffer);
  message?.detach();
  assert.ok(bytesOf().buffer.byteLength <= Buffer.poolSize);
  assert.equal(message?.payload, 'x'.repeat(200));
});
