import { Part, SyncWaiters } from '../../cluster/part.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { within } from '../../core/within.ts';
import type { PartChange } from '../../wire/frame.ts';
import type { Role } from './role.ts';

/** What the telling of this node's part needs of the network. */
export interface OwnPartHost {
  readonly clock: Clock;
  readonly log: Logger;
  /** A node that has not been heard for so long is down, in milliseconds. */
  readonly down: number;
  role(): Pick<Role, 'announce'>;
}

/** What this node has registered, and the telling of it. */
export class OwnPart extends Part {
  readonly #host: OwnPartHost;
  readonly #sync = new SyncWaiters();
  /** Subscriptions that are being announced, by their ids, and whether the leader has refused them. */
  readonly #announcing = new Map<string, boolean>();

  constructor(host: OwnPartHost) {
    super();
    this.#host = host;
  }

  /** Tells of a change: now, or when the leader is back. @returns its version. */
  tell(change: PartChange): number {
    const version = this.change(change);
    if (!this.#host.role().announce(version, change)) this.synced(version);
    return version;
  }

  /**
   * Tells of a change. Resolves when every member that is not suspect has applied it, or one of them has not for as long as
   * a silent node is given.
   *
   * @throws {BusError} `DENIED` when the leader's rules do not allow a subscription: nobody is told of that one.
   */
  async announce(change: PartChange): Promise<void> {
    const ids = [...change.add, ...change.durables].map(({ id }) => id);
    for (const id of ids) this.#announcing.set(id, false);
    try {
      await this.#announce(change);
      const refused = [...change.add, ...change.durables].find(({ id }) => this.#announcing.get(id) === true);
      if (refused === undefined) return;
      const text = `the leader's rules (access) do not allow this node to subscribe to '${refused.pattern.source}'`;
      throw new BusError('DENIED', text);
    } finally {
      for (const id of ids) this.#announcing.delete(id);
    }
  }

  /** The leader does not allow subscriptions: whoever makes them hears of it, and the log of those that were made before. */
  denied(ids: readonly string[]): void {
    for (const id of ids) {
      if (this.#announcing.has(id)) this.#announcing.set(id, true);
      else
        this.#host.log.warn({ mailbox: id }, "the leader's rules do not allow this subscription: nobody is told of it");
    }
  }

  async #announce(change: PartChange): Promise<void> {
    const { clock, log, down } = this.#host;
    const applied = this.#sync.wait(this.version + 1); // waited for before it is told: that may be all there is to it
    const version = this.tell(change);
    if (await within(clock, down, applied)) return;
    log.warn({ version }, `a member has not applied a change of this node for ${down} ms: going on without it`);
  }

  /** Tells all of it anew, to another leader. */
  retell(): void {
    this.#host.role().announce(this.version, this.whole);
  }

  /** It has been applied everywhere up to `version`. @param version left out: as far as anybody can be waited for. */
  synced(version = Number.POSITIVE_INFINITY): void {
    this.#sync.reached(version);
  }
}
