import type { Registry } from '../../cluster/registry.ts';
import type { Clock, Timer } from '../../core/clock.ts';
import { type Address, formatAddress, parseAddress } from '../../transport/address.ts';

/** What finding the leader needs of the network. */
export interface SuccessionHost {
  readonly clock: Clock;
  readonly node: string;
  /** Where this node was told to look for the leader. */
  readonly configured: Address | undefined;
  readonly registry: Pick<Registry, 'members'>;
  /** How long to wait between greetings, in milliseconds. */
  readonly pause: number;
  greet(address: Address): void;
}

/** Where the leader may be: as it was configured, as others have said, and every node that listens. */
export class Succession {
  readonly #host: SuccessionHost;
  #hint: string | undefined;
  /** Where the leader was that is linked, or was last. */
  #last: string | undefined;
  #turn = 0;
  #timer: Timer | undefined;

  constructor(host: SuccessionHost) {
    this.#host = host;
  }

  /** Where the leader listens, as far as this node knows. */
  get leader(): string | undefined {
    return this.#last;
  }

  /** Somebody has said where the leader listens. */
  hint(leader: string | undefined): void {
    if (leader !== undefined && addressOf(leader) !== undefined) this.#hint = leader;
  }

  /** The leader was found. */
  found(address: string | undefined): void {
    this.#last = address ?? this.#dialled;
    this.#turn = 0;
    this.#hint = undefined;
  }

  #dialled: string | undefined;

  /** Where to look now: at a hint, and else at every place in turn. */
  readonly next = (): Address => {
    const hint = this.#hint;
    this.#hint = undefined;
    const places = this.#places();
    const place = hint ?? places[this.#turn++ % places.length];
    this.#dialled = place;
    const address = place === undefined ? this.#host.configured : addressOf(place);
    return address ?? (this.#host.configured as Address); // who looks for a leader was told where
  };

  /** From now on this node leads: where another one may lead under an earlier term, it is told so. */
  announce(): void {
    const { clock, pause, greet, configured } = this.#host;
    this.#timer?.cancel();
    if (configured === undefined) return;
    const again = (): void => {
      greet(configured);
      this.#timer = clock.timer(pause, again).unref();
    };
    again();
  }

  close(): void {
    this.#timer?.cancel();
  }

  #places(): string[] {
    const { configured, registry, node } = this.#host;
    const places = configured === undefined ? [] : [formatAddress(configured)];
    if (this.#last !== undefined) places.unshift(this.#last);
    for (const member of registry.members) if (member.node !== node && member.address) places.push(member.address);
    return [...new Set(places)];
  }
}

/** @returns undefined for what is of a later version, or nonsense. */
export function addressOf(text: string): Address | undefined {
  try {
    return parseAddress(text, 'leader');
  } catch {
    return undefined;
  }
}

/** An address that others can dial; undefined for one that only says that every interface is listened on. */
export function dialable(address: string | undefined): string | undefined {
  return address === undefined || /^(tcp|tls):\/\/(0\.0\.0\.0|\[::\]):/.test(address) ? undefined : address;
}
