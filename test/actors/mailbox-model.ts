import type { LatestOnly, MailboxLimits } from '../../src/actors/mailbox-policy.ts';

/** A message in the model. */
export interface Item {
  readonly id: string;
  readonly sequence: number;
  readonly key: string | undefined;
  readonly topic: string;
  readonly size: number;
  /** 0 for never. */
  readonly expiresAt: number;
  readonly dueAt: number;
  arrivedAt: number;
}

interface Parked {
  readonly item: Item;
  readonly due: number;
  readonly fresh: boolean;
}

/** The memory mailbox in plain lists: what leaves is taken out at once, and every question is answered by looking. */
export class MailboxModel {
  now: number;
  /** What the policy dropped, as `id reason`. */
  readonly dropped: string[] = [];
  readonly #limits: MailboxLimits;
  readonly #latestOnly: LatestOnly;
  #arrived: Item[] = [];
  #first: Item[] = [];
  #parked: Parked[] = [];
  /** Who waits behind a key that is busy. */
  readonly #lanes = new Map<string, Item[]>();
  /** Which message of a place came last, if it waits. */
  readonly #newest = new Map<string, Item>();

  constructor(now: number, limits: MailboxLimits, latestOnly: LatestOnly) {
    this.now = now;
    this.#limits = limits;
    this.#latestOnly = latestOnly;
  }

  get #all(): Item[] {
    return [
      ...this.#arrived,
      ...this.#first,
      ...this.#parked.map(({ item }) => item),
      ...[...this.#lanes.values()].flat(),
    ];
  }

  get waiting(): number {
    return this.#all.length;
  }

  get bytes(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0);
  }

  offer(item: Item): 'accepted' | 'full' {
    const { overflow } = this.#limits;
    if (!this.#fits(item.size)) this.#purge();
    if (!this.#fits(item.size) && !this.#replaces(item)) {
      if (overflow === 'block' || overflow === 'reject') return 'full';
      if (overflow === 'drop-newest') {
        this.dropped.push(`${item.id} drop-newest`);
        return 'accepted';
      }
      while (!this.#fits(item.size)) this.#dropOldest();
    }
    item.arrivedAt = Math.max(this.now, item.dueAt);
    if (item.dueAt > this.now) this.#parked.push({ item, due: Math.min(item.dueAt, this.#end(item)), fresh: true });
    else {
      this.#supersede(item);
      this.#arrived.push(item);
    }
    return 'accepted';
  }

  take(): Item | undefined {
    for (;;) {
      const item = this.#first[0] ?? this.#nextArrived();
      if (item === undefined) return undefined;
      this.#remove(item);
      const reason = this.#expired(item);
      if (reason === undefined) return item;
      this.dropped.push(`${item.id} ${reason}`);
      this.settle(item);
    }
  }

  settle({ key }: Item): void {
    if (key === undefined) return;
    const next = this.#lanes.get(key)?.shift();
    if (next === undefined) this.#lanes.delete(key);
    else this.#first.push(next);
  }

  park(item: Item, delay: number): void {
    if (!this.#renew(item)) return;
    this.#parked.push({ item, due: Math.min(this.now + delay, this.#end(item)), fresh: false });
  }

  putBack(item: Item): void {
    if (this.#renew(item)) this.#first.unshift(item);
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (let next = this.#earliest(); next !== undefined && next.due <= end; next = this.#earliest()) {
      this.now = Math.max(this.now, next.due);
      this.#due(next);
    }
    this.now = end;
  }

  #due({ item, fresh }: Parked): void {
    const { key } = item;
    const reason = this.#expired(item);
    if (reason !== undefined) {
      this.#drop(item, reason);
      if (!fresh) this.settle(item);
      return;
    }
    this.#parked = this.#parked.filter((other) => other.item !== item);
    if (!fresh) this.#first.push(item);
    else {
      this.#supersede(item);
      if (key === undefined || this.#enter(item, key)) this.#first.push(item);
    }
  }

  #earliest(): Parked | undefined {
    return [...this.#parked].sort((a, b) => a.due - b.due || a.item.sequence - b.item.sequence)[0];
  }

  #nextArrived(): Item | undefined {
    for (let item = this.#arrived[0]; item !== undefined; item = this.#arrived[0]) {
      if (item.key === undefined || this.#enter(item, item.key)) return item;
      this.#arrived.shift();
    }
    return undefined;
  }

  /** @returns whether the key was free. */
  #enter(item: Item, key: string): boolean {
    const lane = this.#lanes.get(key);
    if (lane === undefined) this.#lanes.set(key, []);
    else lane.push(item);
    return lane === undefined;
  }

  #purge(): void {
    for (const [queue, holds] of [
      [() => this.#first, true],
      [() => this.#arrived, false],
    ] as const) {
      for (let item = queue()[0]; item !== undefined; item = queue()[0]) {
        const reason = this.#expired(item);
        if (reason === undefined) break;
        this.#drop(item, reason);
        if (holds) this.settle(item);
      }
    }
  }

  #dropOldest(): void {
    const lane = [...this.#lanes.values()].find(({ length }) => length > 0);
    const loose = this.#arrived[0] ?? lane?.[0];
    const holder = this.#first[0];
    const parked = this.#earliest();
    const victim = loose ?? holder ?? parked?.item;
    if (victim === undefined) throw new Error('nothing to drop');
    this.#drop(victim, this.#expired(victim) ?? 'drop-oldest');
    if (loose === undefined && (holder !== undefined || parked?.fresh === false)) this.settle(victim);
  }

  #supersede(item: Item): void {
    if (this.#latestOnly === false) return;
    const older = this.#newest.get(this.#place(item));
    if (older !== undefined) {
      const holds = this.#first.includes(older) || this.#parked.some((parked) => parked.item === older);
      this.#drop(older, 'superseded');
      if (holds) this.settle(older);
    }
    this.#newest.set(this.#place(item), item);
  }

  #renew(item: Item): boolean {
    if (this.#latestOnly === false) return true;
    if (this.#newest.has(this.#place(item))) {
      this.dropped.push(`${item.id} superseded`);
      this.settle(item);
      return false;
    }
    this.#newest.set(this.#place(item), item);
    return true;
  }

  #replaces(item: Item): boolean {
    const older = this.#latestOnly === false ? undefined : this.#newest.get(this.#place(item));
    if (older === undefined || item.dueAt > this.now) return false;
    const { messages, bytes } = this.#limits;
    const left = this.#all.filter((other) => other !== older);
    const sum = left.reduce((total, { size }) => total + size, 0);
    return left.length === 0 || (left.length < messages && sum + item.size <= bytes);
  }

  #fits(size: number): boolean {
    const { messages, bytes } = this.#limits;
    return this.waiting === 0 || (this.waiting < messages && this.bytes + size <= bytes);
  }

  #drop(item: Item, reason: string): void {
    this.#remove(item);
    this.dropped.push(`${item.id} ${reason}`);
  }

  /** It waits no more. */
  #remove(item: Item): void {
    const others = (other: Item): boolean => other !== item;
    this.#arrived = this.#arrived.filter(others);
    this.#first = this.#first.filter(others);
    this.#parked = this.#parked.filter((parked) => parked.item !== item);
    for (const [key, lane] of this.#lanes) if (lane.includes(item)) this.#lanes.set(key, lane.filter(others));
    if (this.#newest.get(this.#place(item)) === item) this.#newest.delete(this.#place(item));
  }

  #place({ topic }: Item): string {
    return this.#latestOnly === 'topic' ? topic : '';
  }

  #end({ expiresAt, arrivedAt }: Item): number {
    return Math.min(expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt, arrivedAt + this.#limits.age);
  }

  #expired(item: Item): 'expired' | 'age' | undefined {
    if (item.expiresAt !== 0 && item.expiresAt <= this.now) return 'expired';
    return item.arrivedAt + this.#limits.age <= this.now ? 'age' : undefined;
  }
}
