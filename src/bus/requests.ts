import type { Clock, Timer } from '../core/clock.ts';
import { BusError, type ErrorCode, errorCodes } from '../core/errors.ts';
import type { ControlFrame } from '../wire/frame.ts';

type Request = ControlFrame & { type: 'request' };
type Reply = ControlFrame & { type: 'reply' };

/** Answers a control request of another node. What it throws is the answer. */
export type RequestHandler = (method: string, params: unknown, source: string) => Promise<unknown>;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: BusError) => void;
  readonly timer: Timer;
}

/** How many requests of this node may wait for their replies. */
const maxPending = 1024;

/** Control requests to other nodes and their replies, by correlation ids of our own. */
export class Requests {
  readonly #clock: Clock;
  readonly #node: string;
  readonly #pending = new Map<number, Pending>();
  #last = 0;

  constructor(clock: Clock, node: string) {
    this.#clock = clock;
    this.#node = node;
  }

  /** @throws {BusError} `TIMEOUT`, or what the other node answers. */
  ask(
    send: (frame: Request) => boolean,
    target: string,
    method: string,
    params: unknown,
    timeout: number,
  ): Promise<unknown> {
    if (this.#pending.size >= maxPending) {
      throw new BusError('MAILBOX_FULL', `${maxPending} requests wait for their replies already`);
    }
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.timer(timeout, () => {
        this.#pending.delete(id);
        reject(new BusError('TIMEOUT', `node '${target}' did not answer '${method}' within ${timeout} ms`));
      });
      this.#pending.set(id, { resolve, reject, timer });
      if (send({ type: 'request', id, source: this.#node, target, method, params })) return;
      const error = { code: 'PAYLOAD_TOO_LARGE', message: `the request '${method}' is larger than a frame` };
      this.answered({ type: 'reply', id, target: this.#node, error });
    });
  }

  /** A reply has come in. */
  answered(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // its time was up
    this.#pending.delete(reply.id);
    pending.timer.cancel();
    if (reply.error === undefined) pending.resolve(reply.value);
    else pending.reject(new BusError(codeOf(reply.error.code), reply.error.message));
  }

  /** Answers a request of another node. */
  async answer(request: Request, handler: RequestHandler): Promise<Reply> {
    const { id, source, method, params } = request;
    try {
      const value = await handler(method, params, source);
      return { type: 'reply', id, target: source, ...(value === undefined ? {} : { value }) };
    } catch (error) {
      const { code, message } =
        error instanceof BusError ? error : new BusError('INTERNAL', `'${method}' failed on ${this.#node}`);
      return { type: 'reply', id, target: source, error: { code, message } };
    }
  }

  /** Nobody will answer any more. */
  close(): void {
    for (const { timer, reject } of this.#pending.values()) {
      timer.cancel();
      reject(new BusError('CLOSED', 'the bus has closed'));
    }
    this.#pending.clear();
  }
}

function codeOf(code: string): ErrorCode {
  return Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'INTERNAL';
}
