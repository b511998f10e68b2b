import { BusError, describe } from '../core/errors.ts';
import { type Headers, Message } from '../core/message.ts';
import { storedSize } from '../storage/segment.ts';
import { decodePayload, encodePayload } from '../wire/codec.ts';
import type { DeadLetterChanges, StoredLetter } from './dead-letter.ts';

/** Checks and makes a message as `publish()` does. */
export type Prepare = (
  topic: string,
  payload: unknown,
  options: { id: string; key?: string; headers: Record<string, string> },
) => Message;

const changeable = ['topic', 'payload', 'headers', 'key'];

/**
 * The message of a letter with some of it changed. It keeps its id, its source and the time of its publishing.
 *
 * @throws {BusError} `OPTION_INVALID`, `TOPIC_INVALID`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`.
 */
export function editedMessage(stored: StoredLetter, changes: DeadLetterChanges, prepare: Prepare): Message {
  if (typeof changes !== 'object' || changes === null || Array.isArray(changes)) {
    throw new BusError('OPTION_INVALID', `edit() takes an object of what is to change, not ${describe(changes)}`);
  }
  const stranger = Object.keys(changes).find((name) => !changeable.includes(name));
  if (stranger !== undefined) {
    throw new BusError('OPTION_INVALID', `edit() cannot change '${stranger}'; it can ${changeable.join(', ')}`);
  }
  const { messageId: id, publishedAt, source } = stored;
  const { topic = stored.topic, headers = stored.headers as Headers, key = stored.key } = changes;
  const payload = changes.payload === undefined ? decodePayload(stored.payload) : changes.payload;
  const made = prepare(topic, payload, { id, headers: { ...headers }, ...(key == null ? {} : { key }) });
  const bytes = changes.payload === undefined ? stored.payload : made.bytes(encodePayload);
  const size = storedSize(made.topic, bytes, made.key, made.headers);
  return new Message(
    made.topic,
    undefined,
    made.headers,
    made.key,
    publishedAt,
    source,
    size,
    id,
    0,
    bytes,
    decodePayload,
  );
}
