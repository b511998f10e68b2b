/** What stands in a lane. */
export interface LaneItem<T> {
  readonly message: { readonly key: string | undefined; readonly size: number };
  /** The next one that waits for the same key. */
  next: T | undefined;
}

interface Lane<T> {
  head: T | undefined;
  tail: T | undefined;
}

/** How far a mailbox looks past messages whose key is busy. */
const lookAhead = { messages: 10_000, bytes: 8 * 1024 * 1024 };

/** The keys of which a message is out (running, or waiting for its retry), and the messages that wait behind those. */
export class Lanes<T extends LaneItem<T>> {
  readonly #lanes = new Map<string, Lane<T>>();
  #held = 0;
  #heldBytes = 0;

  /** How many messages wait behind their key. */
  get held(): number {
    return this.#held;
  }

  /** Whether so many wait behind their keys that no more are looked at. */
  get full(): boolean {
    return this.#held >= lookAhead.messages || this.#heldBytes >= lookAhead.bytes;
  }

  /** Takes the lane of a message's key. @returns false when it is busy: the message waits in it now. */
  enter(item: T, key: string): boolean {
    const lane = this.#lanes.get(key);
    if (lane === undefined) {
      this.#lanes.set(key, { head: undefined, tail: undefined });
      return true;
    }
    if (lane.tail === undefined) lane.head = item;
    else lane.tail.next = item;
    lane.tail = item;
    this.#held++;
    this.#heldBytes += item.message.size;
    return false;
  }

  /** Takes the lane of a key. @returns false when it is busy. */
  take(key: string): boolean {
    if (this.#lanes.has(key)) return false;
    this.#lanes.set(key, { head: undefined, tail: undefined });
    return true;
  }

  /** A key is free. @returns the next message of it, for which it is busy again. */
  leave(key: string): T | undefined {
    const lane = this.#lanes.get(key);
    if (lane === undefined) return undefined;
    const next = lane.head;
    if (next === undefined) {
      this.#lanes.delete(key);
      return undefined;
    }
    return this.#shift(lane, next);
  }

  /** Takes out a message that waits behind its key. */
  dropHeld(): T | undefined {
    if (this.#held === 0) return undefined;
    for (const lane of this.#lanes.values()) if (lane.head !== undefined) return this.#shift(lane, lane.head);
    return undefined;
  }

  /** Takes out those that wait behind their keys and that `unwanted` names. @returns them. */
  sift(unwanted: (item: T) => boolean): T[] {
    const out: T[] = [];
    if (this.#held === 0) return out;
    for (const lane of this.#lanes.values()) {
      const items = [...chain(lane.head)];
      if (!items.some(unwanted)) continue;
      lane.head = lane.tail = undefined;
      for (const item of items) {
        item.next = undefined;
        this.#held--;
        this.#heldBytes -= item.message.size;
        if (unwanted(item)) {
          out.push(item);
          continue;
        }
        this.#held++;
        this.#heldBytes += item.message.size;
        if (lane.tail === undefined) lane.head = item;
        else lane.tail.next = item;
        lane.tail = item;
      }
    }
    return out;
  }

  /** Everything that waits. */
  *[Symbol.iterator](): Generator<T> {
    for (const lane of this.#lanes.values()) yield* chain(lane.head);
  }

  clear(): void {
    this.#lanes.clear();
    this.#held = this.#heldBytes = 0;
  }

  #shift(lane: Lane<T>, head: T): T {
    lane.head = head.next;
    if (lane.head === undefined) lane.tail = undefined;
    head.next = undefined;
    this.#held--;
    this.#heldBytes -= head.message.size;
    return head;
  }
}

function* chain<T extends LaneItem<T>>(head: T | undefined): Generator<T> {
  for (let item = head; item !== undefined; item = item.next) yield item;
}
