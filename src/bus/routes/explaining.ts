import type { Member } from '../../cluster/registry.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import type { Route } from './route.ts';

/** One of the ways that a message on a topic would take. */
export interface ExplainedRoute {
  /** Its name; of a durable one `<service>/<name>`. */
  subscription: string;
  /** Where its mailbox is: the home of a durable one. */
  node: string;
  pattern: string;
  /** Of those that have one group and one pattern, one gets each message. */
  group?: string;
  /** Whether its mailbox is kept on the disk of its home. */
  durable: boolean;
  /** Whether this node can reach it now. */
  reachable: boolean;
  /** Why not; left out when it can be reached. */
  why?: string;
  retry: RetryPolicy;
}

/** Where a topic would go. */
export interface Explanation {
  topic: string;
  /** In the order in which a message is handed to them. */
  routes: ExplainedRoute[];
}

/** What the explanation needs of a node that is in a cluster. */
export interface ExplainingNetwork {
  /** The leader as far as it is known, and whether there is a link to it. */
  readonly leader: { readonly node: string; readonly linked: boolean } | undefined;
  readonly registry: { get(node: string): Member | undefined };
}

/** Says of each route of a topic where it leads, and what stands in the way. */
export function explained(
  topic: string,
  routes: readonly Route[],
  network: ExplainingNetwork | undefined,
): Explanation {
  return {
    topic,
    routes: routes
      .flatMap((route) => route.members ?? [route])
      .map(({ subscription, node, pattern, group, durable, reachable, retry }) => ({
        subscription,
        node,
        pattern: pattern.text,
        ...(group !== undefined && { group }),
        durable: durable !== undefined,
        reachable,
        ...(reachable ? {} : { why: obstacle(node, network) }),
        retry: { ...retry },
      })),
  };
}

function obstacle(node: string, network: ExplainingNetwork | undefined): string {
  const member = network?.registry.get(node);
  if (member === undefined)
    return `node '${node}' is not in the cluster: it has left, is down, or has not come back yet`;
  if (member.state === 'suspect') return `node '${node}' is suspect: its link is broken, or it is silent`;
  const { leader } = network ?? {};
  if (leader?.linked === false) return `this node has no link to its leader '${leader.node}'`;
  return `there is no link to node '${node}' now`;
}
