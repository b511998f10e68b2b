import type { SubscriptionEntry } from '../wire/frame.ts';

/** What one node has registered of its own. It alone writes this; others hold copies. */
export class Part {
  readonly #entries = new Map<string, SubscriptionEntry>();
  #version = 0;

  /** Counts its changes, those of its durable subscriptions included. */
  get version(): number {
    return this.#version;
  }

  get entries(): SubscriptionEntry[] {
    return [...this.#entries.values()];
  }

  change(add: readonly SubscriptionEntry[], remove: readonly string[]): number {
    for (const id of remove) this.#entries.delete(id);
    for (const entry of add) this.#entries.set(entry.id, entry);
    return ++this.#version;
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
