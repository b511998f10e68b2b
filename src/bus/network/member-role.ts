import { Membership } from '../../cluster/membership.ts';
import type { Part } from '../../cluster/part.ts';
import type { PlacementTable } from '../../cluster/placement-table.ts';
import type { Registry } from '../../cluster/registry.ts';
import type { Timer } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import type { Refusal, Session } from '../../transport/session.ts';
import type { ControlFrame, Epoch, Hello, PartChange } from '../../wire/frame.ts';
import type { ResolvedOptions } from '../options/options.ts';
import type { Gate } from '../streams/gate.ts';
import type { Link } from '../streams/link.ts';
import type { Role } from './role.ts';

/** What a member needs of its network. */
export interface MemberHost {
  readonly options: ResolvedOptions;
  /** Holds other nodes to the rules, where there are any. */
  readonly gate: Gate | undefined;
  readonly events: EventHub;
  readonly registry: Registry;
  readonly placements: PlacementTable;
  readonly part: Part;
  /** The highest epoch that this node has heard of before. */
  readonly heard: Epoch;
  /** Where the leader listens, if it is known. */
  leaderAddress(): string | undefined;
  /** This node is to lead. @returns whether it can. */
  promoted(): boolean;
  /** This node's part, up to `version`, is known to everybody who can be reached. */
  synced(version: number): void;
  /** The leader's rules do not allow these subscriptions of this node, by their ids. */
  denied(ids: readonly string[]): void;
  /** The registry is held: everybody who is alive can be reached. */
  held(): void;
  /** The leader has been away for so long that what waits for others is given up, where no other way leads to them. */
  giveUp(): void;
}

/** A member: holds a copy of the registry, and reaches everybody over its link to the leader. */
export class MemberRole implements Role {
  readonly #host: MemberHost;
  readonly #membership: Membership;
  readonly leads = false;
  #up: Link | undefined;
  #leaderNode: string | undefined;
  #downTimer: Timer | undefined;
  /** Whether the leader has been lost, or not found yet, since it was last told of. */
  #away = true;

  constructor(host: MemberHost) {
    this.#host = host;
    const { registry, placements, synced, denied } = host;
    this.#membership = new Membership(
      {
        registry,
        placements,
        synced,
        denied,
        send: (frame) => this.#up?.send(frame),
        held: () => this.#held(),
      },
      host.heard,
    );
  }

  get epoch(): Epoch {
    return this.#membership.epoch;
  }

  get version(): number {
    return this.#membership.version;
  }

  get settled(): boolean {
    return this.linked;
  }

  get leaderNode(): string | undefined {
    return this.#leaderNode;
  }

  get linked(): boolean {
    return this.#up !== undefined && this.version > 0;
  }

  path(node: string): Link | undefined {
    return this.linked && this.#host.registry.get(node)?.state === 'alive' ? this.#up : undefined;
  }

  way(_node: string): Link | undefined {
    return this.#up;
  }

  admit(hello: Hello): Refusal | 'again' {
    const { options, gate, promoted } = this.#host;
    if (hello.promote === options.node && !this.linked) {
      if (gate?.manages(hello.node, 'leadership') === false)
        return {
          code: 'DENIED',
          detail: `node '${hello.node}' may not decide who leads: the rules (access) do not allow it`,
        };
      if (promoted()) return 'again';
    }
    const leader = this.#host.leaderAddress();
    const detail = `it does not lead${leader === undefined ? '' : `; the leader listens on ${leader}`}`;
    return { code: 'NO_LEADER', detail, ...(leader !== undefined && { leader }) };
  }

  opened(session: Session, link: Link, epoch: Epoch): void {
    if (epoch.term < this.epoch.term) {
      session.kill(new BusError('NO_LEADER', `${link.node} leads under a term that is over`));
      return;
    }
    this.#downTimer?.cancel();
    this.#up = link;
    this.#leaderNode = link.node;
    this.#membership.join(epoch, this.#host.part);
  }

  closed(_session: Session, link: Link, silence: number, reason: BusError): void {
    if (this.#up !== link) return;
    this.#up = undefined;
    this.#away = true;
    this.#membership.lost();
    const { options, events, registry, synced, giveUp } = this.#host;
    synced(Number.POSITIVE_INFINITY);
    const { node, incarnation } = link;
    events.emit({ type: 'leader.lost', node, reason: reason.message });
    const leader = registry.get(node);
    if (leader !== undefined) registry.apply({ ...leader, state: 'suspect', add: [], remove: [] });
    this.#downTimer?.cancel();
    this.#downTimer = options.clock.timer(Math.max(0, options.liveness.down - silence), () => {
      events.emit({ type: 'node.down', node, incarnation });
      giveUp();
    });
  }

  take(_session: Session, _link: Link, frame: ControlFrame): void {
    this.#membership.take(frame);
  }

  announce(version: number, change: PartChange): boolean {
    if (this.#up === undefined) return false; // told when the leader is back
    this.#membership.announce(version, change);
    return true;
  }

  durableChanged(): void {}

  placementChanged(): void {}

  vouch(_link: Link, source: string): string {
    return source; // the leader has seen to it
  }

  close(): void {
    this.#downTimer?.cancel();
  }

  #held(): void {
    const { term, start } = this.epoch;
    if (this.#leaderNode !== undefined && this.#away) {
      this.#away = false;
      this.#host.events.emit({ type: 'leader.found', node: this.#leaderNode, epoch: `${term}.${start}` });
    }
    this.#host.held();
  }
}
