import type { Clock, Timer } from '../../core/clock.ts';
import { BusError, type ErrorCode, errorCodes } from '../../core/errors.ts';
import type { ControlFrame } from '../../wire/frame.ts';

type Request = ControlFrame & { type: 'request' };
type Reply = ControlFrame & { type: 'reply' };

/** Answers a control request of another node. What it throws is the answer. */
export type RequestHandler = (method: string, params: unknown, source: string) => Promise<unknown>;

/** The link that a request goes out over. */
export interface RequestLink {
  /** @returns false when the frame is too large. */
  send(frame: ControlFrame): boolean;
}

/** A request of another node that is being answered, and the link that it came over, for as long as that is open. */
interface Asked {
  link: RequestLink | undefined;
}

interface Pending {
  readonly link: RequestLink;
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
  readonly #answers = new Set<Promise<void>>();
  /** By the link that they came over: an answer may take long, and must not keep a link that has gone. */
  readonly #asked = new Map<RequestLink, Set<Asked>>();
  /** How many of them are for one node. */
  readonly #answering = new Map<string, number>();
  #last = 0;

  constructor(clock: Clock, node: string) {
    this.#clock = clock;
    this.#node = node;
  }

  /** @throws {BusError} `TIMEOUT`, or what the other node answers. */
  ask(link: RequestLink, target: string, method: string, params: unknown, timeout: number): Promise<unknown> {
    if (this.#pending.size >= maxPending) {
      throw new BusError('MAILBOX_FULL', `${maxPending} requests wait for their replies already`);
    }
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.timer(timeout, () => {
        this.#pending.delete(id);
        reject(new BusError('TIMEOUT', `node '${target}' did not answer '${method}' within ${timeout} ms`));
      });
      this.#pending.set(id, { link, resolve, reject, timer });
      if (link.send({ type: 'request', id, source: this.#node, target, method, params })) return;
      const error = { code: 'PAYLOAD_TOO_LARGE', message: `the request '${method}' is larger than a frame` };
      this.take({ type: 'reply', id, target: this.#node, error });
    });
  }

  /** A reply has come in. */
  take(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return; // its time was up
    this.#pending.delete(reply.id);
    pending.timer.cancel();
    if (reply.error === undefined) pending.resolve(reply.value);
    else {
      const { code, message, reasons } = reply.error;
      pending.reject(new BusError(codeOf(code), message, reasons === undefined ? {} : { reasons }));
    }
  }

  /** Resolves when every request of other nodes that is being answered has been. */
  async answered(): Promise<void> {
    await Promise.all(this.#answers);
  }

  /** A link has gone, and with it the replies to what was asked over it. */
  lost(link: RequestLink): void {
    for (const [id, pending] of this.#pending) {
      if (pending.link !== link) continue;
      this.#pending.delete(id);
      pending.timer.cancel();
      pending.reject(new BusError('NODE_UNREACHABLE', 'the link closed before the answer came'));
    }
    for (const asked of this.#asked.get(link) ?? []) asked.link = undefined;
    this.#asked.delete(link);
  }

  /** How many requests of a node are being answered. */
  answering(source: string): number {
    return this.#answering.get(source) ?? 0;
  }

  /** Answers a request of another node, over the link that it came over. */
  answer(request: Request, handler: RequestHandler, link: RequestLink): void {
    const { source, method } = request;
    const asked: Asked = { link };
    const over = this.#asked.get(link);
    if (over === undefined) this.#asked.set(link, new Set([asked]));
    else over.add(asked);
    const answer = this.#answer(request, handler).then((reply) => this.#reply(asked, reply, method));
    this.#answers.add(answer);
    this.#answering.set(source, this.answering(source) + 1);
    void answer.finally(() => {
      this.#answers.delete(answer);
      const left = this.answering(source) - 1;
      if (left === 0) this.#answering.delete(source);
      else this.#answering.set(source, left);
    });
  }

  #reply(asked: Asked, reply: Reply, method: string): void {
    const { link } = asked;
    if (link === undefined) return; // whoever asked knows that no answer comes
    const over = this.#asked.get(link);
    over?.delete(asked);
    if (over?.size === 0) this.#asked.delete(link);
    if (link.send(reply)) return;
    const error = { code: 'PAYLOAD_TOO_LARGE', message: `the answer to '${method}' is larger than a frame` };
    link.send({ type: 'reply', id: reply.id, target: reply.target, error });
  }

  async #answer(request: Request, handler: RequestHandler): Promise<Reply> {
    const { id, source, method, params } = request;
    try {
      const value = await handler(method, params, source);
      return { type: 'reply', id, target: source, ...(value === undefined ? {} : { value }) };
    } catch (error) {
      const { code, message, reasons } =
        error instanceof BusError ? error : new BusError('INTERNAL', `'${method}' failed on ${this.#node}`);
      return { type: 'reply', id, target: source, error: { code, message, ...(reasons && { reasons }) } };
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
