import type { Fence } from './fences.ts';

/** Who takes messages from a durable mailbox. */
export interface MailboxConsumer {
  /** How many deliveries it may hold whose settlement is not written. */
  readonly credit: number;
  /** How many it holds: the mailbox counts. */
  held: number;
  /** How many of those are settled, and wait for a commit, or are in one. */
  settling: number;
  flying: number;
  /** How many it holds that may have killed their process before. */
  suspects: number;
  /** Whose place it takes; undefined when it is nobody's. */
  readonly fence: Fence | undefined;
  /** There may be something to take. Called often. */
  ready(): void;
  /** Somebody newer has taken its place: it gives back what it holds, at once. */
  revoked(): void;
  /** The mailbox is removed. */
  removed(): void;
}
