import { lstatSync, unlinkSync } from 'node:fs';
import { link, lstat } from 'node:fs/promises';
import { createServer, type ListenOptions, type NetConnectOpts, type Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { Lifecycle } from '../core/lifecycle.ts';
import { type Address, formatAddress, formatHost, type UnixAddress } from './address.ts';
import type { Connection, ConnectionEvents, ConnectionState, Listener, Transport } from './transport.ts';
import { closeTimeout, connectionTransitions, highWaterMark } from './transport.ts';

/** TCP and Unix sockets. Nagle's algorithm is off, and so is keep-alive: the session pings. */
export class TcpTransport implements Transport {
  readonly #clock: Clock;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  async listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    const server = createServer({ pauseOnConnect: true, noDelay: true, highWaterMark }, (socket) => {
      accept(new SocketConnection(socket, remoteOf(socket, address), this.#clock));
    });
    if (address.scheme === 'unix') return listenUnix(server, address, this.#clock);
    await bind(server, { host: address.host, port: address.port, exclusive: true }, address);
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
    return new SocketListener(server, formatAddress({ ...address, port }), () => {});
  }

  dial(address: Address, options: { readonly timeout: number }): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socketOptions = { allowHalfOpen: false, highWaterMark };
      const socket = new Socket(socketOptions);
      const fail = (cause: Error): void => {
        timer.cancel();
        socket.destroy();
        const reason = codeOf(cause) ?? cause.message;
        reject(new BusError('NODE_UNREACHABLE', `cannot reach ${formatAddress(address)}: ${reason}`, { cause }));
      };
      const timer = this.#clock.timer(options.timeout, () => {
        fail(new BusError('TIMEOUT', `no answer within ${options.timeout} ms`));
      });
      const where: NetConnectOpts =
        address.scheme === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
      socket.once('error', fail);
      socket.connect(where, () => {
        if (isSelf(socket)) {
          fail(new Error('nobody listens there'));
          return;
        }
        timer.cancel();
        socket.off('error', fail);
        // Here, because connect() overlooks the option of that name: two small frames in a row waited 44 ms (measured).
        if (address.scheme !== 'unix') socket.setNoDelay(true);
        resolve(new SocketConnection(socket, remoteOf(socket, address), this.#clock));
      });
    });
  }
}

class SocketListener implements Listener {
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

class SocketConnection implements Connection {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #life = new Lifecycle<ConnectionState>('connection', connectionTransitions, 'open');
  #events: ConnectionEvents | undefined;
  #error: Error | undefined;
  #timer: Timer | undefined;

  constructor(socket: Socket, remote: string, clock: Clock) {
    this.#socket = socket;
    this.remote = remote;
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

/**
 * Listens at a path. libuv removes the name that it bound when it closes, whoever owns that name by then: so it binds a name
 * of our own, which is then linked to the path. A link fails when the path exists, which also decides between two who find
 * the same stale socket; and what we remove is only ever the file that we looked at.
 */
async function listenUnix(server: Server, address: UnixAddress, clock: Clock): Promise<Listener> {
  const { path } = address;
  await lstat(dirname(path)).catch((cause: unknown) => {
    throw new BusError('OPTION_INVALID', `cannot listen at ${formatAddress(address)}: its folder must exist`, {
      cause,
    });
  });
  const [first = 0, second = 0] = clock.randomBytes(2);
  const own = `${path}.${(first % 36).toString(36)}${(second % 36).toString(36)}`;
  await bind(server, { path: own }, address);
  try {
    const { ino, dev } = lstatSync(own);
    await claim(own, address);
    return new SocketListener(server, formatAddress(address), () => remove(path, ino, dev));
  } catch (error) {
    server.close();
    throw error;
  } finally {
    unlinkQuietly(own);
  }
}

/** Links the socket `own` to the path, removing a socket there that nobody listens on. */
async function claim(own: string, address: UnixAddress): Promise<void> {
  const { path } = address;
  const taken = (what: string): BusError => new BusError('ADDRESS_IN_USE', `${formatAddress(address)} ${what}`);
  // Each turn but the last found somebody else's file gone or changed: several start here at once.
  for (let turn = 0; turn < 10; turn++) {
    try {
      await link(own, path);
      return;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw unusable(address, error);
    }
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) continue;
    if (!found.isSocket()) throw taken('is a file that is no socket: choose another path, or remove it');
    if (await answers(path)) throw taken('is in use: somebody listens there');
    remove(path, found.ino, found.dev);
  }
  throw taken('changes hands all the time');
}

/** Whether somebody listens on a Unix socket. What does not clearly say no counts as yes. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new Socket();
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error) ?? '')));
    socket.connect({ path }, () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** Removes a file if it is still the one that was looked at; without a wait in between, so that it hardly can change. */
function remove(path: string, ino: number, dev: number): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.ino === ino && found.dev === dev) unlinkQuietly(path);
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Somebody was faster, or the folder is gone.
  }
}

function bind(server: Server, options: ListenOptions, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => reject(unusable(address, error));
    server.once('error', fail);
    server.listen(options, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function unusable(address: Address, cause: unknown): BusError {
  const where = formatAddress(address);
  if (codeOf(cause) === 'EADDRINUSE') {
    return new BusError('ADDRESS_IN_USE', `${where} is in use: somebody listens there`, { cause });
  }
  return new BusError('OPTION_INVALID', `cannot listen at ${where}: ${codeOf(cause)}`, { cause });
}

function remoteOf(socket: Socket, address: Address): string {
  if (address.scheme === 'unix') return address.path;
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return 'gone';
  return formatHost(remoteAddress.replace(/^::ffff:(?=\d+\.)/i, ''), remotePort);
}

/** Dialling a dead port of this machine, the kernel may pick that very port for our end and connect the socket to itself. */
function isSelf(socket: Socket): boolean {
  return (
    socket.remotePort !== undefined &&
    socket.remotePort === socket.localPort &&
    socket.remoteAddress === socket.localAddress
  );
}

function codeOf(error: unknown): string | undefined {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}
