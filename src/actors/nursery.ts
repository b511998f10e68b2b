import { type ActorRef, type Behaviour, internal, maxChildren, type Place, type Runtime } from './runtime.ts';
import type { Part, PartSpec, Supervisor } from './supervisor.ts';

/** What a nursery is made over. */
export interface NurseryOptions {
  readonly supervisor: Supervisor;
  /** The supervisor's. */
  readonly runtime: Runtime;
  /** The part whose children it keeps: one without turns, and without other children. */
  readonly group: Part;
}

/** The branches below the group's actor: two levels, so 64 × 64 × 64 = 262,144 children. */
const branchLevels = 2;

/**
 * Very many children below one part, although no actor may have more than 64: their actors hang on a tree of branches,
 * made on demand and stopped when empty. The supervisor knows nothing of the branches: the children are the group's
 * own, in paths, in `status()`, and when it is stopped.
 */
export class Nursery {
  readonly #supervisor: Supervisor;
  readonly #runtime: Runtime;
  readonly #group: Part;
  readonly #root = new Branch(branchLevels, undefined, undefined);
  /** Numbers the branches; never used again, so that a name says which one it was. */
  #serial = 0;

  constructor({ supervisor, runtime, group }: NurseryOptions) {
    this.#supervisor = supervisor;
    this.#runtime = runtime;
    this.#group = group;
  }

  /** How many children there are, those that start or stop included. */
  get size(): number {
    return this.#group.size;
  }

  get(name: string): Part | undefined {
    return this.#group.children.get(name);
  }

  /** Adds a child to the group, as `Supervisor.add` does. Its place is free again when it was stopped. */
  add(spec: PartSpec): Promise<Part> {
    return this.#supervisor.add(spec, this.#group, () => this.#takePlace());
  }

  #takePlace(): Place {
    let branch = this.#root;
    while (branch.level > 0) branch = branch.firstOpen ?? this.#grow(branch);
    branch.count++;
    branch.mark();
    return { under: this.#actorOf(branch), release: () => this.#release(branch) };
  }

  #grow(branch: Branch): Branch {
    if (branch.count >= maxChildren) {
      throw internal(`'${this.#group.path}' has ${this.size} children and no place for more`);
    }
    const ref = this.#runtime.spawn(this.#actorOf(branch), `branch-${++this.#serial}`, inert);
    const child = new Branch(branch.level - 1, branch, ref);
    branch.count++;
    branch.open.add(child);
    return child;
  }

  /** The group's actor is another one after a restart, which can happen only while there are no branches. */
  #actorOf(branch: Branch): ActorRef {
    return branch.ref ?? this.#group.ref;
  }

  /** Frees a place, and stops the branches that are empty then. All books are kept before anything is awaited. */
  async #release(from: Branch): Promise<void> {
    const stops: Promise<void>[] = [];
    let branch: Branch = from;
    branch.count--;
    while (branch.count === 0 && branch.parent !== undefined && branch.ref !== undefined) {
      stops.push(this.#runtime.stop(branch.ref));
      branch.parent.open.delete(branch);
      branch = branch.parent;
      branch.count--;
    }
    branch.mark();
    await Promise.all(stops);
  }
}

/** An actor that only holds others: branches, or at level 0 the children themselves. */
class Branch {
  readonly level: number;
  readonly parent: Branch | undefined;
  /** Its actor; the root's is that of the group. */
  readonly ref: ActorRef | undefined;
  /** How many it holds. */
  count = 0;
  /** The branches in it that have room, so that finding a place costs one step a level. */
  readonly open = new Set<Branch>();

  constructor(level: number, parent: Branch | undefined, ref: ActorRef | undefined) {
    this.level = level;
    this.parent = parent;
    this.ref = ref;
  }

  get firstOpen(): Branch | undefined {
    const [first] = this.open;
    return first;
  }

  /** Tells those above whether there is room in this one. */
  mark(): void {
    if (this.parent === undefined) return;
    if (this.count < maxChildren || this.open.size > 0) this.parent.open.add(this);
    else this.parent.open.delete(this);
    this.parent.mark();
  }
}

const inert: Behaviour = { turn: () => {}, fault: () => {} };
