import type { Clock, Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { Lifecycle } from '../core/lifecycle.ts';
import { Ring } from '../core/ring.ts';
import { type Address, formatAddress, formatHost } from './address.ts';
import type { Connection, ConnectionEvents, ConnectionState, Listener, Transport } from './transport.ts';
import { closeTimeout, connectionTransitions, highWaterMark } from './transport.ts';

/** Options of a {@link MemoryNetwork}. */
export interface MemoryNetworkOptions {
  readonly clock: Clock;
  /**
   * How long bytes travel, in milliseconds: a number, or a range from which the clock's dice draw for each chunk (order is
   * kept all the same). @default 0
   */
  readonly delay?: number | { readonly min: number; readonly max: number };
}

interface Entry {
  readonly host: string;
  readonly accept: (connection: Connection) => void;
}

const firstDynamicPort = 49_152;
/** Below this, in milliseconds, something is due: sums of fractions would otherwise set timers that move no clock. */
const instant = 0.001;

/**
 * A network inside the process, for several buses in one process and for simulations: under a virtual clock every run is the
 * same. Hosts have names; addresses are compared as text, whatever host listens there. Links between hosts can be cut and
 * healed, and connections reset.
 */
export class MemoryNetwork {
  /** @internal */ readonly clock: Clock;
  /** @internal The ends that are not closed yet. */ readonly connections = new Set<MemoryConnection>();
  readonly #delay: { readonly min: number; readonly max: number };
  readonly #listeners = new Map<string, Entry>();
  /** Who listens, or last listened, at an address: that is where a dial goes. */
  readonly #hosts = new Map<string, string>();
  readonly #cuts = new Set<string>();
  #port = firstDynamicPort;

  constructor(options: MemoryNetworkOptions) {
    this.clock = options.clock;
    const delay = options.delay ?? 0;
    this.#delay = typeof delay === 'number' ? { min: delay, max: delay } : delay;
  }

  /** The network as seen from one host. */
  transport(host: string): MemoryTransport {
    return new MemoryTransport(this, host);
  }

  /**
   * Pulls the cable between two hosts: nothing arrives any more and nobody is told. As TCP would send it again, what was
   * under way or is written meanwhile arrives after {@link heal}, if the connection is still wanted then; a stream never
   * has a hole.
   *
   * @param direction `'forth'` cuts only what travels from `a` to `b`.
   */
  cut(a: string, b: string, direction: 'both' | 'forth' = 'both'): void {
    this.#cuts.add(route(a, b));
    if (direction === 'both') this.#cuts.add(route(b, a));
  }

  /** Undoes {@link cut}. */
  heal(a: string, b: string, direction: 'both' | 'forth' = 'both'): void {
    this.#cuts.delete(route(a, b));
    if (direction === 'both') this.#cuts.delete(route(b, a));
    for (const connection of this.connections) connection.resume();
  }

  /** Breaks every connection between two hosts; both ends hear of it. */
  reset(a: string, b: string): void {
    for (const connection of this.connections) {
      if (connection.joins(a, b)) this.clock.immediate(() => connection.break());
    }
  }

  /** @internal */
  bind(address: Address, entry: Entry): Listener {
    let text = formatAddress(address);
    if (address.scheme !== 'unix' && address.port === 0) {
      do text = formatAddress({ ...address, port: this.#nextPort() });
      while (this.#listeners.has(text));
    }
    if (this.#listeners.has(text)) throw new BusError('ADDRESS_IN_USE', `${text} is in use: somebody listens there`);
    this.#listeners.set(text, entry);
    this.#hosts.set(text, entry.host);
    const close = async (): Promise<void> => {
      if (this.#listeners.get(text) === entry) this.#listeners.delete(text);
    };
    return { address: text, close };
  }

  /** @internal */
  connect(from: string, address: Address, timeout: number): Promise<Connection> {
    const text = formatAddress(address);
    const to = this.#hosts.get(text) ?? from;
    const forth = new Wire(this, from, to);
    const back = new Wire(this, to, from);
    const near = address.scheme === 'unix' ? address.path : formatHost(address.host, address.port);
    const client = new MemoryConnection(this, near, forth, back);
    return new Promise((resolve, reject) => {
      const fail = (reason: string, cause: Error): void => {
        timer.cancel();
        client.destroy();
        reject(new BusError('NODE_UNREACHABLE', `cannot reach ${text}: ${reason}`, { cause }));
      };
      const timer = this.clock.timer(timeout, () => {
        fail('TIMEOUT', new BusError('TIMEOUT', `no answer within ${timeout} ms`));
      });
      forth.send(() => {
        const listener = this.#listeners.get(text);
        if (listener === undefined) {
          back.send(() => fail('refused', new Error('nobody listens there')));
          return;
        }
        const far = address.scheme === 'unix' ? address.path : formatHost(from, this.#nextPort());
        const server = new MemoryConnection(this, far, back, forth);
        client.pair(server);
        forth.hold();
        back.send(() => {
          timer.cancel();
          back.hold();
          resolve(client);
        });
        listener.accept(server);
      });
    });
  }

  /** @internal Draws how long the next chunk travels. */
  draw(): number {
    const { min, max } = this.#delay;
    return max > min ? min + this.clock.random() * (max - min) : min;
  }

  /** @internal */
  isCut(key: string): boolean {
    return this.#cuts.has(key);
  }

  #nextPort(): number {
    const port = this.#port;
    this.#port = port === 65_535 ? firstDynamicPort : port + 1;
    return port;
  }
}

/** The transport of one host of a {@link MemoryNetwork}. */
export class MemoryTransport implements Transport {
  readonly #network: MemoryNetwork;
  /** The name that {@link MemoryNetwork.cut} and its like know it by. */
  readonly host: string;

  /** @internal Use {@link MemoryNetwork.transport}. */
  constructor(network: MemoryNetwork, host: string) {
    this.#network = network;
    this.host = host;
  }

  async listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    return this.#network.bind(address, { host: this.host, accept });
  }

  dial(address: Address, options: { readonly timeout: number }): Promise<Connection> {
    return this.#network.connect(this.host, address, options.timeout);
  }
}

/** How much arrives in one turn, in bytes: a large write comes in pieces, and others get their turn. */
const turnBytes = 1_048_576;

interface Packet {
  readonly due: number;
  readonly size: number;
  readonly arrive: () => void;
}

/** One direction of a connection: packets in order, each after its delay, none while the link is cut or the receiver waits. */
class Wire {
  readonly from: string;
  readonly to: string;
  readonly #network: MemoryNetwork;
  readonly #key: string;
  readonly #packets = new Ring<Packet>();
  #lastDue = 0;
  #state: 'flowing' | 'held' = 'flowing';
  #scheduled = false;

  constructor(network: MemoryNetwork, from: string, to: string) {
    this.#network = network;
    this.from = from;
    this.to = to;
    this.#key = route(from, to);
  }

  send(arrive: () => void, size = 0): void {
    this.#lastDue = Math.max(this.#lastDue, this.#network.clock.monotonic() + this.#network.draw());
    this.#packets.push({ due: this.#lastDue, size, arrive });
    this.resume();
  }

  /** Drops what has not arrived. */
  clear(): void {
    this.#packets.clear();
  }

  /** Holds everything back until {@link release}. */
  hold(): void {
    this.#state = 'held';
  }

  release(): void {
    this.#state = 'flowing';
    this.resume();
  }

  /** Sees to it that the next packet arrives when it is due. */
  resume(): void {
    const next = this.#packets.peek();
    if (next === undefined || this.#scheduled || this.#stands()) return;
    const { clock } = this.#network;
    const wait = next.due - clock.monotonic();
    this.#scheduled = true;
    if (wait > instant) clock.timer(wait, this.#run);
    else clock.immediate(this.#run);
  }

  #stands(): boolean {
    return this.#state === 'held' || this.#network.isCut(this.#key);
  }

  readonly #run = (): void => {
    this.#scheduled = false;
    const now = this.#network.clock.monotonic();
    let room = turnBytes;
    try {
      // Only what is here now: two who answer each other at once must not starve the others.
      for (let left = this.#packets.size; left > 0 && room > 0; left--) {
        const next = this.#packets.peek();
        if (next === undefined || next.due - now > instant || this.#stands()) break;
        this.#packets.shift();
        room -= next.size;
        next.arrive();
      }
    } finally {
      this.resume();
    }
  };
}

class MemoryConnection implements Connection {
  readonly remote: string;
  readonly #network: MemoryNetwork;
  readonly #out: Wire;
  readonly #in: Wire;
  readonly #life = new Lifecycle<ConnectionState>('connection', connectionTransitions, 'open');
  #peer: MemoryConnection | undefined;
  #events: ConnectionEvents | undefined;
  #error: Error | undefined;
  #timer: Timer | undefined;
  #unsent = 0;
  #owesDrain = false;
  #endSent = false;
  #endReceived = false;

  constructor(network: MemoryNetwork, remote: string, out: Wire, into: Wire) {
    this.#network = network;
    this.remote = remote;
    this.#out = out;
    this.#in = into;
    network.connections.add(this);
  }

  pair(peer: MemoryConnection): void {
    this.#peer = peer;
    peer.#peer = this;
  }

  /** Whether this is one end of a connection between the two hosts. */
  joins(a: string, b: string): boolean {
    const { from, to } = this.#out;
    return (from === a && to === b) || (from === b && to === a);
  }

  /** A link was healed. */
  resume(): void {
    this.#out.resume();
    this.#in.resume();
  }

  open(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new BusError('INTERNAL', 'the connection is open already');
    this.#events = events;
    if (this.#life.state === 'closed') this.#network.clock.immediate(() => events.closed(this.#error));
    else this.#in.release();
  }

  write(chunk: Uint8Array): boolean {
    if (this.#life.state !== 'open') return false;
    const copy = new Uint8Array(chunk); // as over a cable: the two sides share no memory
    this.#unsent += copy.length;
    for (let at = 0; at < copy.length; at += highWaterMark) {
      const piece = copy.subarray(at, at + highWaterMark);
      this.#out.send(() => {
        const peer = this.#peer;
        if (peer !== undefined) peer.#receive(piece);
        this.#sent(piece.length);
      }, piece.length);
    }
    if (this.#unsent < highWaterMark) return true;
    this.#owesDrain = true;
    return false;
  }

  close(): void {
    this.#end();
    if (this.#life.state === 'ending') this.#in.release();
  }

  destroy(reason?: Error): void {
    if (!this.#life.allows('destroyed')) return;
    this.#drop(reason);
    this.#out.send(() => this.#peer?.break());
    this.#in.release();
    this.#network.clock.immediate(() => this.#finish());
  }

  /** The connection broke: the other end was destroyed, or the network was told to reset it. */
  break(): void {
    if (!this.#life.allows('destroyed')) return;
    this.#drop(new BusError('NODE_UNREACHABLE', `the connection to ${this.remote} broke: reset`));
    this.#finish();
  }

  #receive(chunk: Uint8Array): void {
    if (this.#life.state === 'open') this.#events?.data(chunk);
  }

  #sent(length: number): void {
    this.#unsent -= length;
    if (!this.#owesDrain || this.#unsent > 0) return;
    this.#owesDrain = false;
    if (this.#life.state === 'open') this.#events?.drain();
  }

  /** Either side closes in order: the end travels behind what was written, for a second at most. */
  #end(): void {
    if (this.#life.state !== 'open') return;
    this.#life.to('ending');
    this.#out.send(() => {
      this.#endSent = true;
      const peer = this.#peer;
      if (peer !== undefined) peer.#receiveEnd();
      this.#finishWhenBothEnded();
    });
    this.#timer = this.#network.clock.timer(closeTimeout, () => {
      const late = new BusError('TIMEOUT', `${this.remote} did not take what was left in time`);
      this.destroy(this.#endSent ? undefined : late);
    });
  }

  #receiveEnd(): void {
    this.#endReceived = true;
    this.#end();
    this.#finishWhenBothEnded();
  }

  #finishWhenBothEnded(): void {
    if (this.#endSent && this.#endReceived && this.#life.state === 'ending') this.#finish();
  }

  #drop(reason: Error | undefined): void {
    this.#life.to('destroyed');
    this.#error = reason;
    this.#out.clear();
  }

  #finish(): void {
    if (this.#life.state === 'closed') return;
    this.#life.to('closed');
    this.#timer?.cancel();
    this.#network.connections.delete(this);
    this.#events?.closed(this.#error);
  }
}

/** The key of a direction between two hosts. */
function route(from: string, to: string): string {
  return JSON.stringify([from, to]);
}
