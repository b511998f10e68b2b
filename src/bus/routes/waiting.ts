import { Deadline } from '../../core/deadlines.ts';
import type { BusError, ErrorCode, Receipt } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { type Destination, receiptOf, routesFailed } from './publication.ts';

let resolveTaken: (receipt: Receipt) => void;
let rejectTaken: (error: BusError) => void;

/** What a promise is made with, for all of them: a function of its own for each is memory that nobody needs. */
function take(resolve: (receipt: Receipt) => void, reject: (error: BusError) => void): void {
  resolveTaken = resolve;
  rejectTaken = reject;
}

/** A publish that waits for one durable mailbox and nothing else: most of them, so it does without a table of tickets. */
export class Waiting extends Deadline {
  readonly result: Promise<Receipt>;
  readonly #route: Destination;
  readonly #message: Message;
  readonly #timeout: number;
  #resolve: ((receipt: Receipt) => void) | undefined;
  #reject: ((error: BusError) => void) | undefined;

  constructor(route: Destination, message: Message, timeout: number) {
    super();
    this.#route = route;
    this.#message = message;
    this.#timeout = timeout;
    this.result = new Promise(take);
    this.#resolve = resolveTaken;
    this.#reject = rejectTaken;
  }

  expire(): void {
    this.end('TIMEOUT');
  }

  /** @param stored how many mailboxes have it; the local store has it for the others. */
  protected done(level: 'os' | 'fsync', stored: 0 | 1): void {
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    this.#resolve = undefined;
    this.cancel();
    resolve({ id: this.#message.id, matched: 1, stored, spooled: 1 - stored, level, unreachable: [] });
  }

  protected end(code: ErrorCode): void {
    if (this.#resolve === undefined) return;
    this.#resolve = undefined;
    this.cancel();
    const failure = { subscription: this.#route.subscription, node: this.#route.node, code };
    this.#reject?.(routesFailed(receiptOf(this.#message, 1), [failure], this.#timeout));
  }
}
