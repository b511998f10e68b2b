import type { TreeNode } from '../actors/supervisor.ts';
import type { BusState } from '../core/lifecycle.ts';
import type { RetryPolicy } from '../core/retry.ts';
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
  members: MemberStatus[];
  links: LinkStatus[];
  /** Of another node: the first 1,000. */
  subscriptions: SubscriptionStatus[];
  deadLetters: { size: number; limit: number };
  /** The supervision tree. */
  tree: TreeNode;
}

/** A member as a node sees it. */
export interface MemberStatus {
  node: string;
  incarnation: string;
  leader: boolean;
  /** This node itself is always alive. */
  state: 'alive' | 'suspect';
  /** Whether this node can reach it now. */
  reachable: boolean;
  subscriptions: number;
}

/** A link as the node at one end sees it. */
export interface LinkStatus {
  node: string;
  /** Where the other end is. */
  remote: string;
  /** Bytes since the link opened. */
  sent: number;
  received: number;
  streams: { out: number; in: number };
}

/** Where a topic would go. */
export interface Explanation {
  topic: string;
  routes: { subscription: string; node: string; pattern: string; reachable: boolean; retry: RetryPolicy }[];
}

/** How many subscriptions a status lists for another node, so that it fits into one frame. */
const mostListed = 1000;

/** A status that fits into one frame. */
export function brief(status: BusStatus): BusStatus {
  const trim = (node: TreeNode): TreeNode => ({ ...node, children: node.children.slice(0, mostListed).map(trim) });
  return { ...status, subscriptions: status.subscriptions.slice(0, mostListed), tree: trim(status.tree) };
}
