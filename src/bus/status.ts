import type { SubscriptionStats } from '../actors/subscriber-options.ts';
import type { TreeNode } from '../actors/supervisor.ts';
import type { BusState } from '../core/lifecycle.ts';
import { mailboxStats } from './consuming/durable-attachment.ts';
import { bytesOf } from './durable/store-source.ts';
import type { Storehouse } from './durable/storehouse.ts';
import type { LinkStatus, MemberStatus } from './network/member-status.ts';
import type { Network } from './network/network.ts';
import type { ResolvedOptions } from './options/options.ts';
import type { FolderOwner } from './shared/shared-files.ts';
import type { RefusalCounts } from './streams/refusals.ts';
import type { SpoolStatus } from './streams/spools.ts';
import type { SubscriptionStatus } from './subscriptions.ts';

/** A node at a glance. */
export interface BusStatus {
  node: string;
  incarnation: string;
  cluster: string;
  state: BusState;
  /** `alone`: no cluster. */
  role: 'alone' | 'leader' | 'leaf';
  /** Where it listens, with the real port. */
  address?: string;
  /** The leader, as far as this node knows; `epoch` is `<term>.<start>`. */
  leader?: { node: string; epoch: string; linked: boolean };
  /** Of a process that shares a folder; `owner`: who serves it, as far as this node knows. */
  shared?: { folder: string; owner?: FolderOwner };
  members: MemberStatus[];
  links: LinkStatus[];
  /** Of another node: the first 1,000. */
  subscriptions: SubscriptionStatus[];
  /** The durable mailboxes whose home it is. Of another node: the first 1,000. */
  mailboxes: MailboxStatus[];
  /** What is written on it for durable mailboxes of other nodes. */
  spools: SpoolStatus[];
  deadLetters: { size: number; limit: number };
  /** What it has refused to others since its start; of a node in a cluster. */
  refused?: RefusalCounts;
  /** Of a node with a dataDir. */
  store?: StoreStatus;
  /** The supervision tree. */
  tree: TreeNode;
}

/** The store of a node. */
export interface StoreStatus {
  folder: string;
  /** What it takes on disk; left out when that cannot be told now. */
  bytes?: number;
  /** Batches that were written since the start, and how many of them to the medium. */
  commits: number;
  synced: number;
  /** A commit has failed, and the store is not open again yet. */
  failed: boolean;
  /** How many events `store.gap` there were: each tells of messages that were not where they should have been. */
  gaps: number;
}

/** A durable mailbox on its home. */
export interface MailboxStatus extends SubscriptionStats {
  /** `<service>/<name>`. */
  name: string;
  pattern: string;
  /** Messages that wait for a time: delayed, or for their next attempt. They count as waiting. */
  parked: number;
  /** Attached consumers, here and on other nodes. */
  consumers: number;
}

/** What a status is made of. */
export interface StatusSource {
  readonly options: ResolvedOptions;
  readonly incarnation: string;
  readonly state: BusState;
  readonly network: Network | undefined;
  readonly subscriptions: SubscriptionStatus[];
  readonly storehouse: Storehouse;
  readonly gaps: number;
  readonly shared: BusStatus['shared'];
  readonly tree: TreeNode;
}

/** A node at a glance. */
export function statusOf({ options, incarnation, state, network, storehouse, ...rest }: StatusSource): BusStatus {
  const { node, cluster, limits, dataDir } = options;
  const role = network === undefined ? 'alone' : network.leads ? 'leader' : 'leaf';
  const { leader, address } = network ?? {};
  return {
    node,
    incarnation,
    cluster,
    state,
    role,
    ...(address === undefined ? {} : { address }),
    ...(leader === undefined ? {} : { leader }),
    ...(rest.shared === undefined ? {} : { shared: rest.shared }),
    members: network?.members() ?? [],
    links: network?.links() ?? [],
    subscriptions: rest.subscriptions,
    mailboxes: [...storehouse.mailboxes].map(({ mailbox, route }) => ({
      name: mailbox.name,
      pattern: route.pattern.text,
      parked: mailbox.parked,
      consumers: mailbox.consumers,
      ...mailboxStats(mailbox),
    })),
    spools: storehouse.spools.status(),
    deadLetters: { size: storehouse.deadLetters.size, limit: limits.deadLetters },
    ...(network === undefined ? {} : { refused: { ...network.refusals.counts } }),
    ...(dataDir === undefined ? {} : { store: storeStatus(dataDir, storehouse, rest.gaps) }),
    tree: rest.tree,
  };
}

function storeStatus(folder: string, { admin }: Storehouse, gaps: number): StoreStatus {
  const { counts, error } = admin.commits;
  const bytes = bytesOf(folder);
  return { folder, ...(bytes === undefined ? {} : { bytes }), ...counts, failed: error !== undefined, gaps };
}

/** How many subscriptions a status lists for another node, so that it fits into one frame. */
const mostListed = 1000;

/** A status that fits into one frame. */
export function brief(status: BusStatus): BusStatus {
  const trim = (node: TreeNode): TreeNode => ({ ...node, children: node.children.slice(0, mostListed).map(trim) });
  const { subscriptions, mailboxes, spools, tree } = status;
  return {
    ...status,
    subscriptions: subscriptions.slice(0, mostListed),
    mailboxes: mailboxes.slice(0, mostListed),
    spools: spools.slice(0, mostListed),
    tree: trim(tree),
  };
}
