import type { PartChange, SubscriptionEntry } from '../wire/frame.ts';
import type { About, InstanceReport, PlacementEntry } from '../wire/placement-entry.ts';
import { keyOf } from './assignments.ts';

/** What one node has registered of its own. It alone writes this; others hold copies. */
export class Part {
  readonly #entries = new Map<string, SubscriptionEntry>();
  readonly #instances = new Map<string, InstanceReport>();
  #about: About | undefined;
  #version = 0;

  /** Counts its changes, those of its durable subscriptions included. */
  get version(): number {
    return this.#version;
  }

  get entries(): SubscriptionEntry[] {
    return [...this.#entries.values()];
  }

  get about(): About | undefined {
    return this.#about;
  }

  /** What has become of the instances that were given to this node. */
  get instances(): InstanceReport[] {
    return [...this.#instances.values()];
  }

  /** Everything, as one change. */
  get whole(): PartChange {
    const about = this.#about;
    return { add: this.entries, remove: [], durables: [], ...(about && { about }), instances: this.instances };
  }

  change({ add, remove, about, instances = [] }: PartChange): number {
    for (const id of remove) this.#entries.delete(id);
    for (const entry of add) this.#entries.set(entry.id, entry);
    for (const report of instances) this.#instances.set(keyOf(report.id, report.instance), report);
    if (about !== undefined) this.#about = about;
    return ++this.#version;
  }

  /** A placement is another one: nobody needs to hear any more of what is not given to this life of the node. */
  settle({ id, spec, assigned }: PlacementEntry, node: string, incarnation: string): void {
    for (let instance = 0; instance < spec.instances; instance++) {
      const report = this.#instances.get(keyOf(id, instance));
      if (report === undefined) continue;
      const given = assigned.some(
        (each) => each.generation === report.generation && each.node === node && each.incarnation === incarnation,
      );
      if (!given) this.#instances.delete(keyOf(id, instance));
    }
  }
}

/** Lets callers wait until the cluster has applied a version of this node's part. */
export class SyncWaiters {
  readonly #waiting: { version: number; done: () => void }[] = [];

  wait(version: number): Promise<void> {
    return new Promise((done) => this.#waiting.push({ version, done }));
  }

  /** Everything up to `version` has been applied everywhere. */
  reached(version: number): void {
    while (this.#waiting.length > 0 && (this.#waiting[0] as { version: number }).version <= version) {
      this.#waiting.shift()?.done();
    }
  }
}
