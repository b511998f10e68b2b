import type { MailboxLimits, Overflow } from '../actors/mailbox.ts';
import { defaultRetry, type RetryPolicy } from '../core/retry.ts';
import { checkName } from '../core/topic.ts';
import { checkChoice, checkKnown, checkNumber, checkObject } from './checks.ts';

/** What `subscribe()` and `consume()` take beside pattern and handler. */
export interface SubscriptionOptions {
  /** Unique within the node: `[A-Za-z0-9_.-]{1,128}`. @default 'sub-1', 'sub-2', ... */
  name?: string;
  /** How failed messages are tried again. */
  retry?: Partial<RetryPolicy>;
  /** How much the mailbox holds, and what happens when it is full. */
  limits?: Partial<MailboxLimits>;
  /** How many messages are handled at a time. @default 1 */
  concurrency?: number;
  /** How long an attempt may take, in milliseconds. @default 30_000 */
  timeout?: number;
}

/** The options with every default filled in. */
export interface ResolvedSubscription {
  readonly name: string | undefined;
  readonly retry: Readonly<RetryPolicy>;
  readonly limits: Readonly<MailboxLimits>;
  readonly concurrency: number;
  readonly timeout: number;
}

const known = ['name', 'retry', 'limits', 'concurrency', 'timeout'];
const durable = 'durable mailboxes come in a later version';
const later = {
  durable,
  update: durable,
  latestOnly: durable,
  filters: durable,
  receive: durable,
  schema: 'typed topics come in a later version',
  group: 'groups come in a later version',
};
const overflows: readonly Overflow[] = ['block', 'reject', 'drop-oldest', 'drop-newest'];
const day = 86_400_000;

/** Checks what the user gave and fills in the defaults. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
export function resolveSubscription(options: SubscriptionOptions = {}): ResolvedSubscription {
  checkObject('subscription options', options);
  checkKnown('subscription options', options, known, later);
  if (options.name !== undefined) checkName('subscription', options.name);
  return {
    name: options.name,
    retry: resolveRetry(options.retry),
    limits: resolveLimits(options.limits),
    concurrency: checkNumber('concurrency', options.concurrency, 1, { min: 1, max: 1_000_000 }),
    timeout: checkNumber('timeout', options.timeout, 30_000, { min: 1, max: day }),
  };
}

function resolveRetry(given: Partial<RetryPolicy> = {}): RetryPolicy {
  checkObject('retry', given);
  checkKnown('retry', given, Object.keys(defaultRetry));
  const delay = checkNumber('retry.delay', given.delay, defaultRetry.delay, { min: 0, max: day, integer: false });
  return {
    attempts: checkNumber('retry.attempts', given.attempts, defaultRetry.attempts, { min: 1, max: 1_000_000 }),
    delay,
    factor: checkNumber('retry.factor', given.factor, defaultRetry.factor, { min: 1, max: 1000, integer: false }),
    maxDelay: checkNumber('retry.maxDelay', given.maxDelay, Math.max(defaultRetry.maxDelay, delay), {
      min: delay,
      max: 30 * day,
      integer: false,
    }),
    jitter: checkNumber('retry.jitter', given.jitter, defaultRetry.jitter, { min: 0, max: 1, integer: false }),
  };
}

function resolveLimits(given: Partial<MailboxLimits> = {}): MailboxLimits {
  checkObject('limits', given);
  checkKnown('limits', given, ['messages', 'bytes', 'overflow'], { age: durable });
  return {
    messages: checkNumber('limits.messages', given.messages, 10_000, { min: 1, max: 100_000_000 }),
    bytes: checkNumber('limits.bytes', given.bytes, 16 * 1024 * 1024, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    overflow: checkChoice('limits.overflow', given.overflow, 'block', overflows),
  };
}
