import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { Lifecycle } from '../core/lifecycle.ts';
import { codeOf, SocketConnection } from './socket.ts';
import type { Connection, ConnectionEvents, ConnectionState } from './transport.ts';
import { closeTimeout, connectionTransitions, highWaterMark } from './transport.ts';

/**
 * The listening end of a connection while TLS is being agreed on: it keeps what is written, and hands all on to the socket
 * that comes of it. Of an end whose certificate is not accepted nothing is ever handed out.
 */
export class SecuringConnection implements Connection {
  readonly remote: string;
  readonly #raw: Socket;
  readonly #clock: Clock;
  readonly #life = new Lifecycle<ConnectionState>('connection', connectionTransitions, 'open');
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #inner: SocketConnection | undefined;
  #problem: string | undefined;
  #events: ConnectionEvents | undefined;
  #error: Error | undefined;
  #timer: Timer | undefined;

  constructor(raw: Socket, remote: string, clock: Clock) {
    this.#raw = raw;
    this.remote = remote;
    this.#clock = clock;
    raw.on('error', (error) => this.failed(error, undefined));
    raw.once('close', () => {
      this.#timer?.cancel();
      if (this.#inner !== undefined) return;
      this.#life.to('closed');
      this.#events?.closed(this.#error);
    });
  }

  get names(): readonly string[] {
    return this.#inner?.names ?? [];
  }

  open(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new BusError('INTERNAL', 'the connection is open already');
    this.#events = events;
    const inner = this.#inner;
    if (inner !== undefined && this.#problem === undefined) this.#hand(inner, events);
    else if (inner !== undefined) this.#clock.immediate(() => this.#hand(inner, events));
    else if (this.#life.state === 'closed') this.#clock.immediate(() => events.closed(this.#error));
  }

  write(chunk: Uint8Array): boolean {
    if (this.#inner !== undefined) return this.#inner.write(chunk);
    if (this.#life.state !== 'open') return false;
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    return this.#waitingBytes < highWaterMark;
  }

  close(): void {
    if (this.#inner !== undefined) this.#inner.close();
    if (this.#inner !== undefined || this.#life.state !== 'open') return;
    this.#life.to('ending');
    this.#timer = this.#clock.timer(closeTimeout, () => {
      this.destroy(new BusError('TIMEOUT', `${this.remote} did not agree on TLS in time`));
    });
    this.#timer.unref();
  }

  destroy(reason?: Error): void {
    if (this.#inner !== undefined) this.#inner.destroy(reason);
    if (this.#inner !== undefined || !this.#life.allows('destroyed')) return;
    this.#life.to('destroyed');
    this.#error = reason;
    this.#raw.destroy();
  }

  /** TLS is agreed on. @param problem why its certificate is not accepted all the same. */
  secured(socket: TLSSocket, names: readonly string[], problem?: string): void {
    this.#become(socket, names, problem);
  }

  /** What came in is no TLS: it is told so in plain text, and heard no further. */
  refuse(problem: string): void {
    this.#become(this.#raw, [], problem);
  }

  /** No TLS came of it. @param problem why, unless the connection just broke. */
  failed(cause: Error, problem: string | undefined): void {
    if (this.#inner !== undefined || !this.#life.allows('destroyed')) return;
    this.#life.to('destroyed');
    this.#error =
      problem === undefined
        ? new BusError('NODE_UNREACHABLE', `the connection to ${this.remote} broke: ${codeOf(cause)}`, { cause })
        : new BusError('HANDSHAKE_REFUSED', `${this.remote} was refused: ${problem}`, { cause });
    this.#raw.destroy();
  }

  #become(socket: Socket, names: readonly string[], problem: string | undefined): void {
    if (!this.#life.allows('destroyed')) {
      socket.destroy();
      return;
    }
    this.#timer?.cancel();
    this.#problem = problem;
    this.#inner = new SocketConnection(socket, this.remote, this.#clock, names);
    if (this.#events !== undefined) this.#hand(this.#inner, this.#events);
  }

  #hand(inner: SocketConnection, events: ConnectionEvents): void {
    inner.open(events);
    if (this.#problem !== undefined) {
      events.refused?.(this.#problem);
      inner.close(); // within the turn in which it was opened: nothing has come in yet, and nothing will
      return;
    }
    const full = this.#waitingBytes >= highWaterMark;
    let more = true;
    for (const chunk of this.#waiting.splice(0)) more = inner.write(chunk);
    if (this.#life.state === 'ending') inner.close();
    else if (full && more) this.#clock.immediate(() => events.drain());
  }
}
