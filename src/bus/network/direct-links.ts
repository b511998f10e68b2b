import type { Member } from '../../cluster/registry.ts';
import type { Clock, Timer } from '../../core/clock.ts';
import { backoff } from '../../core/retry.ts';
import type { Address } from '../../transport/address.ts';
import type { Refusal } from '../../transport/session.ts';
import type { Hello } from '../../wire/frame.ts';
import type { Link } from '../streams/link.ts';
import { addressOf } from './succession.ts';

/** What the direct links need of the network. */
export interface DirectLinksHost {
  readonly clock: Clock;
  /** The first wait between two attempts, in milliseconds. */
  readonly delay: number;
  /** A node that has not been heard for so long is down, in milliseconds. */
  readonly down: number;
  member(node: string): Member | undefined;
  /** Whether this node dials another one: both are members, and this one listens. */
  dials(node: string): boolean;
  /** Dials once. @param failed the node could not be reached, or has turned this one away */
  dial(address: Address, node: string, failed: () => void): void;
  /** Whether a node can be reached now, on whatever way. */
  reachable(node: string): boolean;
  /** Another link leads to a node now. */
  relinked(node: string): void;
  /** A node could be reached only by its direct link, which has been gone for too long. */
  lost(node: string): void;
}

/** The longest wait between two attempts, in milliseconds: a node that cannot be dialled is reached through the leader. */
const longestWait = 30_000;

/** An attempt to link to a node, and those before it that failed. */
interface Attempt {
  failures: number;
  /** Of the next one. */
  timer: Timer | undefined;
}

/**
 * The links between members that listen, beside those to the leader. A member is dialled when there is something to send to
 * it, and again while it is a member; until its link is open, and when it cannot be dialled, the leader relays.
 */
export class DirectLinks {
  readonly #host: DirectLinksHost;
  readonly #links = new Map<string, Link>();
  readonly #openedAt = new WeakMap<Link, number>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #losses = new Map<string, Timer>();
  #closed = false;

  constructor(host: DirectLinksHost) {
    this.#host = host;
  }

  /** The direct link to a node. */
  get(node: string): Link | undefined {
    return this.#links.get(node);
  }

  /** There is something to send to a node. */
  want(node: string): void {
    if (this.#attempts.has(node) || this.#closed || !this.#host.dials(node)) return;
    if (this.#host.member(node)?.address === undefined) return;
    const attempt: Attempt = { failures: 0, timer: undefined };
    this.#attempts.set(node, attempt);
    this.#host.clock.immediate(() => this.#dial(node, attempt));
  }

  /** Whether a node that dials this one for a direct link may have it. */
  admit({ node, incarnation }: Hello): Refusal | undefined {
    if (this.#host.member(node)?.incarnation === incarnation) return undefined;
    return { code: 'NODE_UNREACHABLE', detail: `node '${node}' is not known here yet` };
  }

  opened(link: Link): void {
    const { node } = link;
    this.#links.set(node, link);
    this.#openedAt.set(link, this.#host.clock.monotonic());
    this.#losses.get(node)?.cancel();
    this.#losses.delete(node);
    this.#host.relinked(node);
  }

  /** @param silence how long the node had not been heard, in milliseconds. */
  closed(link: Link, silence: number): void {
    const { node } = link;
    if (this.#links.get(node) !== link) return;
    this.#links.delete(node);
    const { clock, down, reachable, relinked, lost } = this.#host;
    const attempt = this.#attempts.get(node);
    if (attempt !== undefined) {
      // A link that ends as soon as it has opened is no success.
      if (clock.monotonic() - (this.#openedAt.get(link) ?? 0) >= this.#host.delay * 10) attempt.failures = 0;
      this.#failed(node, attempt);
    }
    relinked(node);
    if (reachable(node)) return;
    this.#losses.get(node)?.cancel();
    const timer = clock.timer(Math.max(0, down - silence), () => {
      this.#losses.delete(node);
      if (!reachable(node)) lost(node);
    });
    this.#losses.set(node, timer.unref());
  }

  close(): void {
    this.#closed = true;
    for (const { timer } of this.#attempts.values()) timer?.cancel();
    for (const timer of this.#losses.values()) timer.cancel();
  }

  #dial(node: string, attempt: Attempt): void {
    attempt.timer = undefined;
    if (this.#closed || this.#links.has(node)) return;
    const text = this.#host.member(node)?.address;
    const address = text === undefined ? undefined : addressOf(text);
    if (address === undefined || !this.#host.dials(node)) this.#attempts.delete(node);
    else this.#host.dial(address, node, () => this.#failed(node, attempt));
  }

  #failed(node: string, attempt: Attempt): void {
    if (this.#closed || this.#links.has(node) || attempt.timer !== undefined) return;
    const { clock, delay } = this.#host;
    const policy = { delay, maxDelay: longestWait, factor: 2, jitter: 0.2 };
    const wait = backoff(policy, ++attempt.failures, clock.random());
    attempt.timer = clock.timer(wait, () => this.#dial(node, attempt)).unref();
  }
}
