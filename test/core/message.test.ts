import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import { BusError } from '../../src/core/errors.ts';
import { Message, messageId } from '../../src/core/message.ts';
import { decodePayload, encodePayload } from '../../src/wire/codec.ts';

const local = (payload: unknown, id?: string): Message =>
  new Message(
    't',
    payload,
    undefined,
    undefined,
    5,
    'here',
    100,
    id ?? '0011',
    id === undefined ? 7 : 0,
    undefined,
    undefined,
  );

const remote = (bytes: Uint8Array): Message =>
  new Message('t', undefined, { h: 'v' }, 'k', 5, 'there', 100, '0011', 7, bytes, decodePayload);

describe('its id', () => {
  test("is the publisher's own, or made of the origin and a number", () => {
    assert.equal(local(1).id, '0011.7');
    assert.equal(local(1, 'mine').id, 'mine');
    assert.equal(messageId('0011', 123), '0011.123');
    assert.equal(messageId('mine', 0), 'mine');
  });
});

describe('its payload', () => {
  test('of this process is the object itself', () => {
    const payload = { a: 1 };
    assert.equal(local(payload).payload, payload);
    assert.equal(local(undefined).payload, undefined);
  });

  test('of another node is decoded when it is read, once', () => {
    const message = remote(encodePayload({ a: [1, 'x'] }));
    assert.deepEqual(message.payload, { a: [1, 'x'] });
    assert.equal(message.payload, message.payload);
    assert.equal(message.undecodable, false);
  });

  test('that cannot be decoded throws at every reading, and the message knows', () => {
    const message = remote(Uint8Array.of(0xc1));
    for (let i = 0; i < 2; i++) {
      assert.throws(
        () => message.payload,
        (error: unknown) => error instanceof BusError && error.code === 'PAYLOAD_INVALID',
      );
    }
    assert.equal(message.undecodable, true);
  });

  test('is encoded at most once', () => {
    let calls = 0;
    const encode = (payload: unknown): Uint8Array => {
      calls++;
      return encodePayload(payload);
    };
    const message = local({ a: 1 });
    assert.equal(message.bytes(encode), message.bytes(encode));
    assert.equal(calls, 1);
    const bytes = encodePayload(1);
    assert.equal(remote(bytes).bytes(encode), bytes, 'what came encoded stays so');
    assert.equal(calls, 1);
  });

  test('detach() lets go of a large buffer and keeps a fitting one', () => {
    const large = new Uint8Array(100_000);
    const inside = large.subarray(10, 20);
    inside.set(encodePayload('x'));
    const message = remote(inside);
    message.detach();
    const kept = message.bytes(encodePayload);
    assert.deepEqual(Buffer.from(kept), Buffer.from(inside));
    assert.ok(kept.buffer.byteLength < 100_000);
    const fitting = Uint8Array.from(encodePayload('x'));
    const other = remote(fitting);
    other.detach();
    assert.equal(other.bytes(encodePayload), fitting);
    local(1).detach();
  });
});

describe('shown', () => {
  test('as JSON it has every field, the key only if there is one', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(local({ a: 1 }))), {
      id: '0011.7',
      topic: 't',
      payload: { a: 1 },
      headers: {},
      publishedAt: 5,
      source: 'here',
    });
    assert.deepEqual(remote(encodePayload(1)).toJSON(), {
      id: '0011.7',
      topic: 't',
      payload: 1,
      headers: { h: 'v' },
      key: 'k',
      publishedAt: 5,
      source: 'there',
    });
  });

  test('console.log shows every field', () => {
    const text = inspect(remote(encodePayload('hello')));
    for (const part of ["id: '0011.7'", "topic: 't'", "payload: 'hello'", "key: 'k'", "source: 'there'"]) {
      assert.ok(text.includes(part), text);
    }
  });

  test('empty headers are shared and cannot be changed', () => {
    assert.equal(local(1).headers, local(2).headers);
    assert.ok(Object.isFrozen(local(1).headers));
  });
});
