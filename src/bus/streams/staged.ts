import type { Staged } from '../../actors/delivery.ts';
import { BusError } from '../../core/errors.ts';
import { type Headers, Message } from '../../core/message.ts';
import { topicProblem } from '../../core/topic.ts';
import { storedSize } from '../../storage/segment.ts';
import { decodePayload, encodePayload } from '../../wire/codec.ts';
import { isSpan, isTime } from '../../wire/pack.ts';

/** What a handler has staged on another node than its mailbox's home, as it travels there. */
export interface StagedRecord {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly key?: string;
  readonly headers: Headers;
  /** An id of the handler's choice, or the origin of a numbered one. */
  readonly id: string;
  readonly number: number;
  readonly publishedAt: number;
  /** What is left of its time to live and of its delay, in milliseconds. */
  readonly t?: number;
  readonly d?: number;
}

export function encodeStaged(message: Staged): StagedRecord {
  const { topic, key, headers, origin, number, publishedAt } = message;
  return {
    topic,
    payload: message.bytes(encodePayload),
    ...(key === undefined ? {} : { key }),
    headers,
    id: origin,
    number,
    publishedAt,
    ...message.times(),
  };
}

/** @param source the node that staged it. @throws {BusError} `PROTOCOL_ERROR`. */
export function decodeStaged(given: unknown, source: string, now: number): Message {
  const { topic, payload, key, headers = {}, id, number, publishedAt, t, d } = (given ?? {}) as Partial<StagedRecord>;
  const fits =
    typeof topic === 'string' &&
    topicProblem(topic) === undefined &&
    payload instanceof Uint8Array &&
    (key === undefined || typeof key === 'string') &&
    typeof id === 'string' &&
    Number.isSafeInteger(number) &&
    isTime(publishedAt) &&
    (t === undefined || isSpan(t)) &&
    (d === undefined || isSpan(d)) &&
    typeof headers === 'object' &&
    headers !== null &&
    Object.values(headers).every((value) => typeof value === 'string');
  if (!fits) throw new BusError('PROTOCOL_ERROR', `node '${source}' has staged what is no message`);
  const size = storedSize(topic, payload, key, headers);
  const count = number as number; // it is a safe integer
  const message = new Message(
    topic,
    undefined,
    headers,
    key,
    publishedAt,
    source,
    size,
    id,
    count,
    payload,
    decodePayload,
  );
  message.stored = true;
  if (t !== undefined) message.expiresAt = now + t;
  if (d !== undefined) message.dueAt = now + d;
  return message;
}
