import type { StagedOptions } from '../../actors/delivery.ts';
import { checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import { type Headers, Message } from '../../core/message.ts';
import { measurePayload } from '../../core/payload.ts';

/** What `emit()` takes beside topic and payload. */
export interface EmitOptions extends StagedOptions {
  /** The message's id, 1 to 128 characters: repeat a publish under it. @default a new one */
  id?: string;
  /** Messages of one key are handled in order, one at a time; 1 to 255 characters. */
  key?: string;
  /** Text beside the payload, at most 64 KiB in all. */
  headers?: Record<string, string>;
  /** Milliseconds after which it is not worth delivering any more: it expires, counted. @default never */
  ttl?: number;
  /** Milliseconds before it may be delivered. Not together with `deliverAt`. @default 0 */
  delay?: number;
  /** When it may be delivered: a Date, or milliseconds since 1970. @default at once */
  deliverAt?: Date | number;
}

/** What `publish()` takes beside topic and payload. */
export interface PublishOptions extends EmitOptions {
  /** Fewer matching routes than this are `NO_SUBSCRIBERS`. @default 0 */
  atLeast?: number;
  /** How long to wait for room and for other nodes, in milliseconds. @default 10_000 */
  timeout?: number;
  /** Gives up when it is aborted. */
  signal?: AbortSignal;
}

const emitKeys = ['id', 'key', 'headers', 'ttl', 'delay', 'deliverAt'];
const publishKeys = [...emitKeys, 'atLeast', 'timeout', 'signal'];
const onlyPublish = {
  atLeast: 'emit() does not wait: use publish()',
  timeout: 'emit() does not wait: use publish()',
  signal: 'emit() does not wait: use publish()',
};
const maxHeaderBytes = 65_536;
/** What a message takes beside its payload, about. */
const overhead = 64;

/** The publish options with their defaults. */
export interface ResolvedPublish {
  readonly atLeast: number;
  readonly timeout: number;
  readonly signal: AbortSignal | undefined;
}

export const defaultPublish: ResolvedPublish = Object.freeze({ atLeast: 0, timeout: 10_000, signal: undefined });

/** Checks the options that only `publish()` takes. @throws {BusError} `OPTION_INVALID`, `ABORTED`. */
export function resolvePublish(options: PublishOptions): ResolvedPublish {
  checkObject('publish options', options);
  checkKnown('publish options', options, publishKeys);
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new BusError('OPTION_INVALID', `signal ${describe(signal)} is no AbortSignal`);
  }
  if (signal?.aborted === true)
    throw new BusError('ABORTED', 'the signal was aborted before the publish', { cause: signal.reason });
  return {
    atLeast: checkNumber('atLeast', options.atLeast, 0, { min: 0, max: 1_000_000 }),
    timeout: checkNumber('timeout', options.timeout, 10_000, { min: 1, max: 86_400_000 }),
    signal,
  };
}

/** Checks the options of `emit()` and of staged messages. @throws {BusError} `OPTION_INVALID`. */
export function checkEmit(options: EmitOptions): void {
  checkObject('emit options', options);
  checkKnown('emit options', options, emitKeys, onlyPublish);
}

/** Makes messages of one node, numbering those that are given no id. */
export class MessageFactory {
  readonly #clock: Clock;
  readonly #node: string;
  readonly #origin: string;
  readonly #limit: number;
  #last = 0;

  /**
   * @param origin what the ids start with: 64 random bits of the node's incarnation.
   * @param limit the largest encoded payload, in bytes.
   */
  constructor(clock: Clock, node: string, origin: string, limit: number) {
    this.#clock = clock;
    this.#node = node;
    this.#origin = origin;
    this.#limit = limit;
  }

  /** @throws {BusError} `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`, `OPTION_INVALID`. The topic is checked by the router. */
  create(topic: string, payload: unknown, options: EmitOptions | undefined): Message {
    const size = measurePayload(payload, this.#limit) + topic.length + overhead;
    if (options === undefined) {
      return new Message(
        topic,
        payload,
        undefined,
        undefined,
        this.#clock.now(),
        this.#node,
        size,
        this.#origin,
        ++this.#last,
        undefined,
        undefined,
      );
    }
    const { id, key } = options;
    if (id !== undefined) checkText('id', id, 128);
    if (key !== undefined) checkText('key', key, 255);
    const headers = options.headers === undefined ? undefined : checkHeaders(options.headers);
    const whole = size + (headers === undefined ? 0 : headerBytes(headers)) + (key === undefined ? 0 : key.length);
    const number = id === undefined ? ++this.#last : 0;
    const message = new Message(
      topic,
      payload,
      headers,
      key,
      this.#clock.now(),
      this.#node,
      whole,
      id ?? this.#origin,
      number,
      undefined,
      undefined,
    );
    setTimes(message, options, this.#clock);
    return message;
  }
}

/** Ten years, in milliseconds. */
const longest = 315_360_000_000;

function setTimes(message: Message, { ttl, delay, deliverAt }: EmitOptions, clock: Clock): void {
  if (ttl === undefined && delay === undefined && deliverAt === undefined) return;
  const now = clock.now();
  message.leavesAt = now;
  if (delay !== undefined && deliverAt !== undefined) {
    throw new BusError('OPTION_INVALID', "'delay' and 'deliverAt' say the same thing: give one of them");
  }
  if (delay !== undefined) message.dueAt = now + checkNumber('delay', delay, 0, { min: 0, max: longest });
  if (deliverAt !== undefined) {
    const at = deliverAt instanceof Date ? deliverAt.getTime() : deliverAt;
    message.dueAt = checkNumber('deliverAt', at, 0, { min: 0, max: now + longest });
  }
  if (ttl !== undefined) message.expiresAt = now + checkNumber('ttl', ttl, 0, { min: 1, max: longest });
}

function checkText(what: string, value: unknown, max: number): void {
  if (typeof value === 'string' && value.length > 0 && value.length <= max) return;
  throw new BusError('OPTION_INVALID', `${what} ${describe(value)} must be a string of 1 to ${max} characters`);
}

function checkHeaders(given: Record<string, string>): Headers {
  checkObject('headers', given);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'string')
      throw new BusError('OPTION_INVALID', `header ${describe(name)} is ${describe(value)}; headers are strings`);
    if (name === '__proto__') throw new BusError('OPTION_INVALID', "a header cannot be named '__proto__'");
  }
  // A copy: the caller may go on to change its own.
  const headers = Object.freeze({ ...given });
  const bytes = headerBytes(headers);
  if (bytes > maxHeaderBytes)
    throw new BusError('OPTION_INVALID', `headers take ${bytes} bytes; at most ${maxHeaderBytes} are allowed`);
  return headers;
}

function headerBytes(headers: Headers): number {
  let bytes = 0;
  for (const name in headers) bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] ?? '') + 6;
  return bytes;
}
