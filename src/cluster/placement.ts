import type { Capabilities, CapabilityValue, Condition, PlacementSpec } from '../wire/placement-entry.ts';

// Where an actor may run, and where it should: pure functions. Filter, then hard rules, then the least loaded; what runs
// stays where it is as long as it may.

/** A node as placing sees it. */
export interface Candidate {
  readonly node: string;
  readonly state: 'alive' | 'suspect';
  /** It is about to leave. */
  readonly leaving: boolean;
  /** Undefined until it has said what it can run. */
  readonly kinds: ReadonlySet<string> | undefined;
  readonly capabilities: Capabilities;
}

/** An instance that runs, or is to run. */
export interface Placed {
  readonly placement: string;
  readonly instance: number;
  readonly node: string;
}

/** The name of the capability that every node has: its own name. */
export const nodeCapability = 'node';

/** What stands in the way of running something on a node at all; undefined when nothing does. */
export function unfit(spec: PlacementSpec, candidate: Candidate): string | undefined {
  const { node, leaving, kinds } = candidate;
  if (spec.pinned !== undefined && !spec.pinned.includes(node)) return `it is pinned to ${spec.pinned.join(', ')}`;
  if (leaving) return 'it is about to leave';
  if (kinds === undefined) return 'it has not said yet what it can run';
  if (!kinds.has(spec.kind)) {
    const known = [...kinds].sort();
    const has = known.length === 0 ? 'it defines none' : `it defines ${known.slice(0, 20).join(', ')}`;
    return `it does not define the kind '${spec.kind}' (${has})`;
  }
  for (const [name, condition] of Object.entries(spec.where)) {
    const problem = unmet(name, condition, capabilityOf(candidate, name));
    if (problem !== undefined) return problem;
  }
  if (spec.spread !== undefined && capabilityOf(candidate, spec.spread) === undefined)
    return `it has no capability '${spec.spread}', by which the instances are spread`;
  return undefined;
}

/** Why a capability is not what it has to be. */
function unmet(name: string, condition: Condition, value: CapabilityValue | undefined): string | undefined {
  const is = value === undefined ? `it has no capability '${name}'` : `its '${name}' is ${show(value)}`;
  if (typeof condition !== 'object') return value === condition ? undefined : `${is}, wanted is ${show(condition)}`;
  const { gte, lte, in: choices, exists } = condition;
  if (exists !== undefined && exists !== (value !== undefined))
    return exists ? `${is}, wanted is any` : `${is}, wanted is none`;
  if (gte !== undefined && !(typeof value === 'number' && value >= gte)) return `${is}, wanted is at least ${gte}`;
  if (lte !== undefined && !(typeof value === 'number' && value <= lte)) return `${is}, wanted is at most ${lte}`;
  if (choices !== undefined && !(value !== undefined && choices.includes(value)))
    return `${is}, wanted is one of ${choices.map(show).join(', ')}`;
  return undefined;
}

function show(value: CapabilityValue): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}

function capabilityOf({ node, capabilities }: Candidate, name: string): CapabilityValue | undefined {
  if (name === nodeCapability) return node;
  return Object.hasOwn(capabilities, name) ? capabilities[name] : undefined;
}

/** What placing something has come to. */
export interface Placing {
  /** The nodes of the instances that were asked for, one after the other; fewer where no more fit. */
  readonly nodes: readonly string[];
  /** Why not on each node, when not all fit. */
  readonly reasons: ReadonlyMap<string, string>;
}

/**
 * Finds nodes for instances that have none.
 *
 * @param missing how many.
 * @param placed everything that runs or is to run anywhere, this placement's other instances included; to a load is added
 *   what has found a node.
 */
export function place(
  placement: string,
  spec: PlacementSpec,
  missing: number,
  placed: readonly Placed[] | Load,
  candidates: readonly Candidate[],
): Placing {
  const load = placed instanceof Load ? placed : new Load(placed);
  const nodes: string[] = [];
  while (nodes.length < missing) {
    let best: Candidate | undefined;
    for (const candidate of candidates) {
      if (obstacle(placement, spec, candidate, load, candidates) !== undefined) continue;
      if (best === undefined || load.compare(placement, candidate.node, best.node) < 0) best = candidate;
    }
    if (best === undefined) break;
    nodes.push(best.node);
    load.add(placement, best.node);
  }
  const reasons = new Map<string, string>();
  if (nodes.length < missing) {
    for (const candidate of candidates) {
      reasons.set(candidate.node, obstacle(placement, spec, candidate, load, candidates) ?? 'it would fit');
    }
  }
  return { nodes, reasons };
}

/** Why an instance cannot start on each node now; undefined where it can. */
export function explain(
  placement: string,
  spec: PlacementSpec,
  placed: readonly Placed[],
  candidates: readonly Candidate[],
): Map<string, string | undefined> {
  const load = new Load(placed);
  return new Map(candidates.map((each) => [each.node, obstacle(placement, spec, each, load, candidates)]));
}

/** What stands in the way of starting one more instance on a node. */
function obstacle(
  placement: string,
  spec: PlacementSpec,
  candidate: Candidate,
  load: Load,
  candidates: readonly Candidate[],
): string | undefined {
  const problem = unfit(spec, candidate);
  if (problem !== undefined) return problem;
  if (candidate.state !== 'alive') return 'it is suspect: it has not been heard for a while';
  const { spread } = spec;
  if (spread === undefined) return undefined;
  if (spread === nodeCapability) {
    return load.own(placement, candidate.node) > 0 ? 'it has an instance already (spread by node)' : undefined;
  }
  const value = capabilityOf(candidate, spread);
  const other = candidates.find((each) => capabilityOf(each, spread) === value && load.own(placement, each.node) > 0);
  if (other === undefined) return undefined;
  return `node '${other.node}', whose '${spread}' is ${show(value as CapabilityValue)} too, has an instance already`;
}

/** An instance that would be better off elsewhere. */
export interface Move extends Placed {
  readonly to: string;
}

/**
 * Finds what to move so that no node has two instances more than another one that could take one of them, first of each
 * placement and then in all. Moves as little as possible: each step takes one instance from the fullest node that has one to
 * spare to the emptiest that may have it, and none when that would make nothing better.
 */
export function rebalance(
  specs: ReadonlyMap<string, PlacementSpec>,
  placed: readonly Placed[],
  candidates: readonly Candidate[],
): Move[] {
  const now = placed.map((each) => ({ ...each, from: each.node }));
  const load = new Load(now);
  for (;;) {
    let best: { move: (typeof now)[number]; to: string; gain: readonly [number, number] } | undefined;
    for (const move of now) {
      const spec = specs.get(move.placement);
      if (spec === undefined) continue;
      load.remove(move.placement, move.node);
      for (const candidate of candidates) {
        if (candidate.node === move.node) continue;
        const gain = load.gain(move.placement, move.node, candidate.node);
        if (gain[0] < 0 || (gain[0] === 0 && gain[1] <= 0)) continue;
        if (best !== undefined && (gain[0] < best.gain[0] || (gain[0] === best.gain[0] && gain[1] <= best.gain[1])))
          continue;
        if (obstacle(move.placement, spec, candidate, load, candidates) !== undefined) continue;
        best = { move, to: candidate.node, gain };
      }
      load.add(move.placement, move.node);
    }
    if (best === undefined) break;
    load.remove(best.move.placement, best.move.node);
    load.add(best.move.placement, best.to);
    best.move.node = best.to;
  }
  return now
    .filter(({ node, from }) => node !== from)
    .map(({ placement, instance, from, node }) => ({ placement, instance, node: from, to: node }));
}

/** How many instances each node has: in all, and of each placement. */
export class Load {
  readonly #all = new Map<string, number>();
  readonly #own = new Map<string, Map<string, number>>();

  constructor(placed: readonly Placed[]) {
    for (const { placement, node } of placed) this.add(placement, node);
  }

  add(placement: string, node: string): void {
    this.#all.set(node, this.all(node) + 1);
    const own = this.#own.get(placement) ?? new Map<string, number>();
    this.#own.set(placement, own.set(node, (own.get(node) ?? 0) + 1));
  }

  remove(placement: string, node: string): void {
    this.#all.set(node, this.all(node) - 1);
    const own = this.#own.get(placement);
    own?.set(node, (own.get(node) ?? 0) - 1);
  }

  all(node: string): number {
    return this.#all.get(node) ?? 0;
  }

  own(placement: string, node: string): number {
    return this.#own.get(placement)?.get(node) ?? 0;
  }

  /** Negative when the first node is the better place: fewer of the same placement, fewer in all, the smaller name. */
  compare(placement: string, a: string, b: string): number {
    return this.own(placement, a) - this.own(placement, b) || this.all(a) - this.all(b) || (a < b ? -1 : 1);
  }

  /** How much fuller one node is than another for an instance that is on neither. */
  gain(placement: string, from: string, to: string): readonly [number, number] {
    return [this.own(placement, from) - this.own(placement, to), this.all(from) - this.all(to)];
  }
}
