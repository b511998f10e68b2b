import type { EventHub } from '../core/events.ts';
import type { Message } from '../core/message.ts';
import type { DeadReason } from '../core/retry.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { History } from './delivery.ts';
import type { Moves } from './moves.ts';
import type { Slot } from './slot.ts';
import type { Tally } from './tally.ts';

/** What a burial needs of its mailbox. */
export interface DurableBurialHost {
  readonly name: string;
  readonly moves: Moves;
  readonly tally: Tally;
  readonly options: { readonly events: EventHub; readonly deadLetters: DeadLetters };
  /** A message leaves, in the same commit as its dead letter enters. */
  buried(slot: Slot): void;
  /** A message is not its consumer's any more, and has not left. */
  withdrawn(slot: Slot): void;
  /** Messages may be handed out again. */
  resumed(): void;
}

interface Condemned {
  readonly slot: Slot;
  readonly reason: DeadReason;
  readonly error: Error;
}

/** Moves messages of a durable mailbox to the dead letters. While those are full, it keeps them, and nothing is handed out. */
export class DurableBurial {
  readonly #host: DurableBurialHost;
  /** Whether some wait for room among the dead letters. A field, because it is asked for each message. */
  blocked = false;
  #condemned: Condemned[] = [];
  #stopWaiting: (() => void) | undefined;

  constructor(host: DurableBurialHost) {
    this.#host = host;
  }

  /** Those that wait for room among the dead letters. */
  get condemned(): Slot[] {
    return this.#condemned.map(({ slot }) => slot);
  }

  /** Gives a message up. */
  bury(slot: Slot, reason: DeadReason, error: Error): void {
    const { name, tally, options } = this.#host;
    if (!this.record(slot, reason, error)) {
      this.#host.withdrawn(slot);
      if (this.#condemned.length === 0) {
        this.#stopWaiting = options.deadLetters.whenRoom(this.#again);
        const why = 'the dead letters are full: replay or drop some';
        options.events.emit({ type: 'subscription.paused', subscription: name, reason: why });
      }
      this.#condemned.push({ slot, reason, error });
      this.blocked = true;
      return;
    }
    tally.dead++;
    this.#host.buried(slot);
    const { id, topic } = slot.message;
    const { attempt: attempts } = slot;
    options.events.emit({ type: 'message.dead', subscription: name, id, topic, attempts, reason, error });
  }

  /** Every attempt has ended with its process, or with the link to its consumer. */
  condemn(slot: Slot): void {
    slot.attempt--;
    this.bury(slot, 'crash', new Error('the process that handled it ended, at every attempt'));
  }

  /** Writes the dead letter of a message with the next commit. @returns false when the dead letters are full. */
  record(
    { message, attempt, history }: { message: Message; attempt: number; history: History | undefined },
    reason: DeadReason,
    error = new Error(`it left by the limits of its mailbox: ${reason}`),
  ): boolean {
    const { name: subscription, moves, options } = this.#host;
    const record = options.deadLetters.record({ message, subscription, attempt, history }, reason, error);
    if (record === undefined) return false;
    moves.put(record.key, record.value);
    return true;
  }

  /** Some of those that wait may have left. */
  sift(): void {
    this.#condemned = this.#condemned.filter(({ slot }) => !slot.gone);
    this.blocked = this.#condemned.length > 0;
    if (!this.blocked) this.close();
  }

  /** Waits for room no longer. */
  close(): void {
    this.#stopWaiting?.();
    this.#stopWaiting = undefined;
  }

  readonly #again = (): void => {
    const condemned = this.#condemned;
    this.#condemned = [];
    this.blocked = false;
    for (const { slot, reason, error } of condemned) if (!slot.gone) this.bury(slot, reason, error);
    if (!this.blocked) this.#host.resumed();
  };
}
