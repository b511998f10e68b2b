import type { SubscriptionState } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import type { DeadReason } from '../core/retry.ts';
import { Delivery } from './delivery.ts';
import type { Mailbox } from './mailbox.ts';
import type { SubscriberOptions } from './subscriber-options.ts';

/** What a burial needs of its subscriber. */
export interface BurialHost {
  readonly options: SubscriberOptions;
  readonly mailbox: Mailbox;
  readonly log: Logger;
  readonly state: SubscriptionState;
  dropped(delivery: Delivery | undefined, reason: 'closed'): void;
  /** @returns whether it was not paused before. */
  pauseFor(reason: string): boolean;
  resume(): void;
  checkIdle(): void;
}

interface Condemned {
  readonly delivery: Delivery;
  readonly reason: DeadReason;
  readonly error: Error;
}

/** Moves the messages of one subscription to the dead letters. While those are full, they are kept and it pauses. */
export class Burial {
  readonly #host: BurialHost;
  #condemned: Condemned[] = [];
  #stopWaiting: (() => void) | undefined;
  /** The pause is this one's own, and not the user's. */
  #paused = false;
  #underWay = 0;
  #buried = 0;

  constructor(host: BurialHost) {
    this.#host = host;
  }

  /** How many were moved since the beginning. */
  get buried(): number {
    return this.#buried;
  }

  /** How many wait for room among the dead letters. */
  get condemned(): number {
    return this.#condemned.length;
  }

  /** How many have been given up and are not among the dead letters yet. */
  get pending(): number {
    return this.#underWay + this.#condemned.length;
  }

  bury(delivery: Delivery, reason: DeadReason, error: Error): void {
    const { deadLetters } = this.#host.options;
    const added = deadLetters.add(delivery, reason, error);
    if (added === false) {
      if (this.#condemned.length === 0) this.#stopWaiting = deadLetters.whenRoom(this.#again);
      if (this.#host.pauseFor('the dead letters are full: replay or drop some')) this.#paused = true;
      this.#condemned.push({ delivery, reason, error });
      return;
    }
    this.#underWay++;
    added.then(
      () => this.#done(delivery, reason, error),
      (failure: unknown) => this.#failed(delivery, failure),
    );
  }

  /** Somebody else wants it paused: room among the dead letters does not end that. */
  leavePaused(): void {
    this.#paused = false;
  }

  /** Waits for room no longer. @returns how many messages are lost by that. */
  close(): number {
    this.#stopWaiting?.();
    return this.#condemned.splice(0).length;
  }

  #done(delivery: Delivery, reason: DeadReason, error: Error): void {
    this.#underWay--;
    this.#buried++;
    const { mailbox, options } = this.#host;
    mailbox.settled(delivery.message);
    const { id, topic } = delivery.message;
    const { subscription, attempt: attempts } = delivery;
    options.events.emit({ type: 'message.dead', subscription, id, topic, attempts, reason, error });
    this.#host.checkIdle();
  }

  /** The store failed: the message stays in its mailbox and its last attempt is made once more later. */
  #failed(delivery: Delivery, failure: unknown): void {
    this.#underWay--;
    const { log, mailbox, options, state } = this.#host;
    log.error({ err: failure, message: delivery.message.id }, 'a dead letter could not be stored; it is tried again');
    if (state === 'closing' || state === 'closed') {
      this.#host.dropped(delivery, 'closed');
      this.#host.checkIdle();
      return;
    }
    const { message, owner, sequence, attempt, history, arrivedAt } = delivery;
    const next = new Delivery(message, owner, sequence, attempt, history);
    next.arrivedAt = arrivedAt;
    mailbox.park(next, options.retry.maxDelay);
  }

  readonly #again = (): void => {
    const condemned = this.#condemned;
    this.#condemned = [];
    for (const { delivery, reason, error } of condemned) this.bury(delivery, reason, error);
    if (this.#condemned.length > 0 || !this.#paused) return;
    this.#paused = false;
    if (this.#host.state === 'paused') this.#host.resume();
  };
}
