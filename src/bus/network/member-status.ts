import type { Member } from '../../cluster/registry.ts';
import type { Link } from '../streams/link.ts';
import type { Role } from './role.ts';

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

/** All members as a node sees them, itself first. */
export function memberStatus(
  own: Pick<MemberStatus, 'node' | 'incarnation' | 'subscriptions'>,
  members: Iterable<Member>,
  role: Pick<Role, 'leaderNode' | 'path'>,
): MemberStatus[] {
  const leader = (node: string): boolean => node === role.leaderNode;
  const list: MemberStatus[] = [{ ...own, leader: leader(own.node), state: 'alive', reachable: true }];
  for (const { node, incarnation, state, subscriptions } of members) {
    if (node === own.node) continue;
    const reachable = role.path(node) !== undefined;
    list.push({ node, incarnation, leader: leader(node), state, reachable, subscriptions: subscriptions.size });
  }
  return list;
}

export function linkStatus({ node, session, streams }: Link): LinkStatus {
  return { node, remote: session.remote, sent: session.bytes.sent, received: session.bytes.received, streams };
}
