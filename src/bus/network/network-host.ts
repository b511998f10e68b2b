import type { Admin } from '../../actors/admin.ts';
import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Subscriber } from '../../actors/subscriber.ts';
import type { PlacementTable } from '../../cluster/placement-table.ts';
import type { Member, RegistryListener } from '../../cluster/registry.ts';
import type { EventHub } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { Router } from '../../routing/router.ts';
import type { DurableEntry, PartChange } from '../../wire/frame.ts';
import type { RemoteConsumer } from '../consuming/remote-consumer.ts';
import type { ResolvedOptions } from '../options/options.ts';
import type { Groups } from '../routes/groups.ts';
import type { Route } from '../routes/route.ts';
import type { Spools } from '../streams/spools.ts';
import type { RequestHandler } from './requests.ts';

/** Who leads, as an operator has decided. */
export interface Leadership {
  readonly term: number;
  /** Whether it is this node. */
  readonly leads: boolean;
  /** Where the leader listens. */
  readonly address: string;
}

/** What the network needs of the bus. */
export interface NetworkHost {
  readonly options: ResolvedOptions;
  readonly incarnation: string;
  readonly events: EventHub;
  readonly log: Logger;
  readonly router: Router<Route>;
  /** The ways to mailboxes in memory. */
  readonly groups: Groups;
  subscriber(mailbox: string): Subscriber | undefined;
  readonly handle: RequestHandler;
  /** A durable mailbox of this node, by its id. */
  mailbox(id: string): DurableMailbox | undefined;
  /** Who takes the deliveries of another node's mailbox. */
  consumer(id: string): RemoteConsumer | undefined;
  /** A durable subscription is new, or another one, or removed. */
  registered(entry: DurableEntry, before: DurableEntry | undefined): void;
  /** A node can be reached, for the first time or again. */
  relinked(node: string): void;
  /** A node is down or has left. */
  gone(node: string, incarnation: string): void;
  readonly admin: Admin;
  readonly spools: Spools;
  /** Whether this node has a store that lasts, and how often it has been started. */
  readonly stored: boolean;
  readonly starts: number;
  readonly placements: PlacementTable;
  /** Hears of members, when the ways to them are as they are told. */
  readonly listeners: readonly Partial<RegistryListener>[];
  /** On the leader: a member has said what it is and what runs on it. */
  told(member: Member, said: Pick<PartChange, 'about' | 'instances'>): void;
  /** On the leader: members of an earlier life have had their time to come back. */
  settled(): void;
  /** Who leads has been decided anew: that is kept for the next start. */
  leading(leadership: Leadership): void;
  /** The term that this node starts with: of its own leadership, or of the one that it has heard of. */
  readonly term: number;
  /** On a member: the leader has been away for as long as a silent node is given. */
  forsaken(): void;
}
