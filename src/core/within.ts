import { deferred } from './async.ts';
import type { Clock } from './clock.ts';

/** Waits for something, but no longer than `ms` milliseconds. Rejects as that does. @returns whether it was done in time. */
export async function within(clock: Clock, ms: number, done: PromiseLike<unknown>): Promise<boolean> {
  const late = deferred<boolean>();
  const timer = clock.timer(ms, () => late.resolve(false));
  try {
    return await Promise.race([done.then(() => true), late.promise]);
  } finally {
    timer.cancel();
  }
}
