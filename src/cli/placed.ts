import type { Bus } from '../bus/bus.ts';
import type { InstanceInfo, NodeInfo, PlacementInfo } from '../bus/placement/placement.ts';
import type { Capabilities } from '../wire/placement-entry.ts';
import { plain } from './rendering.ts';

/** An instance, and of which placement it is. */
export interface PlacedInstance extends InstanceInfo {
  readonly placement: string;
}

/** A node as the commands show it. */
export interface NodeFacts extends NodeInfo {
  readonly leader: boolean;
  readonly instances: readonly PlacedInstance[];
  readonly subscriptions: number;
}

/** Every node but this one, which is here only to ask; the leader first. */
export async function nodesOf(bus: Bus): Promise<NodeFacts[]> {
  const nodes = await bus.placements.nodes();
  const { members } = await bus.status();
  const instances = instancesOf(bus.placements.list());
  return nodes
    .filter(({ node }) => node !== bus.node)
    .map((info) => {
      const member = members.find(({ node }) => node === info.node);
      return {
        ...info,
        leader: member?.leader === true,
        subscriptions: member?.subscriptions ?? 0,
        instances: instances.filter(({ node }) => node === info.node),
      };
    })
    .sort((a, b) => Number(b.leader) - Number(a.leader) || a.node.localeCompare(b.node));
}

/** The instances of all placements. */
export function instancesOf(placements: readonly PlacementInfo[]): PlacedInstance[] {
  return placements.flatMap(({ name: placement, instances }) =>
    instances.map((instance) => ({ placement, ...instance })),
  );
}

/** How many instances of a placement have no node. */
export function missingOf({ wanted, instances }: PlacementInfo): number {
  return Math.max(0, wanted - instances.length);
}

/** Alive or suspect, and whether it is about to leave. */
export function stateOf({ state, leaving }: Pick<NodeInfo, 'state' | 'leaving'>): string {
  return leaving ? `${state}, leaving` : state;
}

/** Capabilities as `run --capabilities` takes them: text that looks like another value in quotes. */
export function capabilityText(capabilities: Capabilities): string {
  return Object.entries(capabilities)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, value]) =>
        `${name}=${typeof value === 'string' && readsAsOther(value) ? JSON.stringify(value) : plain(value)}`,
    )
    .join(',');
}

function readsAsOther(text: string): boolean {
  return text === '' || text === 'true' || text === 'false' || text.startsWith('"') || !Number.isNaN(Number(text));
}

/** Where the instances of a placement are, as `<node>:<state>`. */
export function whereabouts(placement: PlacementInfo): string {
  const parts = placement.instances.map(({ node, state, error }) => {
    return `${node}:${state}${error === undefined ? '' : ` (${shortened(error)})`}`;
  });
  const missing = missingOf(placement);
  if (missing > 0) parts.push(`${missing} waiting`);
  return parts.join(', ');
}

/** Another node's text: it may be long, and must not steer the terminal. */
export function shortened(text: string, longest = 60): string {
  const clean = plain(text);
  return clean.length > longest ? `${clean.slice(0, longest - 1)}…` : clean;
}
