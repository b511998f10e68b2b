import { encodedSize } from '../core/encoded-size.ts';
import type { DurableEntry, MemberChange, MemberEntry, SubscriptionEntry } from '../wire/frame.ts';

/** A node as this one knows it. */
export interface Member {
  readonly node: string;
  readonly incarnation: string;
  state: 'alive' | 'suspect';
  /** Counts the node's links to the leader: when it changes, streams to the node are opened anew. */
  link: number;
  /** Where it listens. */
  address?: string;
  /** By the mailbox's id. */
  readonly subscriptions: Map<string, SubscriptionEntry>;
}

/** Hears what changes, at once and in order. */
export interface RegistryListener {
  joined(member: Member): void;
  /** Its state or its link is another one. */
  changed(member: Member): void;
  gone(member: Member, how: 'down' | 'left'): void;
  added(member: Member, entry: SubscriptionEntry): void;
  removed(member: Member, entry: SubscriptionEntry): void;
  /** A durable subscription is new, or another one, or removed. */
  durable(entry: DurableEntry, before: DurableEntry | undefined): void;
}

/** The members of the cluster with all that they have registered: the leader's original, or a member's copy. */
export class Registry {
  readonly #members = new Map<string, Member>();
  readonly #durables = new Map<string, DurableEntry>();
  readonly #listener: RegistryListener;

  constructor(listener: RegistryListener) {
    this.#listener = listener;
  }

  get members(): Iterable<Member> {
    return this.#members.values();
  }

  get(node: string): Member | undefined {
    return this.#members.get(node);
  }

  /** Every durable subscription that is or was, removed ones included. */
  get durables(): Iterable<DurableEntry> {
    return this.#durables.values();
  }

  /** How many names of durable subscriptions there are or were. */
  get names(): number {
    return this.#durables.size;
  }

  /** How many members there are. */
  get size(): number {
    return this.#members.size;
  }

  /** A durable subscription, by its full name; undefined also when it is removed. */
  durable(name: string): DurableEntry | undefined {
    const entry = this.#durables.get(name);
    return entry?.removed === true ? undefined : entry;
  }

  /** What is known of a durable name, removed or not. */
  durableEntry(name: string): DurableEntry | undefined {
    return this.#durables.get(name);
  }

  /** Applies what is said of a durable subscription. @returns whether that was news. */
  applyDurable(entry: DurableEntry): boolean {
    const before = this.#durables.get(entry.name);
    if (before !== undefined) {
      if (before.version > entry.version) return false;
      // Of the same version, being removed counts: nobody writes it twice but an operator whose home does not return.
      if (before.version === entry.version && (before.removed || (!entry.removed && !wins(entry, before))))
        return false;
    }
    this.#durables.set(entry.name, entry);
    this.#listener.durable(entry, before);
    return true;
  }

  /** Applies a change. An incarnation that is not the known one ends the known one first. */
  apply(change: MemberChange): void {
    const { node, incarnation, state } = change;
    let member = this.#members.get(node);
    if (member !== undefined && member.incarnation !== incarnation) {
      if (state === 'down' || state === 'left') return; // of a life that has ended already
      this.#remove(member, 'down');
      member = undefined;
    }
    if (state === 'down' || state === 'left') {
      if (member !== undefined) this.#remove(member, state);
      return;
    }
    if (member === undefined) {
      member = { node, incarnation, state, link: change.link, subscriptions: new Map() };
      this.#members.set(node, member);
      this.#listener.joined(member);
    } else if (member.state !== state || member.link !== change.link) {
      member.state = state;
      member.link = change.link;
      this.#listener.changed(member);
    }
    if (change.address !== undefined) member.address = change.address;
    this.#applySubscriptions(member, change);
  }

  #applySubscriptions(member: Member, { add, remove }: MemberChange): void {
    for (const id of remove) {
      const entry = member.subscriptions.get(id);
      if (entry !== undefined) this.#unsubscribe(member, entry);
    }
    for (const entry of add) {
      if (member.subscriptions.has(entry.id)) continue; // an entry never changes: its id is new at each creation
      member.subscriptions.set(entry.id, entry);
      this.#listener.added(member, entry);
    }
  }

  #unsubscribe(member: Member, entry: SubscriptionEntry): void {
    member.subscriptions.delete(entry.id);
    this.#listener.removed(member, entry);
  }

  #remove(member: Member, how: 'down' | 'left'): void {
    for (const entry of [...member.subscriptions.values()]) this.#unsubscribe(member, entry);
    this.#members.delete(member.node);
    this.#listener.gone(member, how);
  }
}

/** Of two mailboxes that were made under one name, which one counts: everybody must say the same. */
function wins(entry: DurableEntry, before: DurableEntry): boolean {
  return entry.id !== before.id && entry.id < before.id;
}

/** The whole of a member, as a change that makes it known. */
export function changeOf(member: MemberEntry): MemberChange {
  const { subscriptions, ...rest } = member;
  return { ...rest, add: subscriptions, remove: [] };
}

/** How many subscriptions, and how many bytes of patterns, go into one frame. */
const batch = { entries: 1000, bytes: 512 * 1024 };

/** What one frame may still take of subscriptions. */
export interface Room {
  entries: number;
  bytes: number;
}

/** The room of a frame that holds nothing yet. */
export function emptyFrame(): Room {
  return { ...batch };
}

/**
 * Takes as many entries as fit into one frame from the front of a list: at least one when the frame holds none yet.
 *
 * @param room what else the frame takes; what is taken here is taken off it.
 * @returns how many.
 */
export function fitting(entries: readonly SubscriptionEntry[], room: Room = emptyFrame()): number {
  for (let i = 0; i < entries.length; i++) {
    const { id, name, pattern, group = '' } = entries[i] as SubscriptionEntry; // i < length
    // A unit takes up to three bytes.
    const bytes =
      3 *
        (id.length + name.length + group.length + pattern.kind.length + pattern.source.length + pattern.flags.length) +
      128;
    if (room.entries < 1 || (bytes > room.bytes && room.bytes < batch.bytes)) return i;
    room.entries--;
    room.bytes -= bytes;
  }
  return entries.length;
}

/** Takes as many durable entries as fit into one frame from the front of a list. @returns how many. */
export function fittingDurables(entries: readonly DurableEntry[]): number {
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) {
    bytes += encodedSize(entries[i]); // all of it: somebody else has written it
    if (i >= batch.entries || (i > 0 && bytes > batch.bytes)) return i;
  }
  return entries.length;
}
