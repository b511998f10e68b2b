import { readFileSync } from 'node:fs';
import type { ArgsDef } from 'citty';
import { pino } from 'pino';
import { type Bus, createBus } from '../bus/bus.ts';
import type { BusOptions } from '../bus/options/options.ts';
import { syslogLevels } from '../bus/options/syslog-options.ts';
import { systemClock } from '../core/clock.ts';
import { BusError, type ErrorCode } from '../core/errors.ts';
import { readDuration } from './arguments.ts';
import { exitCodes, failureOf, misuse } from './failure.ts';
import { type GivenTls, tlsArguments, tlsOf } from './tls.ts';

/** What every command takes to find its cluster. */
export const connectionArguments = {
  leader: {
    type: 'string',
    valueHint: 'address',
    description: 'The leader to join (or MAILVAN_LEADER; else tcp://127.0.0.1:1900)',
  },
  shared: {
    type: 'string',
    valueHint: 'folder',
    description: 'The folder that the processes of this machine share, instead of a leader',
  },
  secret: {
    type: 'string',
    valueHint: 'text',
    description: "The cluster's secret (or MAILVAN_SECRET, which other users of this machine cannot see)",
  },
  'secret-file': { type: 'string', valueHint: 'path', description: 'A file with the secret' },
  ...tlsArguments,
  cluster: { type: 'string', valueHint: 'name', description: "The cluster's name (else default)" },
  node: {
    type: 'string',
    valueHint: 'name',
    description: 'The name of this node (else cli-…, a new one each time; with TLS the first in its certificate)',
  },
  timeout: { type: 'string', valueHint: 'time', description: 'How long to wait: 500ms, 10s, 2m (else 10s)' },
  json: { type: 'boolean', description: 'Print JSON, one object a line; errors too, on stderr' },
  'log-level': {
    type: 'string',
    valueHint: 'level',
    description: "The library's log on stderr: debug, info, warn, error or silent (else error)",
  },
  syslog: {
    type: 'string',
    valueHint: 'address',
    description: 'Send that log to syslog instead, as udp://127.0.0.1:514 (with --log-level; else warn)',
  },
} as const satisfies ArgsDef;

/** The connection options as they were given. */
export interface ConnectionOptions extends GivenTls {
  readonly leader?: string | undefined;
  readonly shared?: string | undefined;
  readonly secret?: string | undefined;
  readonly 'secret-file'?: string | undefined;
  readonly cluster?: string | undefined;
  readonly node?: string | undefined;
  readonly timeout?: string | undefined;
  readonly 'log-level'?: string | undefined;
  readonly syslog?: string | undefined;
}

/** Whether this node leads, and where it listens: `run` alone may. */
export interface Leading {
  readonly lead: boolean;
  readonly listen: string | undefined;
  readonly insecure: boolean;
}

/** What stands in the way of joining: the exit code is 3 whatever it is. */
const refusals: readonly ErrorCode[] = [
  'NO_LEADER',
  'NODE_UNREACHABLE',
  'HANDSHAKE_REFUSED',
  'PROTOCOL_ERROR',
  'NAME_TAKEN',
];

/** Joins the cluster, or opens one. @param command names the node, so that `status` shows what it is. */
export async function connect(
  command: string,
  options: ConnectionOptions,
  leading?: Leading,
  more: Pick<BusOptions, 'service' | 'capabilities' | 'dataDir' | 'promote'> = {},
): Promise<Bus> {
  const secret = secretOf(options);
  const { shared } = options;
  if (shared !== undefined && (options.leader !== undefined || leading?.lead || leading?.listen || more.dataDir)) {
    throw misuse('--shared: who serves the folder leads and listens, and its store is in it: give nothing beside it');
  }
  const leader =
    leading?.lead === true ? true : (options.leader ?? process.env.MAILVAN_LEADER ?? 'tcp://127.0.0.1:1900');
  const tls = shared === undefined ? tlsOf(options, [leader, leading?.listen]) : undefined;
  // A store knows the name of its node, and so does a certificate.
  const node =
    options.node ??
    (more.dataDir === undefined && tls === undefined ? `cli-${command}-${process.pid}-${suffix()}` : undefined);
  const bus: BusOptions = {
    ...(node === undefined ? {} : { node }),
    ...(shared === undefined ? { leader } : { shared }),
    ...logOf(options),
    ...(options.cluster === undefined ? {} : { cluster: options.cluster }),
    ...(options.timeout === undefined ? {} : { joinTimeout: readDuration('--timeout', options.timeout) }),
    ...(secret === undefined ? {} : { secret }),
    ...(tls === undefined ? {} : { tls }),
    ...(leading?.listen === undefined ? {} : { listen: leading.listen }),
    ...(leading?.insecure === true ? { insecure: true } : {}),
    ...more,
  };
  try {
    return await createBus(bus);
  } catch (error) {
    const refused = error instanceof BusError && refusals.includes(error.code);
    throw failureOf(error, refused ? exitCodes.connect : undefined);
  }
}

const levels = ['debug', 'info', 'warn', 'error', 'silent'];

function logOf(options: ConnectionOptions): Pick<BusOptions, 'logger' | 'syslog'> {
  const { syslog: address, 'log-level': given } = options;
  const level = levelOf(options);
  if (address === undefined) return { logger: pino({ level, base: {}, name: 'mailvan' }, process.stderr) };
  const chosen = given === undefined ? 'warn' : syslogLevels.find((each) => each === level);
  if (chosen !== undefined) return { syslog: { address, level: chosen } };
  throw misuse('--log-level silent and --syslog contradict each other: give one of them');
}

function levelOf({ 'log-level': level = 'error' }: ConnectionOptions): string {
  if (levels.includes(level)) return level;
  throw misuse(`--log-level ${JSON.stringify(level)} must be one of ${levels.join(', ')}`);
}

function secretOf(options: ConnectionOptions): string | undefined {
  const { secret, 'secret-file': path } = options;
  if (path === undefined) return secret ?? process.env.MAILVAN_SECRET;
  if (secret !== undefined) throw misuse('--secret and --secret-file are two ways to say the same: give one of them');
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw misuse(`--secret-file cannot be read: ${(error as Error).message}`); // readFileSync throws nothing else
  }
}

function suffix(): string {
  return Math.floor(systemClock.random() * 36 ** 4)
    .toString(36)
    .padStart(4, '0');
}
