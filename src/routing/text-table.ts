import { type Member, Pool } from './pool.ts';

/** Which part of a topic a table goes by. */
export type Side = 'whole' | 'prefix' | 'suffix';

/** Members that share a text: those that it decides, and those for which a machine must look at the rest. */
interface Group<M extends Member> {
  readonly decided: Set<M>;
  readonly open: Pool<M>;
  count: number;
}

/** Members by a text that a topic must be, begin with or end with: a Map look-up for each length that occurs. */
export class TextTable<M extends Member> {
  readonly #side: Side;
  readonly #groups = new Map<string, Group<M>>();
  /** How many texts there are of each length, and those lengths in order. */
  readonly #counts = new Map<number, number>();
  #lengths: number[] = [];

  constructor(side: Side) {
    this.#side = side;
  }

  /** Files a member under a text; `decided` says that a topic with this text matches for certain. */
  add(text: string, member: M, decided: boolean): void {
    let group = this.#groups.get(text);
    if (group === undefined) {
      group = { decided: new Set(), open: new Pool(), count: 0 };
      this.#groups.set(text, group);
      this.#count(text.length, 1);
    }
    if (decided) group.decided.add(member);
    else group.open.add(member);
    group.count++;
  }

  /** Takes back what {@link add} did with the same arguments. */
  remove(text: string, member: M, decided: boolean): void {
    const group = this.#groups.get(text);
    if (group === undefined) return;
    if (decided) group.decided.delete(member);
    else group.open.remove(member);
    group.count--;
    if (group.count > 0) return;
    this.#groups.delete(text);
    this.#count(text.length, -1);
  }

  /** Calls `found` for each member whose pattern matches the topic, possibly more than once. */
  match(topic: string, found: (member: M) => void): void {
    if (this.#side === 'whole') {
      this.#visit(topic, topic, found);
      return;
    }
    const length = topic.length;
    for (const near of this.#lengths) {
      if (near > length) return;
      this.#visit(this.#side === 'prefix' ? topic.slice(0, near) : topic.slice(length - near), topic, found);
    }
  }

  #visit(text: string, topic: string, found: (member: M) => void): void {
    const group = this.#groups.get(text);
    if (group === undefined) return;
    for (const member of group.decided) found(member);
    group.open.match(topic, found);
  }

  #count(length: number, change: number): void {
    const count = (this.#counts.get(length) ?? 0) + change;
    if (count === 0) this.#counts.delete(length);
    else this.#counts.set(length, count);
    if (count === 0 || (count === 1 && change === 1)) this.#lengths = [...this.#counts.keys()].sort((a, b) => a - b);
  }
}
