import { once } from 'node:events';
import { hostname } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { within } from '../../core/within.ts';
import { lineSocket } from '../../transport/line-socket.ts';
import { loggerTo, resolveLogger } from './logger.ts';
import type { ResolvedSyslog } from './syslog-options.ts';

/** How long closing may wait for the server to take what is left, in milliseconds. */
const longestFlush = 2000;

/** The part of pino-syslog that is used: takes lines of JSON, and gives lines of syslog. */
interface PinoSyslog {
  readonly default: (options: Record<string, unknown>) => Duplex;
}

/**
 * A logger whose lines go to a server for syslog, as RFC 5424 with a record of JSON as the text. Made by pino and pino-syslog, in
 * this thread; sent by a socket of our own, because pino-socket drops what has not left when it is closed.
 *
 * @returns with `flush()`, which sends what is left, at most for 2 s, and closes.
 * @throws {BusError} `OPTION_INVALID` when pino-syslog is not installed.
 */
export async function openSyslog(
  { address, level, facility }: ResolvedSyslog,
  clock: Clock,
): Promise<{ logger: Logger; flush: () => Promise<void> }> {
  const { default: pinoSyslog } = await loaded();
  const format = pinoSyslog({
    enablePipelining: true,
    modern: true,
    appname: 'mailvan',
    facility,
    newline: address.scheme !== 'udp',
  });
  const fallback = resolveLogger(undefined);
  const logger = loggerTo(format, level, { pid: process.pid, hostname: hostname() });
  const socket = lineSocket({
    clock,
    address,
    failed: (err) => fallback.logger.warn({ err, syslog: address }, 'syslog does not take what is logged'),
    lost: (count) => logger.warn({ count }, 'lines for syslog were lost while it could not be reached'),
  });
  format.on('data', (line: string | Buffer) => socket.send(Buffer.from(line)));
  format.on('error', (err) => fallback.logger.error({ err }, 'what is logged cannot be told to syslog'));
  return {
    logger,
    flush: async () => {
      const end = clock.monotonic() + longestFlush;
      const formatted = once(format, 'end').catch(() => {}); // that is told by its listener
      format.end();
      await within(clock, longestFlush, formatted);
      await socket.close(Math.max(0, end - clock.monotonic()));
      fallback.flush();
    },
  };
}

async function loaded(): Promise<PinoSyslog> {
  try {
    return (await import('pino-syslog' as string)) as PinoSyslog; // it has no types, and need not be installed
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const text = "'syslog' needs a package that is not installed: npm install pino-syslog";
    throw new BusError('OPTION_INVALID', text, { cause });
  }
}
