import { checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import type { ArrivalLimits } from '../../transport/arrivals.ts';

const day = 86_400_000;
const mebibyte = 1024 * 1024;

/** The bounds of a node. */
export interface BusLimits {
  /** The largest frame, in bytes: at least 1 MiB, and the same on every node. @default 8 MiB */
  frame: number;
  /** The largest encoded payload, in bytes; at most half of `frame`. @default 1 MiB */
  payload: number;
  /** How many connections a node that listens accepts. @default 1_024 */
  connections: number;
  /**
   * How many of them may come from one address (IPv6: from one network of 64 bits; Unix sockets are not counted so). Raise it
   * where more nodes than that run on one machine or behind one address. @default 512, at most `connections`
   */
  connectionsPerAddress: number;
  /**
   * How many of them may not have proven yet who they are. When another one comes, the oldest of these is closed, at the
   * address that has most of them. @default 256, at most `connections`
   */
  handshakes: number;
  /** How long a handshake may take, in milliseconds. @default 2_000 */
  handshake: number;
  /** How many dead letters are kept. @default 10_000, with a dataDir 100_000 */
  deadLetters: number;
  /** How many bytes of them. @default 64 MiB, with a dataDir 256 MiB */
  deadLetterBytes: number;
}

const known = [
  'frame',
  'payload',
  'connections',
  'connectionsPerAddress',
  'handshakes',
  'handshake',
  'deadLetters',
  'deadLetterBytes',
] as const satisfies readonly (keyof BusLimits)[];

/** Fills in the bounds that were not given. @throws {BusError} `OPTION_INVALID`. */
export function resolveLimits(given: Partial<BusLimits> = {}, stored = false): BusLimits {
  checkObject('limits', given);
  checkKnown('limits', given, known);
  const frame = checkNumber('limits.frame', given.frame, 8 * mebibyte, { min: mebibyte, max: 512 * mebibyte });
  return {
    frame,
    payload: checkNumber('limits.payload', given.payload, Math.min(mebibyte, frame / 2), { min: 1, max: frame / 2 }),
    ...resolveConnections(given),
    handshake: checkNumber('limits.handshake', given.handshake, 2000, { min: 10, max: day }),
    deadLetters: checkNumber('limits.deadLetters', given.deadLetters, stored ? 100_000 : 10_000, {
      min: 1,
      max: 10_000_000,
    }),
    deadLetterBytes: checkNumber('limits.deadLetterBytes', given.deadLetterBytes, (stored ? 256 : 64) * mebibyte, {
      min: 1,
      max: Number.MAX_SAFE_INTEGER,
    }),
  };
}

function resolveConnections(given: Partial<BusLimits>): ArrivalLimits {
  const bounds = { min: 1, max: 1_000_000 };
  const connections = checkNumber('limits.connections', given.connections, 1024, bounds);
  const most = { min: 1, max: connections };
  return {
    connections,
    connectionsPerAddress: checkNumber(
      'limits.connectionsPerAddress',
      given.connectionsPerAddress,
      Math.min(512, connections),
      most,
    ),
    handshakes: checkNumber('limits.handshakes', given.handshakes, Math.min(256, connections), most),
  };
}
