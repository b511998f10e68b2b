import { type Deferred, deferred } from '../../core/async.ts';
import { Deadline } from '../../core/deadlines.ts';
import { BusError, type ErrorCode, type Receipt, type RouteFailure } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';

/** Where a route leads, for receipts and errors. */
export interface Destination {
  readonly subscription: string;
  readonly node: string;
}

/** A route that a publication still waits for. */
export interface Ticket {
  readonly route: Destination;
  /** The publication waits no longer. @returns what to say of this route. */
  abandon(): ErrorCode;
}

/** Who hears what becomes of a message on a route to a mailbox in memory. */
export interface Listener {
  readonly receipt: Receipt;
  /** Another route that has to be waited for. */
  expect(ticket: Ticket): void;
  taken(ticket: Ticket): void;
  /** Whether it has the message is not known, or without a ticket: it has not. */
  unreachable(route: Destination, ticket?: Ticket): void;
  /** The subscription is not there any more, and has not taken it. */
  gone(route: Destination, ticket?: Ticket): void;
  /** It has not taken it. */
  failed(route: Destination, code: ErrorCode, ticket?: Ticket): void;
}

/** A publish that has to wait for some of its routes, until all of them have answered or its time is up. */
export class Publication extends Deadline implements Listener {
  readonly receipt: Receipt;
  readonly #tickets = new Set<Ticket>();
  readonly #failures: RouteFailure[] = [];
  readonly #result: Deferred<Receipt> = deferred();
  readonly #timeout: number;
  #signal: AbortSignal | undefined;
  #complete = false;

  constructor(message: Message, matched: number, timeout: number) {
    super();
    this.receipt = receiptOf(message, matched);
    this.#timeout = timeout;
  }

  get result(): Promise<Receipt> {
    return this.#result.promise;
  }

  expect(ticket: Ticket): void {
    this.#tickets.add(ticket);
  }

  taken(ticket: Ticket): void {
    if (this.#tickets.delete(ticket)) this.#check();
  }

  /** A durable mailbox has committed. */
  stored(level: 'os' | 'fsync', ticket: Ticket): void {
    if (!this.#tickets.delete(ticket)) return;
    this.#level(level);
    this.receipt.stored++;
    this.#check();
  }

  /** The local store has taken the message for a durable mailbox that is away. */
  spooled(level: 'os' | 'fsync', ticket: Ticket): void {
    if (!this.#tickets.delete(ticket)) return;
    this.#level(level);
    this.receipt.spooled++;
    this.#check();
  }

  #level(level: 'os' | 'fsync'): void {
    const { receipt } = this;
    if (receipt.stored + receipt.spooled === 0 || level === 'os') receipt.level = level;
  }

  unreachable(route: Destination, ticket?: Ticket): void {
    if (ticket !== undefined && !this.#tickets.delete(ticket)) return;
    this.receipt.unreachable.push(`${route.node}/${route.subscription}`);
    this.#check();
  }

  gone(route: Destination, ticket?: Ticket): void {
    this.unreachable(route, ticket);
  }

  failed(route: Destination, code: ErrorCode, ticket?: Ticket): void {
    if (ticket !== undefined && !this.#tickets.delete(ticket)) return;
    this.#failures.push({ subscription: route.subscription, node: route.node, code });
    this.#check();
  }

  /** Every route has been asked. */
  asked(signal: AbortSignal | undefined): Promise<Receipt> {
    this.#complete = true;
    this.#check();
    if (signal !== undefined && this.#tickets.size > 0) {
      this.#signal = signal;
      watch(signal, this.#aborted);
    }
    return this.result;
  }

  expire(): void {
    for (const ticket of [...this.#tickets]) {
      const code = ticket.abandon();
      if (code === 'NODE_UNREACHABLE') this.unreachable(ticket.route, ticket);
      else this.failed(ticket.route, code, ticket);
    }
  }

  readonly #aborted = (): void => {
    for (const ticket of this.#tickets) ticket.abandon();
    this.#tickets.clear();
    this.#end();
    const cause: unknown = this.#signal?.reason;
    this.#result.reject(
      new BusError('ABORTED', 'the publish was aborted: some routes may have the message', {
        cause,
        receipt: this.receipt,
      }),
    );
  };

  #check(): void {
    if (!this.#complete || this.#tickets.size > 0) return;
    this.#end();
    if (this.#failures.length === 0) this.#result.resolve(this.receipt);
    else this.#result.reject(routesFailed(this.receipt, this.#failures, this.#timeout));
  }

  #end(): void {
    this.cancel();
    if (this.#signal !== undefined) unwatch(this.#signal, this.#aborted);
  }
}

/** The error of a publish that some of its routes did not take. */
export function routesFailed(receipt: Receipt, failures: readonly RouteFailure[], timeout: number): BusError {
  const code = failures.find((failure) => failure.code === 'TIMEOUT')?.code ?? (failures[0] as RouteFailure).code; // not empty here
  const names = failures.slice(0, 3).map((failure) => `${failure.node}/${failure.subscription} (${failure.code})`);
  const rest = failures.length > 3 ? ` and ${failures.length - 3} more` : '';
  const within = code === 'TIMEOUT' ? ` within ${timeout} ms` : '';
  return new BusError(
    code,
    `${failures.length} of ${receipt.matched} routes did not take ${receipt.id}${within}: ${names.join(', ')}${rest}`,
    { receipt, failures },
  );
}

/** A receipt under which nothing is unreachable yet. */
export function receiptOf(message: Message, matched: number): Receipt {
  return { id: message.id, matched, stored: 0, spooled: 0, level: 'memory', unreachable: [] };
}

/** Who waits for a signal. One listener a signal: Node warns of a leak when more than ten publishes share one. */
const watched = new WeakMap<AbortSignal, Set<() => void>>();

function watch(signal: AbortSignal, aborted: () => void): void {
  const waiting = watched.get(signal);
  if (waiting === undefined) {
    watched.set(signal, new Set([aborted]));
    signal.addEventListener('abort', abortAll);
  } else {
    waiting.add(aborted);
  }
}

function unwatch(signal: AbortSignal, aborted: () => void): void {
  const waiting = watched.get(signal);
  if (waiting?.delete(aborted) !== true || waiting.size > 0) return;
  watched.delete(signal);
  signal.removeEventListener('abort', abortAll);
}

function abortAll(this: AbortSignal): void {
  for (const aborted of [...(watched.get(this) ?? [])]) aborted();
}
