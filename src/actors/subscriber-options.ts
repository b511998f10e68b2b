import type { Clock } from '../core/clock.ts';
import type { EventHub } from '../core/events.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import type { RetryPolicy } from '../core/retry.ts';
import type { OutageOption } from './brake.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { Context, Staged, StagedOptions } from './delivery.ts';
import type { FilterChain } from './filters.ts';
import type { MailboxLimits } from './mailbox.ts';
import type { LatestOnly } from './mailbox-policy.ts';

/** Handles one message. Returning or resolving acknowledges it; throwing or rejecting has it tried again. */
export type Handler<T = unknown> = (message: Message<T>, context: Context) => unknown;

/** Everything that a subscriber is told at its start. */
export interface SubscriberOptions {
  readonly name: string;
  readonly node: string;
  readonly mailboxId: string;
  readonly incarnation: string;
  readonly handler: Handler;
  readonly retry: Readonly<RetryPolicy>;
  readonly outage: OutageOption;
  readonly limits: Readonly<MailboxLimits>;
  readonly filters: FilterChain;
  readonly latestOnly: LatestOnly;
  /** How many messages are handled at a time. */
  readonly concurrency: number;
  /** How long an attempt may take, in milliseconds. */
  readonly timeout: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly deadLetters: DeadLetters;
  prepare(topic: string, payload: unknown, options: StagedOptions | undefined): Staged;
  /** Resolves when every message has its receipt. */
  publishStaged(messages: readonly Staged[]): Promise<void>;
}

/** What a subscriber needs of its actor. */
export interface SubscriberActor {
  /** Asks for a turn. @returns whether one will follow. */
  wake(): boolean;
  /** Continues as a new actor: the old one may be held by a handler that never returns. */
  replace(reason: string): void;
  /** Reports a failure outside a turn. */
  fault(error: unknown): void;
  /** Starts again after it was given up. */
  revive(): Promise<void>;
}

/** The numbers of a subscription. */
export interface SubscriptionStats {
  /** Messages that wait: arrived, behind their key, or for their retry. */
  waiting: number;
  /** The estimated bytes of those. */
  bytes: number;
  /** Messages that are being handled. */
  running: number;
  /** Attempts whose time was up and whose handler has still not returned. */
  abandoned: number;
  handled: number;
  /** Failed attempts. */
  failed: number;
  dead: number;
  /** Dropped by the overflow policy. */
  dropped: number;
  /** Waited longer than their time to live, or than the mailbox keeps messages. */
  expired: number;
  /** Not admitted by a filter. */
  filtered: number;
  /** Refused because the mailbox was full. */
  refused: number;
  /** Handled a second. */
  rate: number;
  /**
   * Whether nothing but single messages is handed out, because everything fails: see `outage` of the subscription's
   * options. False on a node that is not the home of a durable subscription.
   */
  probing: boolean;
}
