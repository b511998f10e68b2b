import { type DestinationStream, pino } from 'pino';
import { BusError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';

/** The logger that was given, or one that writes to stderr. */
export function resolveLogger(given: unknown): { logger: Logger; flush: () => void } {
  if (given !== undefined) {
    const methods = ['debug', 'info', 'warn', 'error', 'child'] as const;
    const missing = methods.find((name) => typeof (given as Record<string, unknown> | null)?.[name] !== 'function');
    if (missing !== undefined)
      throw new BusError('OPTION_INVALID', `logger: it has no method ${missing}(); pass a pino logger`);
    return { logger: safe(given as Logger), flush: () => {} };
  }
  const destination = pino.destination({ dest: 2, sync: false });
  return {
    logger: loggerTo(destination, 'warn', {}),
    flush: () => {
      try {
        destination.flushSync();
      } catch {
        // Nothing was ever written: the destination is not open yet, and there is nothing to lose.
      }
    },
  };
}

/** A pino logger that writes to a stream. @param base what every line bears. */
export function loggerTo(destination: DestinationStream, level: string, base: Record<string, unknown>): Logger {
  return safe(pino({ level, base, name: 'mailvan' }, destination));
}

/** A logger that throws must not take down what it tells of. */
function safe(logger: Logger): Logger {
  const guard =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (fields: object, text: string): void => {
      try {
        logger[level](fields, text);
      } catch {
        // Nobody is left to tell.
      }
    };
  return {
    debug: guard('debug'),
    info: guard('info'),
    warn: guard('warn'),
    error: guard('error'),
    child: (fields) => safe(logger.child(fields)),
  };
}
