import type { Clock, Timer } from '../core/clock.ts';
import type {
  ControlFrame,
  Epoch,
  Hello,
  MemberChange,
  MemberEntry,
  PartChange,
  SubscriptionEntry,
} from '../wire/frame.ts';
import { PendingSyncs } from './pending-syncs.ts';
import { fittingPlacements, type PlacementTable } from './placement-table.ts';
import { emptyFrame, fitting, fittingDurables, type Member, type Registry, type Room } from './registry.ts';

/** What the leader needs of its surroundings. */
export interface LeaderHost {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly placements: PlacementTable;
  /** A member has said what it is and what runs on it: all of that, or what has changed. */
  told(member: Member, said: Pick<PartChange, 'about' | 'instances'>, whole: boolean): void;
  /** Members of an earlier life of the leader have had their time to come back. */
  settled(): void;
  /** Sends to a member that has a link; the link may have gone. */
  send(node: string, frame: ControlFrame): void;
  /** The leader's own part, up to `version`, has been applied by every member that is not suspect. */
  synced(version: number): void;
}

/** What the leader is told at its start. */
export interface LeaderOptions {
  readonly node: string;
  readonly incarnation: string;
  /** A node that has not been heard for so long is down, in milliseconds. */
  readonly down: number;
  /** How long members of an earlier life of the leader may take to come back, in milliseconds. */
  readonly settle: number;
  /** Under which it leads. */
  readonly term: number;
}

/** What a member has been told. */
interface Follower {
  /** The registry version that it was brought to; 0 until its first snapshot is complete. */
  sent: number;
  /** The registry version that it has confirmed. */
  applied: number;
  /** Something was sent that it has not confirmed yet: what changes meanwhile is merged. */
  busy: boolean;
  readonly dirty: Map<string, Dirty>;
  /** The durable subscriptions that it has not been told of, by name. */
  readonly durables: Set<string>;
  /** The placements that it has not been told of, by name. */
  readonly placements: Set<string>;
  /** Whether it has been told that the leader has settled. */
  toldSettled: boolean;
}

/** What a member has not been told of another one. */
interface Dirty {
  readonly subscriptions: Set<string>;
  gone: { incarnation: string; how: 'down' | 'left' } | undefined;
}

/**
 * Keeps the original of the registry: takes in what members register, and brings every member up to date. While a member
 * has not confirmed the last delta, changes are gathered by what they touch, so that a slow member gets one merged delta
 * and not a queue.
 */
export class Leader {
  readonly #host: LeaderHost;
  readonly #options: LeaderOptions;
  readonly #followers = new Map<string, Follower>();
  readonly #syncs: PendingSyncs;
  readonly #downTimers = new Map<string, Timer>();
  readonly #links = new Map<string, number>();
  readonly #settleTimer: Timer;
  #epoch: Epoch;
  #version = 1;
  #settled = false;

  constructor(host: LeaderHost, options: LeaderOptions) {
    this.#host = host;
    this.#options = options;
    this.#syncs = new PendingSyncs(this.#followers, ({ node, part }) => {
      if (node === options.node) host.synced(part);
      else host.send(node, { type: 'synced', version: part });
    });
    // Without a store the clock counts the starts; admit() goes above whatever a member has heard of.
    this.#epoch = { term: options.term, start: host.clock.now() };
    const { node, incarnation } = options;
    host.registry.apply({ node, incarnation, state: 'alive', link: 0, add: [], remove: [] });
    // Those whom it has known as a member of another leader have to come to it.
    for (const member of [...host.registry.members]) if (member.node !== node) this.#doubt(member, 0);
    this.#settleTimer = host.clock.timer(options.settle, () => this.#settle()).unref();
  }

  get epoch(): Epoch {
    return this.#epoch;
  }

  get version(): number {
    return this.#version;
  }

  /** Whether members of an earlier life have had their time to come back. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Goes above an epoch of an earlier life that a member has heard of. */
  outrank(heard: Epoch): void {
    if (heard.term < this.#epoch.term || heard.start <= this.#epoch.start) return;
    // Never past what a frame may hold: whoever names the highest number must not end every link.
    this.#epoch = { term: this.#epoch.term, start: Math.min(heard.start + 1, Number.MAX_SAFE_INTEGER) };
  }

  /** A member's link has opened and it has told its part. */
  join(hello: Hello, part: Omit<ControlFrame & { type: 'join' }, 'type' | 'more'>): void {
    const { node, incarnation, address } = hello;
    this.#downTimers.get(node)?.cancel();
    this.#downTimers.delete(node);
    const link = (this.#links.get(node) ?? 0) + 1;
    this.#links.set(node, link);
    // Busy from the start: the change below must not reach it before its snapshot, or an empty delta would pass for one.
    const follower: Follower = {
      sent: 0,
      applied: 0,
      busy: true,
      dirty: new Map(),
      durables: new Set(),
      placements: new Set(),
      toldSettled: this.#settled,
    };
    this.#followers.set(node, follower);
    this.#syncs.came(node);
    const known = this.#host.registry.get(node);
    const before = known?.incarnation === incarnation ? [...known.subscriptions.keys()] : [];
    const after = new Set(part.subscriptions.map((entry) => entry.id));
    const remove = before.filter((id) => !after.has(id));
    for (const entry of part.durables) this.#host.registry.applyDurable(entry);
    for (const entry of part.placements ?? []) this.#host.placements.apply(entry);
    const where = address === undefined ? {} : { address };
    this.#change({ node, incarnation, state: 'alive', link, ...where, add: part.subscriptions, remove });
    this.#snapshot(node, follower);
    this.#track(node, part.version);
    this.#hear(node, part, true);
  }

  /** A member has changed its part. */
  part(node: string, part: PartChange & { version: number }): void {
    const member = this.#host.registry.get(node);
    if (member === undefined) return;
    const { incarnation, state, link } = member;
    for (const entry of part.durables) this.#host.registry.applyDurable(entry);
    if (part.add.length + part.remove.length + part.durables.length > 0)
      this.#change({ node, incarnation, state, link, add: part.add, remove: part.remove });
    this.#track(node, part.version);
    this.#hear(node, part, false);
  }

  /** The leader has changed its own part. */
  own(version: number, change: PartChange): void {
    this.part(this.#options.node, { ...change, version });
  }

  /** A member has confirmed what it was sent. */
  applied(node: string, version: number): void {
    const follower = this.#followers.get(node);
    if (follower === undefined) return;
    follower.busy = false;
    follower.applied = Math.max(follower.applied, version);
    this.#flush(node, follower);
    this.#syncs.applied(node, follower.applied);
  }

  /** A member has missed something and wants everything. */
  resync(node: string): void {
    const follower = this.#followers.get(node);
    if (follower !== undefined) this.#snapshot(node, follower);
  }

  /**
   * A member's link has closed.
   *
   * @param silence how long it has not been heard, in milliseconds.
   */
  lost(node: string, silence: number): void {
    const member = this.#host.registry.get(node);
    this.#followers.delete(node);
    if (member?.state === 'alive') this.#doubt(member, silence);
    this.#syncs.gone(node);
  }

  #doubt({ node, incarnation, link }: Member, silence: number): void {
    this.#change({ node, incarnation, state: 'suspect', link, add: [], remove: [] });
    const wait = Math.max(0, this.#options.down - silence);
    this.#downTimers.set(node, this.#host.clock.timer(wait, () => this.#gone(node, incarnation, 'down')).unref());
  }

  /** A member says that it goes. */
  left(node: string): void {
    const member = this.#host.registry.get(node);
    this.#followers.delete(node);
    if (member !== undefined) this.#gone(node, member.incarnation, 'left');
    this.#syncs.gone(node);
  }

  close(): void {
    this.#settleTimer.cancel();
    for (const timer of this.#downTimers.values()) timer.cancel();
  }

  #gone(node: string, incarnation: string, how: 'down' | 'left'): void {
    this.#downTimers.get(node)?.cancel();
    this.#downTimers.delete(node);
    this.#links.delete(node);
    this.#change({ node, incarnation, state: how, link: 0, add: [], remove: [] });
  }

  #hear(node: string, { about, instances }: Pick<PartChange, 'about' | 'instances'>, whole: boolean): void {
    const member = this.#host.registry.get(node);
    if (member !== undefined && (whole || about !== undefined || instances !== undefined))
      this.#host.told(member, { ...(about && { about }), ...(instances && { instances }) }, whole);
  }

  #settle(): void {
    this.#settled = true;
    this.#version++;
    for (const [node, follower] of this.#followers) this.#flush(node, follower);
    this.#host.settled();
  }

  #change(change: MemberChange): void {
    this.#version++;
    const { node, incarnation, state } = change;
    const gone = state === 'down' || state === 'left';
    // One that comes back before a member has been told that it went may come back with less.
    const lost = gone ? [...(this.#host.registry.get(node)?.subscriptions.keys() ?? [])] : change.remove;
    this.#host.registry.apply(change);
    for (const [name, follower] of this.#followers) {
      if (name !== node) {
        const dirty = follower.dirty.get(node) ?? { subscriptions: new Set<string>(), gone: undefined };
        follower.dirty.set(node, dirty);
        if (gone) dirty.gone = { incarnation, how: state };
        for (const entry of change.add) dirty.subscriptions.add(entry.id);
        for (const id of lost) dirty.subscriptions.add(id);
      }
      this.#flush(name, follower);
    }
  }

  /** A durable subscription is another one: every member hears of it with the next delta. */
  durableChanged(name: string): void {
    for (const follower of this.#followers.values()) follower.durables.add(name);
  }

  /** A placement is another one: every member hears of it. */
  placementChanged(name: string): void {
    this.#version++;
    for (const [node, follower] of this.#followers) {
      follower.placements.add(name);
      this.#flush(node, follower);
    }
  }

  /** Everything that a member must know: as much of it as one frame holds, and the rest in deltas. */
  #snapshot(node: string, follower: Follower): void {
    follower.dirty.clear();
    const members: MemberEntry[] = [];
    for (const member of this.#host.registry.members) {
      if (member.node === node) continue;
      members.push({ ...bare(member), subscriptions: [] });
      if (member.subscriptions.size === 0) continue;
      follower.dirty.set(member.node, {
        subscriptions: new Set(member.subscriptions.keys()),
        gone: undefined,
      });
    }
    for (const { name } of this.#host.registry.durables) follower.durables.add(name);
    for (const { name } of this.#host.placements) follower.placements.add(name);
    const complete = follower.dirty.size === 0 && follower.durables.size === 0 && follower.placements.size === 0;
    follower.sent = complete ? this.#version : 0;
    follower.busy = true;
    follower.toldSettled = complete && this.#settled;
    this.#host.send(node, {
      type: 'snapshot',
      epoch: this.#epoch,
      version: follower.sent,
      settled: follower.toldSettled,
      members,
    });
  }

  #flush(node: string, follower: Follower): void {
    if (
      follower.busy ||
      (follower.dirty.size === 0 &&
        follower.durables.size === 0 &&
        follower.placements.size === 0 &&
        follower.sent === this.#version &&
        follower.toldSettled === this.#settled)
    )
      return;
    const changes: MemberChange[] = [];
    const room = emptyFrame();
    for (const [other, dirty] of follower.dirty) {
      if (room.entries < 1) break;
      room.entries--; // a change takes room even when it names no subscription
      const change = this.#changeFor(other, dirty, room);
      if (change !== undefined) changes.push(change);
      if (dirty.subscriptions.size > 0) break;
      follower.dirty.delete(other);
    }
    const from = follower.sent;
    const { registry } = this.#host;
    const untold =
      follower.dirty.size > 0 ? [] : [...follower.durables].flatMap((name) => registry.durableEntry(name) ?? []);
    const durables = untold.slice(0, fittingDurables(untold));
    for (const { name } of durables) follower.durables.delete(name);
    const unplaced = follower.dirty.size + follower.durables.size > 0 ? [] : [...follower.placements];
    const all = unplaced.flatMap((name) => this.#host.placements.entry(name) ?? []);
    const placements = all.slice(0, fittingPlacements(all));
    for (const { name } of placements) follower.placements.delete(name);
    if (follower.dirty.size === 0 && follower.durables.size === 0 && follower.placements.size === 0) {
      follower.sent = this.#version;
      follower.toldSettled = this.#settled;
    }
    follower.busy = true;
    this.#host.send(node, {
      type: 'delta',
      epoch: this.#epoch,
      from,
      version: follower.sent,
      settled: follower.toldSettled,
      changes,
      durables,
      ...(placements.length === 0 ? {} : { placements }),
    });
  }

  /** What to tell of a member now, as far as there is room; takes out of `dirty` what it tells. */
  #changeFor(node: string, dirty: Dirty, room: Room): MemberChange | undefined {
    const member = this.#host.registry.get(node);
    if (member === undefined) {
      dirty.subscriptions.clear();
      if (dirty.gone === undefined) return undefined;
      const { incarnation, how } = dirty.gone;
      return { node, incarnation, state: how, link: 0, add: [], remove: [] };
    }
    const add: SubscriptionEntry[] = [];
    const remove: string[] = [];
    for (const id of dirty.subscriptions) {
      const entry = member.subscriptions.get(id);
      if (entry === undefined) remove.push(id);
      else add.push(entry);
      if (add.length > room.entries) break; // the rest waits for the next frame
    }
    const told = add.slice(0, fitting(add, room));
    for (const entry of told) dirty.subscriptions.delete(entry.id);
    for (const id of remove) dirty.subscriptions.delete(id);
    dirty.gone = undefined;
    return { ...bare(member), add: told, remove };
  }

  #track(node: string, part: number): void {
    this.#syncs.add({ node, part, version: this.#version });
  }
}

function bare(member: Member): Omit<MemberEntry, 'subscriptions'> {
  const { node, incarnation, state, link, address } = member;
  return { node, incarnation, state, link, ...(address !== undefined && { address }) };
}
