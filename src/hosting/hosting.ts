import { keyOf } from '../cluster/assignments.ts';
import type { Assignment, PlacementEntry } from '../wire/placement-entry.ts';
import { Instance, type InstanceHost } from './instance.ts';
import type { Kinds } from './kinds.ts';

/** What hosting needs of its node. */
export interface HostingHost extends InstanceHost {
  /** What is known of a placement. */
  entry(name: string): PlacementEntry | undefined;
  readonly incarnation: string;
  readonly kinds: Kinds;
}

/** How long a handler that runs may take when its instance is moved or stopped, in milliseconds. */
const grace = 30_000;

/** The instances that run on a node: those that the table of placements gives to it, no others. */
export class Hosting {
  readonly #host: HostingHost;
  /** By placement; those that stop included. */
  readonly #instances = new Map<string, Set<Instance>>();
  /** The generations that have ended here although they were not taken away, by instance: they do not start again. */
  readonly #ended = new Map<string, number>();
  #closed = false;

  constructor(host: HostingHost) {
    this.#host = host;
  }

  /** Those that run here, start or stop. */
  *[Symbol.iterator](): Generator<Instance> {
    for (const instances of this.#instances.values()) yield* instances;
  }

  get empty(): boolean {
    return this.#instances.size === 0;
  }

  /** A placement is new, or another one, or removed. */
  apply(entry: PlacementEntry): void {
    for (const running of this.#instances.get(entry.name) ?? []) {
      if (running.id === entry.id && this.#given(entry, running)) running.update(entry);
      else if (!running.stopping) void this.#end(running, grace);
    }
    for (let instance = 0; instance < entry.spec.instances; instance++) {
      const generation = this.#ended.get(keyOf(entry.id, instance));
      if (!this.#own(entry).some((each) => each.generation === generation))
        this.#ended.delete(keyOf(entry.id, instance));
    }
    for (const assignment of this.#own(entry)) this.#take(entry, assignment);
  }

  /** The leader has been away for so long that it may give singletons to others: they end here. */
  yield(): void {
    for (const running of this) {
      if (!running.singleton || running.failover !== 'auto' || running.stopping) continue;
      running.kill();
      void this.#end(running, 0);
    }
  }

  /** Takes no more. @returns whether there are some. */
  refuse(): boolean {
    this.#closed = true;
    return this.#instances.size > 0;
  }

  /** Ends everything. */
  async close(timeout: number): Promise<void> {
    this.#closed = true;
    await Promise.all([...this].map((running) => this.#end(running, timeout)));
  }

  #own({ assigned }: PlacementEntry): Assignment[] {
    const { node, incarnation } = this.#host;
    return assigned.filter((each) => each.node === node && each.incarnation === incarnation);
  }

  /** Whether an instance is to run here. */
  #given(entry: PlacementEntry, { instance, generation }: Instance): boolean {
    return (
      !entry.removed &&
      this.#own(entry).some(
        (each) => each.instance === instance && each.generation === generation && each.state !== 'stopping',
      )
    );
  }

  #take(entry: PlacementEntry, { instance, generation, state }: Assignment): void {
    const key = keyOf(entry.id, instance);
    const present = [...(this.#instances.get(entry.name) ?? [])].filter((each) => each.instance === instance);
    if (present.some((each) => each.id === entry.id && each.generation === generation)) return;
    if (entry.removed || state === 'stopping' || this.#ended.get(key) === generation || this.#closed) {
      // It does not run here, and will not.
      if (present.length === 0)
        this.#host.report({ id: entry.id, instance, generation, state: 'stopped', settings: 0 });
      return;
    }
    const kind = this.#host.kinds.get(entry.spec.kind);
    const made = new Instance(this.#host, entry, { instance, generation }, kind);
    const all = this.#instances.get(entry.name) ?? new Set<Instance>();
    this.#instances.set(entry.name, all.add(made));
    // One of an earlier generation may still be stopping: never two of one at a time.
    void Promise.all(present.map((each) => this.#end(each, grace))).then(() => made.start());
  }

  async #end(running: Instance, timeout: number): Promise<void> {
    await running.stop(timeout);
    const { id, placement, instance, generation } = running;
    const all = this.#instances.get(placement);
    if (all?.delete(running) !== true) return; // somebody else has waited for it, too
    if (all.size === 0) this.#instances.delete(placement);
    const entry = this.#host.entry(placement);
    if (entry?.id !== id || !this.#own(entry).some((each) => each.generation === generation)) {
      return; // it was taken away already: nobody waits to hear of it
    }
    this.#ended.set(keyOf(id, instance), generation);
    this.#host.report({ ...running.report, state: 'stopped' });
  }
}
