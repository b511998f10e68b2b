/** Somebody who waits for room in a mailbox. */
export interface RoomWaiter {
  /** How many bytes it needs. It must not change. */
  readonly size: number;
  /** It waits on another node: worth telling only when a quarter of the mailbox is free, not for a single place. */
  readonly distant: boolean;
  /** Takes the room. Either this or `closed` is called, once. */
  admit(): void;
  /** There will be no room any more. */
  closed(): void;
}

/** What the waiters need of the mailbox. */
export interface RoomHost {
  readonly limits: { readonly messages: number; readonly bytes: number };
  /** Whether a quarter of it is free. */
  readonly roomy: boolean;
  fits(size: number): boolean;
}

/** Those who wait for room, in order; a Set, because those whose time is up leave from the middle. */
export class RoomQueue {
  readonly #host: RoomHost;
  /** Undefined when nobody waits: every publish asks. */
  #waiters: Set<RoomWaiter> | undefined;
  #bytes = 0;

  constructor(host: RoomHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#waiters === undefined ? 0 : this.#waiters.size;
  }

  /**
   * Lets somebody wait for room, behind those who wait already.
   *
   * @returns false when so many wait that they would fill the mailbox once more.
   */
  wait(waiter: RoomWaiter): boolean {
    const { messages, bytes } = this.#host.limits;
    const { size } = this;
    const many = size >= messages || (size > 0 && this.#bytes + waiter.size > bytes);
    if (many && !waiter.distant) return false;
    this.#bytes += waiter.size;
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
    return true;
  }

  /** Somebody waits no longer. */
  stopWaiting(waiter: RoomWaiter): void {
    if (!this.#remove(waiter)) return;
    if (this.#waiters !== undefined) this.admit();
  }

  /** There may be room for the first of them. */
  admit(): void {
    // The last of a set takes it along; somebody who is admitted may have somebody else wait.
    while (this.#waiters !== undefined) {
      for (const waiter of this.#waiters) {
        if (waiter.distant ? !this.#host.roomy : !this.#host.fits(waiter.size)) return;
        this.#remove(waiter);
        waiter.admit();
      }
    }
  }

  close(): void {
    const waiters = this.#waiters;
    this.#waiters = undefined;
    this.#bytes = 0;
    if (waiters !== undefined) for (const waiter of waiters) waiter.closed();
  }

  #remove(waiter: RoomWaiter): boolean {
    if (this.#waiters?.delete(waiter) !== true) return false;
    this.#bytes -= waiter.size;
    if (this.#waiters.size === 0) this.#waiters = undefined;
    return true;
  }
}
