import type { ListenOptions, Server, Socket } from 'node:net';
import type { Clock, Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { Lifecycle } from '../core/lifecycle.ts';
import { type Address, formatAddress, formatHost } from './address.ts';
import type { Connection, ConnectionEvents, ConnectionState, Listener } from './transport.ts';
import { closeTimeout, connectionTransitions } from './transport.ts';

/** A server of the system that listens, whatever it speaks. */
export class SocketListener implements Listener {
  readonly address: string;
  readonly #server: Server;
  #release: (() => void) | undefined;

  constructor(server: Server, address: string, release: () => void) {
    this.#server = server;
    this.address = address;
    this.#release = release;
    // An accept that failed (too many open files) ends that one connection, which its dialler sees; the listener lives on.
    server.on('error', () => {});
  }

  // The server's own callback would wait for the connections; the listening socket itself is closed within the call.
  async close(): Promise<void> {
    this.#release?.();
    this.#release = undefined;
    this.#server.close();
  }
}

/** A connected socket of the system, plain or with TLS agreed. */
export class SocketConnection implements Connection {
  readonly remote: string;
  readonly names: readonly string[] | undefined;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #life = new Lifecycle<ConnectionState>('connection', connectionTransitions, 'open');
  #events: ConnectionEvents | undefined;
  #error: Error | undefined;
  #timer: Timer | undefined;

  constructor(socket: Socket, remote: string, clock: Clock, names?: readonly string[]) {
    this.#socket = socket;
    this.remote = remote;
    this.names = names;
    this.#clock = clock;
    socket.on('error', (error) => {
      this.#error ??= new BusError('NODE_UNREACHABLE', `the connection to ${remote} broke: ${codeOf(error)}`, {
        cause: error,
      });
    });
    socket.on('end', () => this.#end());
    socket.on('close', () => {
      this.#timer?.cancel();
      this.#life.to('closed');
      this.#events?.closed(this.#error);
    });
  }

  open(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new BusError('INTERNAL', 'the connection is open already');
    this.#events = events;
    if (this.#life.state === 'closed') {
      this.#clock.immediate(() => events.closed(this.#error));
      return;
    }
    if (this.#life.state !== 'open') return;
    this.#socket.on('data', (chunk) => {
      if (this.#life.state === 'open') events.data(chunk);
    });
    this.#socket.on('drain', () => {
      if (this.#life.state === 'open') events.drain();
    });
    this.#socket.resume();
  }

  write(chunk: Uint8Array): boolean {
    return this.#life.state === 'open' && this.#socket.write(chunk);
  }

  close(): void {
    if (this.#life.state !== 'open') return;
    this.#end();
    this.#socket.end();
    // Unread input would turn the close into a reset, and what was sent last could be lost on the other side.
    this.#socket.resume();
  }

  destroy(reason?: Error): void {
    if (!this.#life.allows('destroyed')) return;
    this.#life.to('destroyed');
    this.#error = reason;
    this.#socket.destroy();
  }

  /** Either side closes in order: the socket sends what it has, for a second at most. */
  #end(): void {
    if (this.#life.state !== 'open') return;
    this.#life.to('ending');
    this.#timer = this.#clock.timer(closeTimeout, () => {
      const sent = this.#socket.writableFinished;
      this.destroy(sent ? undefined : new BusError('TIMEOUT', `${this.remote} did not take what was left in time`));
    });
    this.#timer.unref();
  }
}

/** Has a server listen. @throws {BusError} `ADDRESS_IN_USE`, `OPTION_INVALID`. */
export function bind(server: Server, options: ListenOptions, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(unusable(address, error));
    server.once('error', fail);
    server.listen(options, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

/** Why nobody can listen at an address. */
export function unusable(address: Address, cause: unknown): BusError {
  const where = formatAddress(address);
  if (codeOf(cause) === 'EADDRINUSE') {
    return new BusError('ADDRESS_IN_USE', `${where} is in use: somebody listens there`, { cause });
  }
  return new BusError('OPTION_INVALID', `cannot listen at ${where}: ${codeOf(cause)}`, { cause });
}

export function remoteOf(socket: Socket, address: Address): string {
  if (address.scheme === 'unix') return address.path;
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'gone';
  return formatHost(remoteAddress.replace(/^::ffff:(?=\d+\.)/i, ''), remotePort);
}

/** Dialling a dead port of this machine, the kernel may pick that very port for our end and connect the socket to itself. */
export function isSelf(socket: Socket): boolean {
  return (
    socket.remotePort !== undefined &&
    socket.remotePort === socket.localPort &&
    socket.remoteAddress === socket.localAddress
  );
}

export function codeOf(error: unknown): string | undefined {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
