import type { ControlFrame, Epoch, MemberChange, PartChange, SubscriptionEntry } from '../wire/frame.ts';
import type { About, InstanceReport } from '../wire/placement-entry.ts';
import { fittingPlacements, type PlacementTable } from './placement-table.ts';
import { changeOf, fitting, fittingDurables, type Registry } from './registry.ts';

/** What a member needs of its surroundings. */
export interface MembershipHost {
  readonly registry: Registry;
  readonly placements: PlacementTable;
  /** Sends to the leader, when there is a link. */
  send(frame: ControlFrame): void;
  /** The first registry of an epoch or of a link is held. */
  held(): void;
  /** This node's part, up to `version`, has been applied by every member that is not suspect. */
  synced(version: number): void;
  /** The leader's rules do not allow these subscriptions of this node, by their ids. */
  denied(ids: readonly string[]): void;
}

/**
 * A member's copy of the registry, and its part as the leader should know it.
 *
 * A leader that has just come back knows only those who have come back to it. Until it says that it has settled, members
 * that it does not name are kept as suspect: whoever publishes is told that they could not be reached, instead of that
 * nobody subscribed.
 */
export class Membership {
  readonly #host: MembershipHost;
  /** Nodes that the present leader has named completely on the present link. */
  readonly #told = new Set<string>();
  /** Those that it is naming, with the ids of their subscriptions: complete when the version moves on. */
  readonly #naming = new Map<string, Set<string>>();
  #epoch: Epoch;
  #version = 0;
  #settled = false;
  /** How many pings in a row have told of a version that this node has not got. */
  #behind = 0;

  /** @param epoch the highest that this node has heard of. */
  constructor(host: MembershipHost, epoch: Epoch = { term: 0, start: 0 }) {
    this.#host = host;
    this.#epoch = epoch;
  }

  /** The highest epoch that this node has heard of. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** The registry version that this node holds; 0 when it holds none of the present link. */
  get version(): number {
    return this.#version;
  }

  /** The link to the leader has opened: tells everything that this node has registered. */
  join(
    epoch: Epoch,
    part: {
      version: number;
      entries: readonly SubscriptionEntry[];
      about: About | undefined;
      instances: readonly InstanceReport[];
    },
  ): void {
    this.#version = 0;
    this.#settled = false;
    this.#epoch = epoch;
    this.#behind = 0;
    const { version, entries, about, instances } = part;
    let rest = entries;
    let durable = [...this.#host.registry.durables];
    let placed = [...this.#host.placements];
    let more: boolean;
    do {
      const subscriptions = rest.slice(0, fitting(rest));
      // A frame holds as much of the one or of the other as it may.
      const durables = subscriptions.length === rest.length ? durable.slice(0, fittingDurables(durable)) : [];
      rest = rest.slice(subscriptions.length);
      durable = durable.slice(durables.length);
      const placements = rest.length + durable.length > 0 ? [] : placed.slice(0, fittingPlacements(placed));
      placed = placed.slice(placements.length);
      more = rest.length > 0 || durable.length > 0 || placed.length > 0;
      // What is said of instances is about placements that have been named: it comes last.
      const said = more ? {} : { ...(about && { about }), instances };
      this.#host.send({ type: 'join', version, more, subscriptions, durables, placements, ...said });
    } while (more);
  }

  /** This node has changed its part. */
  announce(version: number, change: PartChange): void {
    this.#host.send({ type: 'part', version, ...change });
  }

  /** Takes a frame of the leader's; others are none of its business. */
  take(frame: ControlFrame): void {
    if (frame.type === 'snapshot') {
      this.#told.clear();
      this.#naming.clear();
      this.#version = 0;
      this.#settled = false;
      this.#apply(frame.epoch, frame.members.map(changeOf), frame.version, frame.settled);
    } else if (frame.type === 'delta') {
      if (frame.from !== this.#version) this.#host.send({ type: 'resync' });
      else {
        for (const entry of frame.durables) this.#host.registry.applyDurable(entry);
        for (const entry of frame.placements ?? []) this.#host.placements.apply(entry);
        this.#apply(frame.epoch, frame.changes, frame.version, frame.settled);
      }
    } else if (frame.type === 'synced') {
      if (frame.denied !== undefined) this.#host.denied(frame.denied);
      this.#host.synced(frame.version);
    } else if (frame.type === 'ping') {
      // A delta may be under way; the second ping in a row shows that it is not.
      this.#behind = this.#version > 0 && frame.version > this.#version ? this.#behind + 1 : 0;
      if (this.#behind === 2) this.#host.send({ type: 'resync' });
    }
  }

  /** The link to the leader has gone; the copy stays. */
  lost(): void {
    this.#version = 0;
  }

  #apply(epoch: Epoch, changes: readonly MemberChange[], version: number, settled: boolean): void {
    this.#epoch = epoch;
    for (const change of changes) {
      this.#name(change);
      this.#host.registry.apply(change);
    }
    const complete = this.#version === 0 && version > 0;
    if (version > this.#version) this.#prune();
    this.#version = version;
    if (version > 0) {
      if (settled && !this.#settled) this.#unnamed('down');
      else if (complete && !settled) this.#unnamed('suspect');
      this.#settled = settled;
    }
    this.#host.send({ type: 'applied', version });
    if (complete) this.#host.held();
  }

  #name({ node, state, add }: MemberChange): void {
    if (state === 'down' || state === 'left') {
      this.#told.delete(node);
      this.#naming.delete(node);
      return;
    }
    if (this.#told.has(node)) return;
    const ids = this.#naming.get(node) ?? new Set<string>();
    this.#naming.set(node, ids);
    for (const entry of add) ids.add(entry.id);
  }

  /** Nodes have been named completely for the first time on this link: what was not named with them is gone. */
  #prune(): void {
    for (const [node, ids] of this.#naming) {
      this.#told.add(node);
      const member = this.#host.registry.get(node);
      if (member === undefined) continue;
      const remove = [...member.subscriptions.keys()].filter((id) => !ids.has(id));
      if (remove.length > 0) this.#host.registry.apply({ ...member, add: [], remove });
    }
    this.#naming.clear();
  }

  #unnamed(state: 'suspect' | 'down'): void {
    for (const member of [...this.#host.registry.members]) {
      if (!this.#told.has(member.node)) this.#host.registry.apply({ ...member, state, add: [], remove: [] });
    }
  }
}
