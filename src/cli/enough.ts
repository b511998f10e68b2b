import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { readDuration } from './arguments.ts';
import type { Failure } from './failure.ts';

/** `--count` and `--timeout`, as they were given. */
interface Wanted {
  readonly count?: string | undefined;
  readonly timeout?: string | undefined;
}

/** Waits until a command that follows something has an end. @throws {Failure} what `tooFew` makes, when the time for `--count` is up. */
export async function untilEnough(
  { count, timeout }: Wanted,
  ends: Promise<unknown>[],
  tooFew: () => Failure,
): Promise<void> {
  const late = deferred<never>();
  const timer =
    count === undefined || timeout === undefined
      ? undefined
      : systemClock.timer(readDuration('--timeout', timeout), () => late.reject(tooFew()));
  try {
    await Promise.race([...ends, late.promise]);
  } finally {
    timer?.cancel();
  }
}
