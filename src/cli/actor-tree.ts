import type { PlacementInfo } from '../bus/placement/placement.ts';
import { instancesOf, missingOf, type NodeFacts, type PlacedInstance, shortened, stateOf } from './placed.ts';

/** A node with what runs on it: as lines, and for a program. */
export interface Branch {
  readonly title: string;
  readonly lines: readonly string[];
  readonly facts: object;
}

/** A placement of which some instances have no node. */
export interface WaitingPlacement {
  readonly placement: string;
  readonly kind: string;
  readonly missing: number;
}

/** From nodes over placements to instances. A node that is down and whose instances have not moved yet is among them. */
export function actorTree(
  nodes: readonly NodeFacts[],
  placements: readonly PlacementInfo[],
): { branches: Branch[]; waiting: WaitingPlacement[] } {
  const instances = instancesOf(placements);
  const kinds = new Map(placements.map(({ name, kind }) => [name, kind]));
  const known = new Set(nodes.map(({ node }) => node));
  const away = [...new Set(instances.map(({ node }) => node))].filter((node) => !known.has(node)).sort();
  const all = [
    ...nodes.map((facts) => ({ node: facts.node, state: stateOf(facts), leader: facts.leader })),
    ...away.map((node) => ({ node, state: 'away', leader: false })),
  ];
  const branches = all.map((head) => branchOf(head, instances, kinds));
  const waiting = placements
    .map((placement) => ({ placement: placement.name, kind: placement.kind, missing: missingOf(placement) }))
    .filter(({ missing }) => missing > 0);
  return { branches, waiting };
}

function branchOf(
  head: { node: string; state: string; leader: boolean },
  instances: readonly PlacedInstance[],
  kinds: ReadonlyMap<string, string>,
): Branch {
  const { node, state, leader } = head;
  const groups = new Map<string, PlacedInstance[]>();
  for (const each of instances) {
    if (each.node === node) groups.set(each.placement, [...(groups.get(each.placement) ?? []), each]);
  }
  const lines: string[] = [];
  const placements = [...groups].map(([placement, list]) => ({ placement, kind: kinds.get(placement) ?? '', list }));
  for (const [i, { placement, kind, list }] of placements.entries()) {
    const isLast = i === placements.length - 1;
    lines.push(`${isLast ? '└─' : '├─'} ${placement} (${kind})`);
    for (const [j, { instance, state: its, generation, error }] of list.entries()) {
      const why = error === undefined ? '' : `: ${shortened(error)}`;
      const twig = j === list.length - 1 ? '└─' : '├─';
      lines.push(`${isLast ? '  ' : '│ '} ${twig} ${instance} ${its}, generation ${generation}${why}`);
    }
  }
  const facts = {
    ...head,
    placements: placements.map(({ placement, kind, list }) => ({
      placement,
      kind,
      instances: list.map(({ placement: _, node: __, ...rest }) => rest),
    })),
  };
  return { title: `${node} (${leader ? 'leader, ' : ''}${state})`, lines, facts };
}
