import type { RetryPolicy } from '../core/retry.ts';
import type { OutageOption } from './brake.ts';
import type { DeclarativeFilter } from './filters.ts';

/** What happens to a message for a mailbox that is full. */
export type Overflow = 'block' | 'reject' | 'drop-oldest' | 'drop-newest';

/** How much a mailbox holds. Messages that are being handled do not count. */
export interface MailboxLimits {
  /** @default 10_000 */
  messages: number;
  /** By the estimate of the walk that validates a payload. A message larger than this enters an empty mailbox. @default 16 MiB */
  bytes: number;
  /** How long a message may wait, in milliseconds: one that has waited longer is dropped, counted. @default Infinity */
  age: number;
  /** `block` makes `publish()` wait for room until its deadline. @default 'block' */
  overflow: Overflow;
  /** Whether what these limits drop, and what expires, becomes a dead letter. @default false */
  deadLetters: boolean;
}

/** Keep only the newest: of the whole subscription, or of each topic. */
export type LatestOnly = false | true | 'topic';
/** When a commit counts: when the medium has it, or the operating system. */
export type Durability = 'fsync' | 'os';

/** The options of a durable mailbox: they belong to its home, and are the same for all its consumers. */
export interface MailboxPolicy {
  readonly retry: Readonly<RetryPolicy>;
  readonly outage: OutageOption;
  readonly limits: Readonly<MailboxLimits>;
  readonly latestOnly: LatestOnly;
  readonly filters: readonly DeclarativeFilter[];
  readonly durability: Durability;
}
