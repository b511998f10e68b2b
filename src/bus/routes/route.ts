import type { Deadline } from '../../core/deadlines.ts';
import type { BusError, Receipt } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { Commitment } from '../../storage/commits.ts';
import type { Destination, Publication } from './publication.ts';

/** A durable mailbox as the target of an atomic step. */
export interface DurableTarget {
  /** Why it cannot take a message now; undefined when it can. */
  refuses(message: Message): BusError | undefined;
  /** Takes a message with the next commit, although the mailbox may be full. */
  stage(message: Message, commitment: Commitment | undefined): void;
  /** Whether a message is in it, or was lately. */
  has(message: Message): boolean;
}

/** Ends waits. */
export interface DeadlineKeeper {
  await(deadline: Deadline, timeout: number): void;
}

/** One way that a message can take: to a mailbox of this node, or to one of another node. */
export interface Route extends Destination {
  readonly pattern: Pattern;
  readonly retry: Readonly<RetryPolicy>;
  /** Which group's member it is. */
  readonly group?: string | undefined;
  /** Of a group: every one of its members. */
  readonly members?: readonly Route[];
  /** Set when the mailbox is durable. */
  readonly durable: DurableTarget | undefined;
  /** Whether the mailbox can be reached now. */
  readonly reachable: boolean;
  /** Whether `emit` would take the message now; where it would not, counts that as a refusal. */
  hasRoom(message: Message): boolean;
  /** Takes the message without a receipt. @returns false, and nothing has changed, when there is no room. */
  emit(message: Message): boolean;
  /** Takes the message if that needs no waiting, so that most publishes need no {@link Publication}. */
  accept(message: Message): boolean;
  /**
   * Takes a message that goes nowhere else, without a {@link Publication}. @returns undefined when that is not possible: then
   * nothing has changed.
   */
  publishAlone?(message: Message, timeout: number, deadlines: DeadlineKeeper): Promise<Receipt> | undefined;
  /** Sees to it that the publication hears what becomes of the message. */
  publish(message: Message, publication: Publication): void;
}
