import type { Transitions } from '../core/lifecycle.ts';
import type { Address } from './address.ts';

/**
 * Carries bytes between nodes. A driver has no policy: it never retries, counts or logs. Every driver passes the suite in
 * `mailvan/testing`.
 */
export interface Transport {
  /**
   * Listens, and hands out each connection that comes in. `accept` must not throw.
   *
   * @throws {BusError} `ADDRESS_IN_USE` when somebody listens there, `OPTION_INVALID` when nobody can.
   */
  listen(address: Address, accept: (connection: Connection) => void): Promise<Listener>;
  /**
   * Connects, once.
   *
   * @param options `timeout`: how long it may take, in milliseconds.
   * @throws {BusError} `NODE_UNREACHABLE`, with the cause, when nobody answers or not in time; `HANDSHAKE_REFUSED` when who
   * answers cannot be trusted.
   */
  dial(address: Address, options: { readonly timeout: number }): Promise<Connection>;
}

/** Something that listens. */
export interface Listener {
  /** The real address, with the port that was chosen for port 0. */
  readonly address: string;
  /**
   * Stops accepting, and resolves when the address is free again. Connections stay: they belong to their sessions. Closing
   * twice is harmless.
   */
  close(): Promise<void>;
}

/** One connection: bytes in order both ways, without the boundaries between chunks. */
export interface Connection {
  /** The other end, for people and for limits: `ip:port`, or the path of the Unix socket. */
  readonly remote: string;
  /**
   * The names of nodes that the other end's certificate bears, once anything has come in; undefined where nobody shows
   * certificates.
   */
  readonly names?: readonly string[] | undefined;
  /** Starts reading. Nothing that came before is lost. Call it once, before the first write. */
  open(events: ConnectionEvents): void;
  /**
   * Sends a chunk, which must not be changed afterwards.
   *
   * @returns false when it took the chunk but has enough: wait for `drain` before the next. Also false once the connection
   * is closing or closed; the chunk is dropped then and no `drain` follows.
   */
  write(chunk: Uint8Array): boolean;
  /**
   * Sends what was written, then closes; what still comes in is discarded. Takes at most {@link closeTimeout}, then
   * destroys. Harmless when repeated.
   */
  close(): void;
  /** Closes at once; what was not sent is lost. The reason is what `closed` hears. Harmless when repeated. */
  destroy(reason?: Error): void;
}

/** What a connection tells its owner; never from within a call that the owner makes. */
export interface ConnectionEvents {
  /** Bytes came in. The chunk is the receiver's own and is never written to again. Not called after `close()`. */
  data(chunk: Uint8Array): void;
  /** After a `write` that returned false: there is room again. */
  drain(): void;
  /**
   * The other end's certificate is not accepted: none of what it sends is handed out, and the connection is closed after this
   * call, in which a last word may be written. Called at most once, and before any data.
   *
   * @param problem goes on from 'it'.
   */
  refused?(problem: string): void;
  /**
   * The end: called exactly once and last, also when the end came before `open()`. Undefined when either side closed in
   * order; otherwise the reason given to `destroy`, `TIMEOUT` when not everything could be sent in time,
   * `HANDSHAKE_REFUSED` when no TLS could be agreed on, or `NODE_UNREACHABLE` when the connection broke.
   */
  closed(error: Error | undefined): void;
}

/** How long `close()` may take to send what was written, in milliseconds. */
export const closeTimeout = 1000;

/** How many unsent bytes make `write` return false. */
export const highWaterMark = 65_536;

/**
 * The states of a driver's connection. `ending`: no more writes, because either side closes in order; `destroyed`: nothing
 * more, and `closed` is about to be called; `closed`: it was, or will be at `open()`.
 */
export type ConnectionState = 'open' | 'ending' | 'destroyed' | 'closed';
export const connectionTransitions: Transitions<ConnectionState> = {
  open: ['ending', 'destroyed', 'closed'],
  ending: ['destroyed', 'closed'],
  destroyed: ['closed'],
  closed: [],
};
