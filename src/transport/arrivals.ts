import { isIPv6 } from 'node:net';

/** How many connections a node takes in. */
export interface ArrivalLimits {
  /** In all. */
  readonly connections: number;
  /** From one address. */
  readonly connectionsPerAddress: number;
  /** Of those that have not proven who they are yet. */
  readonly handshakes: number;
}

interface Arrival {
  readonly address: string;
  proven: boolean;
}

/** Where all Unix sockets come from: whoever may open the file may connect, so they are not counted by address. */
const local = 'unix';

/**
 * The address that a connection is counted under: an IPv4 address, the first 64 bits of an IPv6 one, because whoever has one
 * address there has them all, or `unix` for every Unix socket.
 *
 * @param remote that of a `Connection`.
 */
export function addressOf(remote: string): string {
  const host = /^(?:\[([^\]]*)\]|([^:/]*)):\d+$/.exec(remote);
  if (host === null) return remote === 'gone' ? remote : local;
  const [, six, other = ''] = host;
  return six !== undefined && isIPv6(six) ? networkOf(six) : (six ?? other);
}

/** The first four groups of an IPv6 address. */
function networkOf(host: string): string {
  const [left = '', right] = (host.split('%')[0] ?? '').split('::');
  const groups = left === '' ? [] : left.split(':');
  if (right !== undefined) {
    const tail = right === '' ? [] : right.split(':');
    const written = tail.length + (tail.at(-1)?.includes('.') ? 1 : 0); // an IPv4 address at the end is two groups
    while (groups.length + written < 8) groups.push('0');
    groups.push(...tail);
  }
  const network = groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(':')}::/64`;
}

/**
 * The connections that came in, and which of them goes when there are too many. One that has proven itself never goes for
 * another; of the others the oldest goes, at the address that has most of them: so whoever opens connections and says
 * nothing drives out its own, and a node that greets at once gets in.
 */
export class Arrivals<Session> {
  readonly #limits: ArrivalLimits;
  readonly #all = new Map<Session, Arrival>();
  /** How many there are, by address. */
  readonly #counts = new Map<string, number>();
  /** Those that have not proven themselves, by address, the oldest first. */
  readonly #unproven = new Map<string, Set<Session>>();
  #handshakes = 0;

  constructor(limits: ArrivalLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#all.size;
  }

  /**
   * Asks for room for one more.
   *
   * @returns undefined when there is room; a session that must go first, which is not counted any more; or the name of the
   *   limit by which the newcomer must go.
   */
  room(remote: string): Session | keyof ArrivalLimits | undefined {
    const { connections, connectionsPerAddress, handshakes } = this.#limits;
    const address = addressOf(remote);
    let limit: keyof ArrivalLimits;
    let oldest: Session | undefined;
    if (address !== local && (this.#counts.get(address) ?? 0) >= connectionsPerAddress) {
      limit = 'connectionsPerAddress';
      oldest = first(this.#unproven.get(address));
    } else if (this.#handshakes >= handshakes || this.#all.size >= connections) {
      limit = 'connections'; // with as many handshakes as there may be, one of them goes
      oldest = first(this.#most());
    } else {
      return undefined;
    }
    if (oldest === undefined) return limit;
    this.left(oldest);
    return oldest;
  }

  entered(session: Session, remote: string): void {
    const address = addressOf(remote);
    this.#all.set(session, { address, proven: false });
    this.#counts.set(address, (this.#counts.get(address) ?? 0) + 1);
    this.#handshakes++;
    const unproven = this.#unproven.get(address) ?? new Set();
    this.#unproven.set(address, unproven.add(session));
  }

  /** It has proven itself. */
  proven(session: Session): void {
    const arrival = this.#all.get(session);
    if (arrival === undefined || arrival.proven) return;
    arrival.proven = true;
    this.#settled(session, arrival.address);
  }

  /** It has gone. @returns whether it was still counted. */
  left(session: Session): boolean {
    const arrival = this.#all.get(session);
    if (arrival === undefined) return false;
    const { address, proven } = arrival;
    this.#all.delete(session);
    const count = (this.#counts.get(address) ?? 1) - 1;
    if (count === 0) this.#counts.delete(address);
    else this.#counts.set(address, count);
    if (!proven) this.#settled(session, address);
    return true;
  }

  #settled(session: Session, address: string): void {
    this.#handshakes--;
    const unproven = this.#unproven.get(address);
    unproven?.delete(session);
    if (unproven?.size === 0) this.#unproven.delete(address);
  }

  /** Of the addresses with handshakes under way, those of the one that has most. */
  #most(): Set<Session> | undefined {
    let most: Set<Session> | undefined;
    for (const each of this.#unproven.values()) if (each.size > (most?.size ?? 0)) most = each;
    return most;
  }
}

function first<T>(set: Set<T> | undefined): T | undefined {
  return set?.values().next().value;
}
