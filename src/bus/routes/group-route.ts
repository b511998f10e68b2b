import type { ErrorCode, Receipt } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import { hash, weight } from '../../core/spread.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { Destination, Listener, Publication, Ticket } from './publication.ts';
import type { Route } from './route.ts';

/** How a member of a group stands to a message: the lower, the better. */
export const standings = {
  /** It would take it at once. */
  free: 0,
  /** It is full or paused. */
  busy: 1,
  /** Its node cannot be reached. */
  away: 2,
  /** It takes nothing any more. */
  gone: 3,
} as const;

/** The way to a mailbox in memory, which may be a member of a group. */
export interface GroupMember extends Route {
  readonly group: string | undefined;
  /** Whether it is on this node. */
  readonly local: boolean;
  /** The mailbox's id: the same on every node. */
  readonly mailbox: string;
  /** One of {@link standings}. Counts nothing. */
  standing(message: Message): number;
  publish(message: Message, listener: Listener): void;
}

/**
 * The one route to a group: each message goes to one of its members. Those of the publisher's own node come first, in turn, as
 * long as one of them has room; then those of other nodes. A message with a key goes to the member that the key belongs to,
 * wherever that is, so that all publishers agree on it.
 */
export class GroupRoute implements Route {
  readonly pattern: Pattern;
  readonly group: string;
  readonly durable = undefined;
  readonly #local: GroupMember[] = [];
  readonly #remote: GroupMember[] = [];
  readonly #seeds = new Map<GroupMember, number>();
  #turn = 0;

  constructor(pattern: Pattern, group: string) {
    this.pattern = pattern;
    this.group = group;
  }

  get members(): GroupMember[] {
    return [...this.#local, ...this.#remote];
  }

  get subscription(): string {
    return this.group;
  }

  /** Its own node, when there is a member here. */
  get node(): string {
    return this.#first.node;
  }

  get retry(): Readonly<RetryPolicy> {
    return this.#first.retry;
  }

  get reachable(): boolean {
    return this.members.some(({ reachable }) => reachable);
  }

  add(member: GroupMember): void {
    (member.local ? this.#local : this.#remote).push(member);
    this.#seeds.set(member, hash(member.mailbox));
  }

  /** @returns how many are left. */
  remove(member: GroupMember): number {
    const list = member.local ? this.#local : this.#remote;
    const at = list.indexOf(member);
    if (at >= 0) list.splice(at, 1);
    this.#seeds.delete(member);
    return this.#seeds.size;
  }

  hasRoom(message: Message): boolean {
    return this.choose(message)?.hasRoom(message) ?? true;
  }

  emit(message: Message): boolean {
    const member = this.choose(message);
    if (member === undefined) return true; // they are about to be removed
    this.#turn++;
    return member.emit(message);
  }

  accept(message: Message): boolean {
    const member = this.choose(message);
    // Offering it to one that is full would count as a refusal, before others are asked.
    if (member?.standing(message) !== standings.free || !member.accept(message)) return false;
    this.#turn++;
    return true;
  }

  publish(message: Message, publication: Publication): void {
    new Search(this, message, publication).next();
  }

  /** Who gets a message; undefined when nobody is left. @param tried who has not taken it. */
  choose(message: Message, tried?: ReadonlySet<GroupMember>): GroupMember | undefined {
    if (message.key !== undefined) return this.#holder(message, hash(message.key), tried);
    let best: GroupMember | undefined;
    let lowest: number = standings.gone;
    for (const list of [this.#local, this.#remote]) {
      for (let i = 0; i < list.length; i++) {
        const member = list[(this.#turn + i) % list.length] as GroupMember; // below its length
        if (tried?.has(member) === true) continue;
        const standing = member.standing(message);
        if (standing === standings.free) return member;
        if (standing >= lowest) continue;
        lowest = standing;
        best = member;
      }
    }
    return best;
  }

  /** The next message is for the next member. */
  turn(): void {
    this.#turn++;
  }

  /** Whom a key belongs to among those that can be reached; a full one is waited for, so that the order is kept. */
  #holder(message: Message, key: number, tried: ReadonlySet<GroupMember> | undefined): GroupMember | undefined {
    let best: GroupMember | undefined;
    let lowest: number = standings.gone;
    let highest = -1;
    for (const [member, seed] of this.#seeds) {
      if (tried?.has(member) === true) continue;
      const standing = Math.max(member.standing(message), standings.busy);
      if (standing > lowest || standing === standings.gone) continue;
      const own = weight(key, seed);
      if (standing === lowest && own <= highest) continue;
      lowest = standing;
      highest = own;
      best = member;
    }
    return best;
  }

  get #first(): GroupMember {
    return (this.#local[0] ?? this.#remote[0]) as GroupMember; // a group without members is removed
  }
}

/** A publish to a group: asks one member after the other until one has the message, or may have it. */
class Search implements Listener {
  readonly #group: GroupRoute;
  readonly #message: Message;
  readonly #publication: Publication;
  readonly #tried = new Set<GroupMember>();

  constructor(group: GroupRoute, message: Message, publication: Publication) {
    this.#group = group;
    this.#message = message;
    this.#publication = publication;
  }

  get receipt(): Receipt {
    return this.#publication.receipt;
  }

  /** Asks the next member. @returns false when there is none. */
  next(): boolean {
    const member = this.#group.choose(this.#message, this.#tried);
    if (member === undefined) {
      if (this.#tried.size > 0) return false;
      this.receipt.matched--; // they are about to be removed
      return true;
    }
    this.#tried.add(member);
    this.#group.turn();
    if (!member.accept(this.#message)) member.publish(this.#message, this);
    return true;
  }

  expect(ticket: Ticket): void {
    this.#publication.expect(ticket);
  }

  taken(ticket: Ticket): void {
    this.#publication.taken(ticket);
  }

  unreachable(route: Destination, ticket?: Ticket): void {
    // What was sent may have arrived: nobody else gets it.
    if (ticket !== undefined || !this.#elsewhere(ticket)) this.#publication.unreachable(route, ticket);
  }

  gone(route: Destination, ticket?: Ticket): void {
    if (!this.#elsewhere(ticket)) this.#publication.gone(route, ticket);
  }

  failed(route: Destination, code: ErrorCode, ticket?: Ticket): void {
    // The next of its key would overtake one that went elsewhere because its member is full.
    const stays = code === 'MAILBOX_FULL' && this.#message.key !== undefined;
    if (stays || !this.#elsewhere(ticket)) this.#publication.failed(route, code, ticket);
  }

  /** One that has not taken it is waited for no longer when there is another. */
  #elsewhere(ticket: Ticket | undefined): boolean {
    if (!this.next()) return false;
    if (ticket !== undefined) this.#publication.taken(ticket);
    return true;
  }
}
