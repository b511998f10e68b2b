/** How a failed message is tried again. */
export interface RetryPolicy {
  /** How many attempts in all, the first included. @default 5 */
  attempts: number;
  /** Milliseconds before the second attempt. @default 100 */
  delay: number;
  /** What each further delay is multiplied by. @default 2 */
  factor: number;
  /** The longest delay, in milliseconds. @default 30_000 */
  maxDelay: number;
  /** Each delay is varied by up to this share of itself, so that failures that came together part. @default 0.2 */
  jitter: number;
}

export const defaultRetry: Readonly<RetryPolicy> = Object.freeze({
  attempts: 5,
  delay: 100,
  factor: 2,
  maxDelay: 30_000,
  jitter: 0.2,
});

/** What becomes of a message whose attempt failed. */
export type RetryDecision = { action: 'retry'; delay: number } | { action: 'dead'; reason: DeadReason };

/** Why a message was given up. */
export type DeadReason =
  /** They are used up. */
  | 'attempts'
  /** The handler said that no attempt will ever succeed. */
  | 'permanent'
  /** It cannot be decoded. */
  | 'payload'
  /** It does not fit the schema of its consumer. */
  | 'invalid'
  /** Every attempt ended with the process that made it. */
  | 'crash'
  /** Its time to live was over. */
  | 'expired'
  /** It had waited longer than the mailbox keeps messages. */
  | 'age'
  /** The mailbox was full and drops the oldest. */
  | 'drop-oldest'
  /** It was kept for a mailbox on another node, which will not return. */
  | 'unreachable';

/**
 * Decides what follows a failed attempt: exponential backoff with jitter, as in
 * `min(maxDelay, delay * factor^(attempt - 1)) * (1 ± jitter)`.
 *
 * With the default policy and `dice` 0.5:
 *
 * | attempt that failed | 1   | 2   | 3   | 4   | 5    |
 * |---------------------|-----|-----|-----|-----|------|
 * | next, in ms         | 100 | 200 | 400 | 800 | dead |
 *
 * @param attempt which attempt failed, from 1.
 * @param permanent whether the handler said that no attempt will ever succeed.
 * @param dice a random number in [0, 1).
 */
export function decideRetry(policy: RetryPolicy, attempt: number, permanent: boolean, dice: number): RetryDecision {
  if (permanent) return { action: 'dead', reason: 'permanent' };
  if (attempt >= policy.attempts) return { action: 'dead', reason: 'attempts' };
  return { action: 'retry', delay: backoff(policy, attempt, dice) };
}

/** The wait after the `failures`-th failure in a row, in milliseconds. Also used for redialling and restarts. */
export function backoff(
  policy: Pick<RetryPolicy, 'delay' | 'factor' | 'maxDelay' | 'jitter'>,
  failures: number,
  dice: number,
): number {
  // Nothing times an infinite factor would be no number.
  const plain = policy.delay === 0 ? 0 : Math.min(policy.maxDelay, policy.delay * policy.factor ** (failures - 1));
  return plain * (1 + policy.jitter * (2 * dice - 1));
}
