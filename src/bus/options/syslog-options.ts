import { checkChoice, checkKnown, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import { parseAddress } from '../../transport/address.ts';
import type { LineAddress } from '../../transport/line-socket.ts';

/** A server for syslog, and what is sent there. */
export interface SyslogOptions {
  /**
   * `udp://host:514` (one datagram a line: what is lost on the way, nobody tells), `tcp://host:514` (one line after the other), or
   * `unix:path` of a socket for streams; the port may be left out.
   */
  address: string;
  /** The least that is sent. @default 'warn' */
  level?: SyslogLevel;
  /** What the server sorts by. @default 'daemon' */
  facility?: SyslogFacility;
}

/** How loud a line is. */
export type SyslogLevel = (typeof syslogLevels)[number];
/** A facility of RFC 5424 that a program like this may use. */
export type SyslogFacility = keyof typeof facilities;

/** From everything to errors only. */
export const syslogLevels = ['debug', 'info', 'warn', 'error'] as const;

const facilities = {
  user: 1,
  daemon: 3,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const;

/** The names of {@link SyslogFacility}. */
export const facilityNames = Object.keys(facilities) as readonly SyslogFacility[]; // its own keys

/** The options with every default filled in. */
export interface ResolvedSyslog {
  readonly address: LineAddress;
  readonly level: SyslogLevel;
  /** By its number. */
  readonly facility: number;
}

/** Checks what was given as `syslog`: an address, or options. @throws {BusError} `OPTION_INVALID`. */
export function resolveSyslog(given: string | SyslogOptions): ResolvedSyslog {
  const options = typeof given === 'string' ? { address: given } : given;
  checkObject('syslog', options);
  checkKnown('syslog', options, ['address', 'level', 'facility']);
  return {
    address: addressOf(options.address),
    level: checkChoice('syslog.level', options.level, 'warn', syslogLevels),
    facility: facilities[checkChoice('syslog.facility', options.facility, 'daemon', facilityNames)],
  };
}

function addressOf(text: unknown): LineAddress {
  const examples = "write 'udp://127.0.0.1:514', 'tcp://10.0.8.1:514' or 'unix:/run/syslog.sock'";
  const [, scheme, rest = ''] = (typeof text === 'string' ? /^(udp:\/\/|tcp:\/\/|unix:)(.*)$/s.exec(text) : null) ?? [];
  if (scheme === undefined) throw new BusError('OPTION_INVALID', `syslog ${describe(text)} is no address; ${examples}`);
  if (scheme === 'unix:') return parseAddress(text, 'syslog') as LineAddress; // it begins with unix:
  const address = parseAddress(`tcp://${rest}${/(^|[^:]):\d+$|\]:\d+$/.test(rest) ? '' : ':514'}`, 'syslog');
  if (!('port' in address) || address.port === 0)
    throw new BusError('OPTION_INVALID', `syslog ${describe(text)} names the port 0; ${examples}`);
  return { scheme: scheme === 'udp://' ? 'udp' : 'tcp', host: address.host, port: address.port };
}
