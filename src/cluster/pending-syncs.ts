/** A change of some member's part that its writer waits for. */
export interface PendingSync {
  readonly node: string;
  readonly part: number;
  /** The registry version that holds it. */
  readonly version: number;
}

/**
 * Changes that writers wait for, in order, and who has still to confirm the first of them: looked up with each confirmation,
 * since all members confirm every change.
 */
export class PendingSyncs {
  readonly #followers: ReadonlyMap<string, { readonly applied: number }>;
  readonly #done: (sync: PendingSync) => void;
  readonly #pending: PendingSync[] = [];
  readonly #late = new Set<string>();

  /** @param followers who has to confirm, and up to which version each has. */
  constructor(followers: ReadonlyMap<string, { readonly applied: number }>, done: (sync: PendingSync) => void) {
    this.#followers = followers;
    this.#done = done;
  }

  add(sync: PendingSync): void {
    this.#pending.push(sync);
    if (this.#pending.length === 1) this.#begin(sync);
    this.#settle();
  }

  /** A member has come, or has come anew: it has confirmed nothing. */
  came(node: string): void {
    const [first] = this.#pending;
    if (first !== undefined && node !== first.node) this.#late.add(node);
  }

  /** A member has confirmed everything up to a version. */
  applied(node: string, version: number): void {
    const [first] = this.#pending;
    if (first === undefined || version < first.version) return;
    this.#late.delete(node);
    this.#settle();
  }

  /** Nobody waits for a member any more. */
  gone(node: string): void {
    this.#late.delete(node);
    this.#settle();
  }

  #begin({ node, version }: PendingSync): void {
    for (const [other, { applied }] of this.#followers) {
      if (other !== node && applied < version) this.#late.add(other);
    }
  }

  #settle(): void {
    while (this.#late.size === 0) {
      const first = this.#pending.shift();
      if (first === undefined) return;
      const [next] = this.#pending;
      if (next !== undefined) this.#begin(next);
      this.#done(first);
    }
  }
}
