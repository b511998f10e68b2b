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
