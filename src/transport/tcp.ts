import { lstatSync, unlinkSync } from 'node:fs';
import { link, lstat } from 'node:fs/promises';
import { createServer, type NetConnectOpts, type Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { type Address, formatAddress, type UnixAddress } from './address.ts';
import { bind, codeOf, isSelf, remoteOf, SocketConnection, SocketListener, unusable } from './socket.ts';
import { type Connection, highWaterMark, type Listener, type Transport } from './transport.ts';

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
