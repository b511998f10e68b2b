import { inspect } from 'node:util';

/** Text that travels beside a payload. */
export type Headers = Readonly<Record<string, string>>;

const noHeaders: Headers = Object.freeze({});

/**
 * A message as its handler sees it: read-only, shared by all handlers in the process.
 *
 * One class serves local messages, whose payload is the publisher's own object, and those from other nodes, whose payload
 * stays bytes until somebody reads it. The id, too, becomes a string only when it is read: at millions of messages a
 * second both would cost more than the delivery itself.
 */
export class Message<T = unknown> {
  /** What it was published on. */
  readonly topic: string;
  /** Text beside the payload; empty when none was given. */
  readonly headers: Headers;
  /** Messages of one key are handled in order, one at a time. */
  readonly key: string | undefined;
  /** When it was published, by the publisher's clock: milliseconds since the epoch. */
  readonly publishedAt: number;
  /** The node that published it. */
  readonly source: string;
  /** @internal The estimated size in bytes, as mailboxes count it. */
  size: number;
  /** @internal An id of the publisher's choice, or the origin of a numbered one. */
  readonly origin: string;
  /** @internal The number within the origin; 0 when the id is of the publisher's choice. */
  readonly number: number;
  /** @internal Somebody has tried to read the payload in vain. */
  undecodable = false;
  /** @internal When it expires, by this node's clock: milliseconds since the epoch; 0 for never. */
  expiresAt = 0;
  /** @internal When it may be delivered, in the same way; 0 for at once. */
  dueAt = 0;
  /** @internal When it leaves this node, in the same way; matters only where one of those is set. */
  leavesAt = 0;
  /** @internal It holds its payload as bytes and counts its size by them. */
  stored = false;
  #payload: T | undefined;
  #bytes: Uint8Array | undefined;
  #decode: ((bytes: Uint8Array) => unknown) | undefined;

  /** @internal */
  constructor(
    topic: string,
    payload: T | undefined,
    headers: Headers | undefined,
    key: string | undefined,
    publishedAt: number,
    source: string,
    size: number,
    origin: string,
    number: number,
    bytes: Uint8Array | undefined,
    decode: ((bytes: Uint8Array) => unknown) | undefined,
  ) {
    this.topic = topic;
    this.headers = headers ?? noHeaders;
    this.key = key;
    this.publishedAt = publishedAt;
    this.source = source;
    this.size = size;
    this.origin = origin;
    this.number = number;
    this.#payload = payload;
    this.#bytes = bytes;
    this.#decode = decode;
  }

  /** What identifies it: the publisher's own `id`, or one made of the node's incarnation and a counter. */
  get id(): string {
    return messageId(this.origin, this.number);
  }

  /**
   * What was published. Within a process it is the publisher's object itself: do not change it.
   *
   * @throws {BusError} `PAYLOAD_INVALID` when it came from another node and is not what it should be. Let it pass: the
   * message then becomes a dead letter.
   */
  get payload(): T {
    const decode = this.#decode;
    if (decode !== undefined && this.#bytes !== undefined) {
      try {
        this.#payload = decode(this.#bytes) as T;
      } catch (error) {
        this.undecodable = true;
        throw error;
      }
      this.#decode = undefined;
    }
    return this.#payload as T; // set by the constructor or just above
  }

  /** @internal The same message with what a schema has made of its payload. */
  withPayload<U>(payload: U): Message<U> {
    const { topic, headers, key, publishedAt, source, size, origin, number } = this;
    return new Message(topic, payload, headers, key, publishedAt, source, size, origin, number, undefined, undefined);
  }

  /** @internal The encoded payload, made at most once however many mailboxes and links it goes to. */
  bytes(encode: (payload: unknown) => Uint8Array): Uint8Array {
    this.#bytes ??= encode(this.#payload);
    return this.#bytes;
  }

  /** @internal Holds its payload as bytes from now on; nobody else may know it as an object. */
  store(size: number, decode: (bytes: Uint8Array) => unknown): void {
    this.size = size;
    this.stored = true;
    this.#payload = undefined;
    this.#decode = decode;
  }

  /** @internal Lets go of the buffer that the bytes were received in, which is larger than they are. */
  detach(): void {
    const bytes = this.#bytes;
    // What lies in Node's pool of small buffers was copied before.
    if (bytes === undefined || bytes.buffer.byteLength <= Math.max(2 * bytes.byteLength, Buffer.poolSize)) return;
    const room = Buffer.allocUnsafe(bytes.byteLength);
    room.set(bytes);
    this.#bytes = room;
  }

  /** @internal What is left of its time to live and of its delay, as they travel: set when the message is to leave. */
  times(): { t?: number; d?: number } {
    const { expiresAt, dueAt, leavesAt } = this;
    return {
      ...(expiresAt === 0 ? {} : { t: Math.max(1, expiresAt - leavesAt) }),
      ...(dueAt === 0 ? {} : { d: Math.max(0, dueAt - leavesAt) }),
    };
  }

  /** A plain object with every field, so that a message can be logged or stored as JSON. */
  toJSON(): Record<string, unknown> {
    const { id, topic, payload, headers, key, publishedAt, source } = this;
    return { id, topic, payload, headers, ...(key === undefined ? {} : { key }), publishedAt, source };
  }

  /** Shows every field in `console.log`. */
  [inspect.custom](): unknown {
    return this.toJSON();
  }
}

/** The id that an origin and a number make; an id of the publisher's choice has the number 0 and is its own origin. */
export function messageId(origin: string, number: number): string {
  return number === 0 ? origin : `${origin}.${number}`;
}
