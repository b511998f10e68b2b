import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { exitCodes } from './failure.ts';

/** Signals that come closer together than this, in milliseconds, are one: npm and timeout repeat what they are sent. */
const together = 200;

/** Why a command that stays up has ended. */
export type StopReason = NodeJS.Signals | 'idle';

/** Hears the signals that ask a process to end. */
export interface Stop {
  /** Resolves at the first of them; with `'idle'` when nothing is left that could ever happen. */
  readonly asked: Promise<StopReason>;
  /** No longer listens. */
  end(): void;
}

/** Listens for SIGINT and SIGTERM. A second one ends the process at once, with exit code 1. */
export function listenForStop(): Stop {
  const asked = deferred<StopReason>();
  let first: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    const now = systemClock.monotonic();
    first ??= now;
    if (now - first > together) process.exit(exitCodes.failed);
    asked.resolve(signal);
  };
  const onIdle = (): void => asked.resolve('idle');
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  process.on('beforeExit', onIdle);
  return {
    asked: asked.promise,
    end: () => {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
      process.off('beforeExit', onIdle);
    },
  };
}
