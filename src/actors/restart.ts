import type { Transitions } from '../core/lifecycle.ts';
import { backoff, type RetryPolicy } from '../core/retry.ts';

/** A supervised part. `backoff` waits for its restart, `failed` was given up and can be revived. */
export type PartState = 'starting' | 'running' | 'backoff' | 'failed' | 'stopping' | 'stopped';
export const partTransitions: Transitions<PartState> = {
  starting: ['running', 'backoff', 'failed', 'stopping'],
  running: ['backoff', 'failed', 'stopping'],
  backoff: ['starting', 'stopping'],
  failed: ['backoff', 'stopping'],
  stopping: ['stopped'],
  stopped: [],
};

/** How often, and after what waits, a part that fails is started again. Waits grow as those of a retry do. */
export interface RestartPolicy extends Pick<RetryPolicy, 'delay' | 'factor' | 'maxDelay' | 'jitter'> {
  /** How many restarts are made within the time `within`; the next failure is one too many. */
  readonly max: number;
  /** The length of the sliding window, in milliseconds. */
  readonly within: number;
}

/** What follows a failure. `history` is to be handed in at the next one. */
export type RestartDecision =
  | { readonly action: 'restart'; readonly delay: number; readonly history: readonly number[] }
  | { readonly action: 'giveUp' };

/** For the parts of the bus itself: 3 restarts in 30 s, after 10, 100 and 1,000 ms. */
export const internals: RestartPolicy = Object.freeze({
  max: 3,
  within: 30_000,
  delay: 10,
  factor: 10,
  maxDelay: 1000,
  jitter: 0,
});

/**
 * For the actors of handlers: 10 restarts in 10 s. The waits (10, 20, 40, ... 640, then 1,000 ms) add up to 4.3 s, or
 * 5.1 s with the worst of the dice: were it more than the window, an actor that always fails would never be given up.
 */
export const handlers: RestartPolicy = Object.freeze({
  max: 10,
  within: 10_000,
  delay: 10,
  factor: 2,
  maxDelay: 1000,
  jitter: 0.2,
});

/**
 * Decides what follows a failure: a restart after a wait that grows with the failures in the window, or the end.
 *
 * @param history when it failed before, in milliseconds, oldest first: as the last decision gave it, at first empty.
 * @param now the time of this failure, on the same clock, which must not jump back.
 * @param dice a random number in [0, 1); 0.5 is the plain wait. @default 0.5
 */
export function decideRestart(
  policy: RestartPolicy,
  history: readonly number[],
  now: number,
  dice = 0.5,
): RestartDecision {
  const recent = history.filter((at) => now - at < policy.within);
  if (recent.length >= policy.max) return { action: 'giveUp' };
  recent.push(now);
  return { action: 'restart', delay: backoff(policy, recent.length, dice), history: recent };
}
