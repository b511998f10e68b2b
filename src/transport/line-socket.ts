import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createConnection, isIPv6, type Socket } from 'node:net';
import { deferred } from '../core/async.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { Ring } from '../core/ring.ts';
import { within } from '../core/within.ts';

/** Where lines are sent: one datagram each, or one after the other over a connection. */
export type LineAddress =
  | { readonly scheme: 'udp' | 'tcp'; readonly host: string; readonly port: number }
  | { readonly scheme: 'unix'; readonly path: string };

/** What a {@link LineSocket} tells. */
export interface LineSocketHost {
  readonly clock: Clock;
  readonly address: LineAddress;
  /** It cannot be reached: told once, until it can again. */
  failed(error: Error): void;
  /** So many lines are lost since this was told last. */
  lost(count: number): void;
}

/** Sends lines somewhere, and keeps what cannot be sent now, within a bound. */
export interface LineSocket {
  send(line: Buffer): void;
  /** Sends what is still here, for as long as that may take, and closes. Twice is harmless. */
  close(timeout: number): Promise<void>;
}

/** How many bytes are kept for a connection that is away or slow, and how many datagrams while a name is looked up. */
const most = { bytes: 1024 * 1024, datagrams: 10_000 };
/** The waits between attempts to connect, in milliseconds. */
const redial = { delay: 100, most: 10_000 };

/** Opens the way to an address; an address that cannot be reached is tried again and again. */
export function lineSocket(host: LineSocketHost): LineSocket {
  return host.address.scheme === 'udp' ? new Datagrams(host) : new Stream(host);
}

/** One datagram a line. Whether it arrives, nobody tells. */
class Datagrams implements LineSocket {
  readonly #host: LineSocketHost;
  readonly #to: { readonly host: string; readonly port: number };
  readonly #socket: DatagramSocket;
  readonly #sending = new Set<Promise<void>>();
  #failing = false;
  #lost = 0;
  #closed: Promise<void> | undefined;

  constructor(host: LineSocketHost) {
    this.#host = host;
    this.#to = host.address as { scheme: 'udp'; host: string; port: number }; // lineSocket() sees to it
    this.#socket = createSocket(isIPv6(this.#to.host) ? 'udp6' : 'udp4');
    this.#socket.on('error', (error) => this.#fail(error));
    this.#socket.unref();
  }

  send(line: Buffer): void {
    if (this.#closed !== undefined) return;
    if (this.#sending.size >= most.datagrams) {
      this.#lost++; // names are being looked up, and nothing leaves meanwhile
      return;
    }
    const sent = deferred<void>();
    this.#sending.add(sent.promise);
    this.#socket.send(line, this.#to.port, this.#to.host, (error) => {
      this.#sending.delete(sent.promise);
      sent.resolve();
      if (error !== null) {
        this.#lost++;
        this.#fail(error);
        return;
      }
      this.#failing = false;
      if (this.#lost > 0) this.#host.lost(this.#lost);
      this.#lost = 0;
    });
  }

  close(timeout: number): Promise<void> {
    this.#closed ??= (async () => {
      await within(this.#host.clock, timeout, Promise.all(this.#sending));
      this.#socket.close();
    })();
    return this.#closed;
  }

  #fail(error: Error): void {
    if (!this.#failing) this.#host.failed(error);
    this.#failing = true;
  }
}

/** `away`: there is no connection; `writing`: the system is being handed the head of what waits; `ended` for good. */
type StreamState = 'away' | 'open' | 'writing' | 'ended';

/** Lines over a connection, which is made again when it breaks. */
class Stream implements LineSocket {
  readonly #host: LineSocketHost;
  /** What has not been handed to the system, the oldest first. */
  readonly #waiting = new Ring<Buffer>();
  #bytes = 0;
  #lost = 0;
  #socket: Socket | undefined;
  #state: StreamState = 'away';
  /** Whether it has been told that it cannot be reached. */
  #failing = false;
  #timer: Timer | undefined;
  #delay = redial.delay;
  #closed: Promise<void> | undefined;
  #empty: (() => void) | undefined;

  constructor(host: LineSocketHost) {
    this.#host = host;
    this.#dial();
  }

  send(line: Buffer): void {
    if (this.#closed !== undefined) return;
    this.#waiting.push(line);
    this.#bytes += line.length;
    while (this.#bytes > most.bytes && this.#waiting.size > 2) {
      // The head may be on its way: it stays.
      const head = this.#state === 'writing' ? this.#waiting.shift() : undefined;
      this.#bytes -= this.#waiting.shift()?.length ?? 0;
      if (head !== undefined) this.#waiting.unshift(head);
      this.#lost++;
    }
    this.#pump();
  }

  close(timeout: number): Promise<void> {
    this.#closed ??= this.#finish(timeout);
    return this.#closed;
  }

  async #finish(timeout: number): Promise<void> {
    const { clock, failed } = this.#host;
    this.#socket?.ref();
    const end = clock.monotonic() + timeout;
    const empty = deferred<void>();
    this.#empty = empty.resolve;
    if (this.#waiting.size === 0) empty.resolve();
    await within(clock, timeout, empty.promise);
    const { size } = this.#waiting;
    const socket = this.#socket;
    const linked = this.#state !== 'away';
    this.#state = 'ended';
    this.#timer?.cancel();
    if (size > 0) failed(new Error(`${size} lines were not taken within ${Math.round(timeout)} ms`));
    if (socket === undefined) return;
    const gone = deferred<void>();
    socket.once('close', gone.resolve);
    // The other side is told that this was all; that it closes, too, says that it has read it.
    if (linked) socket.end();
    else socket.destroy();
    await within(clock, Math.max(0, end - clock.monotonic()), gone.promise);
    socket.destroy();
  }

  #dial(): void {
    const { address } = this.#host;
    const socket =
      address.scheme === 'unix'
        ? createConnection({ path: address.path })
        : createConnection({ host: address.host, port: address.port });
    this.#socket = socket;
    // What is logged does not keep a process alive; closing does.
    if (this.#closed === undefined) socket.unref();
    let reason: Error | undefined;
    socket.resume(); // whatever it says
    socket.on('error', (error) => {
      reason = error;
    });
    socket.once('connect', () => {
      if (this.#state === 'ended') return;
      this.#state = 'open';
      this.#failing = false;
      this.#delay = redial.delay;
      if (this.#lost > 0) this.#host.lost(this.#lost);
      this.#lost = 0;
      this.#pump();
    });
    socket.once('close', () => {
      this.#socket = undefined;
      if (this.#state !== 'ended') this.#again(reason ?? new Error('the other side has closed the connection'));
    });
  }

  /** Dials again in a while. */
  #again(reason: Error): void {
    this.#state = 'away';
    if (!this.#failing) this.#host.failed(reason);
    this.#failing = true;
    this.#timer = this.#host.clock.timer(this.#delay, () => this.#dial());
    if (this.#closed === undefined) this.#timer.unref();
    this.#delay = Math.min(this.#delay * 2, redial.most);
  }

  /** Hands the head to the system; the next one when that has it. */
  #pump(): void {
    const socket = this.#socket;
    const head = this.#waiting.peek();
    if (this.#state !== 'open' || socket === undefined || head === undefined) return;
    this.#state = 'writing';
    socket.write(head, (error) => {
      // One that has failed is sent again over the next connection.
      if (error != null || this.#socket !== socket || this.#state !== 'writing') return;
      this.#state = 'open';
      this.#waiting.shift();
      this.#bytes -= head.length;
      if (this.#waiting.size === 0) this.#empty?.();
      else this.#pump();
    });
  }
}
