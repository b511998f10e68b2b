import { BusError } from './errors.ts';

/** For each state, the states that may follow it. */
export type Transitions<S extends string> = Readonly<Record<S, readonly S[]>>;

/** A bus from `createBus()` to `close()`. */
export type BusState = 'starting' | 'running' | 'closing' | 'closed';
export const busTransitions: Transitions<BusState> = {
  starting: ['running', 'closing'],
  running: ['closing'],
  closing: ['closed'],
  closed: [],
};

/** A subscription. `quarantined` is a pause that the supervisor ordered. */
export type SubscriptionState = 'active' | 'paused' | 'quarantined' | 'closing' | 'closed';
export const subscriptionTransitions: Transitions<SubscriptionState> = {
  active: ['paused', 'quarantined', 'closing'],
  paused: ['active', 'quarantined', 'closing'],
  quarantined: ['active', 'closing'],
  closing: ['closed'],
  closed: [],
};

/** A delivery, which keeps to its table by itself (a test holds it to it): it settles exactly once. `confirming`: handled, and waits for the receipts of what it staged; `returned` goes back into its mailbox without having been judged. */
export type DeliveryState =
  | 'waiting'
  | 'running'
  | 'confirming'
  | 'acked'
  | 'nacked'
  | 'termed'
  | 'timedOut'
  | 'returned'
  | 'dropped';
export const deliveryTransitions: Transitions<DeliveryState> = {
  waiting: ['running', 'dropped'],
  running: ['confirming', 'acked', 'nacked', 'termed', 'timedOut', 'returned'],
  confirming: ['acked', 'nacked', 'timedOut', 'returned'],
  acked: [],
  nacked: [],
  termed: [],
  timedOut: [],
  returned: [],
  dropped: [],
};

/** A session over one connection, from the first byte to the last. */
export type SessionState = 'greeting' | 'proving' | 'open' | 'closed';
export const sessionTransitions: Transitions<SessionState> = {
  greeting: ['proving', 'open', 'closed'],
  proving: ['open', 'closed'],
  open: ['closed'],
  closed: [],
};

/** One status field with named states and one table that says what may follow what. */
export class Lifecycle<S extends string> {
  readonly #what: string;
  readonly #table: Transitions<S>;
  #state: S;

  constructor(what: string, table: Transitions<S>, initial: S) {
    this.#what = what;
    this.#table = table;
    this.#state = initial;
  }

  get state(): S {
    return this.#state;
  }

  /** Whether `next` may follow now. */
  allows(next: S): boolean {
    return this.#table[this.#state].includes(next);
  }

  /** Moves on. A transition that the table does not name is a bug of ours and throws `INTERNAL`. */
  to(next: S): void {
    if (!this.allows(next)) {
      throw new BusError('INTERNAL', `${this.#what} cannot go from '${this.#state}' to '${next}'`);
    }
    this.#state = next;
  }
}
