import type { Clock, Timer } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { backoff } from '../core/retry.ts';
import type { Epoch, Hello } from '../wire/frame.ts';
import type { Address } from './address.ts';
import { formatAddress } from './address.ts';
import { type ArrivalLimits, Arrivals } from './arrivals.ts';
import { type Identity, type Refusal, Session } from './session.ts';
import type { Connection, Listener, Transport } from './transport.ts';

/** What the peers of a node need of their surroundings. */
export interface PeersHost {
  readonly clock: Clock;
  readonly log: Logger;
  readonly transport: Transport;
  readonly identity: Identity;
  readonly liveness: { readonly ping: number; readonly suspect: number };
  readonly redial: { readonly delay: number; readonly maxDelay: number; readonly timeout: number };
  readonly limits: ArrivalLimits & { readonly handshake: number };
  epoch(): Epoch;
  greeting(): Pick<Hello, 'address' | 'leader' | 'promote'>;
  registryVersion(): number;
  /** A node that has proven itself wants in and its name is free. */
  admit(hello: Hello): Refusal | undefined;
  opened(session: Session, epoch: Epoch): void;
  frame(session: Session, body: Uint8Array): void;
  idle(session: Session): void;
  writable(session: Session): void;
  /** An open session has ended, or another one has taken its place. Called once for each `opened`. */
  closed(session: Session, reason: BusError): void;
  /**
   * The node that is dialled could not be reached or turned this node away; the next one is dialled after a while.
   *
   * @param hint where the leader listens, as told by who refused this node.
   */
  unreachable(reason: BusError, hint: string | undefined): void;
  /** Somebody at the other end of a connection was turned away. */
  refused(kind: 'connections' | 'handshakes' | 'protocol', remote: string, reason: BusError): void;
}

/** The leader, who is dialled again whenever the link has gone. */
interface Leading {
  /** Where to look now. */
  readonly next: () => Address;
}

/** A member, dialled once for a link beside those to the leader. */
interface Member {
  readonly node: string;
  /** It could not be reached, or has turned this node away. */
  readonly failed: () => void;
}

/** The links of a node: accepts them, dials and redials, and keeps one for each other node. */
export class Peers {
  readonly #host: PeersHost;
  readonly #sessions = new Map<string, Session>();
  /** Every session with a connection, also before its handshake is over. */
  readonly #connections = new Set<Session>();
  readonly #arrivals: Arrivals<Session>;
  readonly #openedAt = new WeakMap<Session, number>();
  #listener: Listener | undefined;
  #timer: Timer | undefined;
  /** Whom to dial; a new one each time that changes, so that what is under way for another one is dropped. */
  #target: Leading | undefined;
  #failures = 0;
  #closed = false;
  #drained: (() => void) | undefined;

  constructor(host: PeersHost) {
    this.#host = host;
    this.#arrivals = new Arrivals(host.limits);
  }

  /** The open session to a node. */
  get(node: string): Session | undefined {
    return this.#sessions.get(node);
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** @returns the real address. @throws {BusError} `ADDRESS_IN_USE`. */
  async listen(address: Address): Promise<string> {
    this.#listener = await this.#host.transport.listen(address, (connection) => this.#accept(connection));
    return this.#listener.address;
  }

  /** Links to an address, and again whenever the link has gone. @param next the address to try now. */
  dial(next: () => Address): void {
    this.#timer?.cancel();
    this.#target = { next };
    this.#failures = 0;
    void this.#dial(this.#target);
  }

  /** Dials nobody any more. What is linked stays. */
  stopDialling(): void {
    this.#timer?.cancel();
    this.#target = undefined;
  }

  /** Greets whoever listens at an address, once, and goes again. */
  greet(address: Address): void {
    const { transport, redial } = this.#host;
    transport.dial(address, { timeout: redial.timeout }).then(
      (connection) => this.#start('dialler', connection, undefined),
      () => undefined, // nobody is there
    );
  }

  /** Dials a member once, for a link beside those to the leader. */
  direct(address: Address, member: Member): void {
    const { transport, redial } = this.#host;
    transport.dial(address, { timeout: redial.timeout }).then((connection) => {
      if (this.#closed) discard(connection);
      else this.#start('dialler', connection, undefined, member);
    }, member.failed);
  }

  /** Closes every link. */
  drop(reason: BusError): void {
    for (const session of [...this.#sessions.values()]) session.kill(reason);
  }

  /** Stops listening and dialling, sends what waits and closes every link. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    await this.#listener?.close();
    const reason = new BusError('CLOSED', 'this node has closed');
    const drained = new Promise<void>((done) => {
      this.#drained = done;
    });
    for (const session of [...this.#connections]) session.close(reason);
    if (this.#connections.size > 0) await drained;
  }

  #accept(connection: Connection): void {
    const { remote } = connection;
    const room = this.#closed ? 'connections' : this.#arrivals.room(remote);
    if (typeof room === 'string') {
      discard(connection);
      if (this.#closed) return;
      const text = `there are as many connections as limits.${room} allows (${this.#host.limits[room]}), and all have proven themselves`;
      this.#host.refused('connections', remote, new BusError('HANDSHAKE_REFUSED', text));
      return;
    }
    if (room !== undefined) {
      const reason = new BusError(
        'HANDSHAKE_REFUSED',
        'it had not proven itself, and made room for a newer connection',
      );
      this.#host.refused('connections', room.remote, reason);
      room.kill(reason);
    }
    this.#arrivals.entered(this.#start('listener', connection, undefined), remote);
  }

  async #dial(target: Leading): Promise<void> {
    const { transport, redial } = this.#host;
    const address = target.next();
    let connection: Connection;
    try {
      connection = await transport.dial(address, { timeout: redial.timeout });
    } catch (error) {
      if (this.#closed || this.#target !== target) return;
      this.#host.unreachable(
        error instanceof BusError
          ? error
          : new BusError('NODE_UNREACHABLE', `${formatAddress(address)} cannot be reached`, { cause: toError(error) }),
        undefined,
      );
      this.#redial(target);
      return;
    }
    if (this.#closed || this.#target !== target) discard(connection);
    else this.#start('dialler', connection, target);
  }

  #redial(target: Leading): void {
    if (this.#closed || this.#target !== target) return;
    const { clock, redial } = this.#host;
    const { delay, maxDelay } = redial;
    const wait = backoff({ delay, maxDelay, factor: 2, jitter: 0.2 }, ++this.#failures, clock.random());
    this.#timer = clock.timer(wait, () => void this.#dial(target));
  }

  #start(role: 'dialler' | 'listener', connection: Connection, target?: Leading, member?: Member): Session {
    const { clock, identity, liveness, limits } = this.#host;
    const session: Session = new Session(role, connection, {
      clock,
      identity,
      liveness,
      handshake: limits.handshake,
      epoch: () => this.#host.epoch(),
      greeting: () => ({ ...this.#host.greeting(), ...(member && { direct: member.node }) }),
      registryVersion: () => this.#host.registryVersion(),
      admit: (hello) => this.#admit(hello),
      opened: (_, epoch) => this.#opened(session, epoch),
      frame: (_, body) => this.#host.frame(session, body),
      idle: () => this.#host.idle(session),
      writable: () => this.#host.writable(session),
      closed: (_, reason) => this.#ended(session, reason, target, member),
    });
    this.#connections.add(session);
    return session;
  }

  #admit(hello: Hello): Refusal | undefined {
    const { node, incarnation, direct } = hello;
    const own = this.#host.identity.node;
    if (direct !== undefined && direct !== own)
      return { code: 'NODE_UNREACHABLE', detail: `node '${own}' is here, not '${direct}'` };
    const taken = { code: 'NAME_TAKEN', detail: `a node named '${node}' is in the cluster and alive` } as const;
    if (node === own) return taken;
    const present = this.#sessions.get(node);
    if (present !== undefined && present.peer.incarnation !== incarnation) return taken;
    return this.#host.admit(hello);
  }

  #opened(session: Session, epoch: Epoch): void {
    const { node } = session.peer;
    if (session.role === 'dialler' && (this.#closed || (this.#target === undefined && !session.direct))) {
      session.kill(new BusError('CLOSED', `nothing is wanted of ${node} any more`));
      return;
    }
    this.#openedAt.set(session, this.#host.clock.monotonic());
    this.#arrivals.proven(session);
    const old = this.#sessions.get(node);
    if (old !== undefined && !this.#supersedes(session, old)) {
      session.kill(new BusError('NODE_UNREACHABLE', `there is a link to ${node} already`));
      return;
    }
    this.#sessions.set(node, session);
    if (old !== undefined) {
      const reason = new BusError('NODE_UNREACHABLE', `a newer link to ${node} took its place`);
      this.#host.closed(old, reason);
      old.kill(reason);
    }
    this.#host.opened(session, epoch);
  }

  /** Whether a link that has opened takes the place of the one that there is: both ends decide alike. */
  #supersedes(session: Session, old: Session): boolean {
    if (!session.direct || !old.direct) return !session.direct;
    // When both have dialled each other, the one that was dialled by the smaller name stays.
    const { node: own } = this.#host.identity;
    const { node } = session.peer;
    return session.role === old.role || (session.role === 'dialler') === own < node;
  }

  #ended(session: Session, reason: BusError, target: Leading | undefined, member: Member | undefined): void {
    this.#connections.delete(session);
    this.#refused(session, reason, this.#arrivals.left(session));
    // A link that ends as soon as it has opened is no success: it is not to be dialled ten times a second.
    const { clock, liveness } = this.#host;
    if (clock.monotonic() - (this.#openedAt.get(session) ?? clock.monotonic()) >= liveness.ping) this.#failures = 0;
    const opened = this.#isCurrent(session);
    if (opened !== undefined) {
      this.#sessions.delete(opened);
      this.#host.closed(session, reason);
    } else if (target !== undefined && !this.#closed) {
      this.#host.unreachable(reason, session.hint);
    } else if (member !== undefined) {
      member.failed();
    }
    if (target !== undefined) this.#redial(target);
    if (this.#connections.size === 0) this.#drained?.();
  }

  /** @param arrived whether it came in, and was not told of yet when it had to make room. */
  #refused(session: Session, reason: BusError, arrived: boolean): void {
    if (this.#closed) return;
    const { code } = reason;
    if (code === 'PROTOCOL_ERROR' || code === 'INTERNAL') this.#host.refused('protocol', session.remote, reason);
    else if (arrived && !this.#openedAt.has(session) && code !== 'NODE_UNREACHABLE')
      this.#host.refused('handshakes', session.remote, reason);
  }

  #isCurrent(session: Session): string | undefined {
    for (const [node, current] of this.#sessions) if (current === session) return node;
    return undefined;
  }
}

function discard(connection: Connection): void {
  connection.open({ data: () => {}, drain: () => {}, closed: () => {} });
  connection.destroy();
}
