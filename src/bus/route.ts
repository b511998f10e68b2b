import type { Message } from '../core/message.ts';
import type { RetryPolicy } from '../core/retry.ts';
import type { Pattern } from '../routing/pattern.ts';
import type { Destination, Publication } from './publication.ts';

/** One way that a message can take: to a mailbox of this node, or to one of another node. */
export interface Route extends Destination {
  readonly pattern: Pattern;
  readonly retry: Readonly<RetryPolicy>;
  /** Whether the mailbox can be reached now. */
  readonly reachable: boolean;
  /** Whether `emit` would take the message now; where it would not, counts that as a refusal. */
  hasRoom(message: Message): boolean;
  /** Takes the message without a receipt. @returns false, and nothing has changed, when there is no room. */
  emit(message: Message): boolean;
  /** Takes the message if that needs no waiting, so that most publishes need no {@link Publication}. */
  accept(message: Message): boolean;
  /** Sees to it that the publication hears what becomes of the message. */
  publish(message: Message, publication: Publication): void;
}
