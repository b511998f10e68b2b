import type { Clock } from '../../core/clock.ts';
import { BusError, type ErrorCode } from '../../core/errors.ts';

/**
 * Asks another node something that may be asked twice, for at most `ms` milliseconds.
 *
 * @param attempt is told how many milliseconds are left.
 */
export type Asking = <T>(ms: number, attempt: (left: number) => Promise<T>) => Promise<T>;

/** After which failures somebody else may answer soon. */
const away: ReadonlySet<ErrorCode> = new Set(['NO_LEADER', 'NODE_UNREACHABLE']);
/** How long to wait then, in milliseconds. */
const pause = 20;

/** Asks once. */
export const once: Asking = (ms, attempt) => attempt(ms);

/** Asks again when the leader or the home is away, until the time is up: another process is about to take its place. */
export function patient(clock: Clock): Asking {
  return async (ms, attempt) => {
    for (const end = clock.monotonic() + ms; ; ) {
      try {
        return await attempt(Math.max(0, end - clock.monotonic()));
      } catch (error) {
        if (!(error instanceof BusError) || !away.has(error.code) || clock.monotonic() >= end) throw error;
      }
      await new Promise<void>((done) => void clock.timer(pause, done));
    }
  };
}
