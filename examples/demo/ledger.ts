// The demo's bookkeeping: what was published, what each consumer handled, what the receipts said; and whether it adds up.
import type { Report } from './report.ts';

/** A consumer and what it subscribes to. */
export interface Consumer {
  readonly name: string;
  readonly pattern: string;
}

/** A stretch of the demo: the messages `from` to `to`. */
export interface Phase {
  readonly title: string;
  readonly from: number;
  readonly to: number;
}

/** What became of one consumer's messages in one phase. */
export interface Tally {
  /** How many messages matched its pattern. */
  matched: number;
  handled: number;
  /** Not handled, and the receipt said so: "unreachable". */
  named: number;
  /** Accepted by a process that was killed before it handled them: a mailbox in memory dies with its process. */
  died: number;
}

/** Keeps count of every message by its number. */
export class Ledger {
  readonly receipts = new Map<number, Report & { type: 'receipt' }>();
  readonly handled = new Map<string, number[]>();
  readonly events: { by: string; event: string; node: string }[] = [];
  /** How many messages the producer has sent; not all of them have their receipt yet. */
  sent = 0;

  hear(who: string, report: Report): void {
    if (report.type === 'receipt') this.receipts.set(report.n, report);
    else if (report.type === 'handled') this.handled.set(who, [...(this.handled.get(who) ?? []), report.n]);
    else if (report.type === 'sent') this.sent = report.to;
    else if (report.type === 'event') this.events.push({ by: who, event: report.event, node: report.node });
  }

  /** How many of the messages up to `to` a consumer has still to handle, as far as their receipts say. */
  owed({ name, pattern }: Consumer, { from, to }: Phase): number {
    const handled = new Set(this.handled.get(name));
    return this.#published(pattern, from, to).filter((n) => !handled.has(n) && !this.#named(name, n)).length;
  }

  tally({ name, pattern }: Consumer, { from, to }: Phase): Tally {
    const handled = new Set(this.handled.get(name));
    const tally: Tally = { matched: 0, handled: 0, named: 0, died: 0 };
    for (const n of this.#published(pattern, from, to)) {
      tally.matched++;
      if (handled.has(n)) tally.handled++;
      else if (this.#named(name, n)) tally.named++;
      else tally.died++;
    }
    return tally;
  }

  /** Whether `by` suspected a node and saw it join after that. */
  sawReturn(node: string, by: string): boolean {
    const seen = this.events.filter((event) => event.by === by && event.node === node).map(({ event }) => event);
    return seen.lastIndexOf('node.joined') > seen.indexOf('node.suspect') && seen.includes('node.suspect');
  }

  /** How often `by` has told of such an event. */
  seen(event: string, node: string, by: string): number {
    return this.events.filter((seen) => seen.event === event && seen.node === node && seen.by === by).length;
  }

  /** What does not add up for a consumer. @param killed in which phase it was killed, if it was. */
  problems(consumer: Consumer, phases: readonly Phase[], killed: Phase | undefined): string[] {
    const { name } = consumer;
    const problems: string[] = [];
    const handled = this.handled.get(name) ?? [];
    if (new Set(handled).size < handled.length) problems.push(`${name} handled a message twice`);
    if (handled.some((n, i) => n < (handled[i - 1] ?? 0))) problems.push(`${name} handled messages out of order`);
    for (const phase of phases) {
      const { matched, handled: done, named, died } = this.tally(consumer, phase);
      if (matched === 0) problems.push(`nothing matched ${name} ${phase.title}`);
      if (phase !== killed && done < matched) problems.push(`${name} missed ${matched - done} ${phase.title}`);
      if (phase !== killed) continue;
      if (done === 0 || named === 0) problems.push(`${name} was not killed midway: ${done} handled, ${named} named`);
      if (died > 0 && !this.#diedFirst(consumer, phase)) problems.push(`${name} lost messages that nobody named`);
    }
    return problems;
  }

  /** What died in the killed process was accepted before: no message that it was sent later may be unnamed. */
  #diedFirst({ name, pattern }: Consumer, { from, to }: Phase): boolean {
    const handled = new Set(this.handled.get(name));
    const missing = this.#published(pattern, from, to).filter((n) => !handled.has(n));
    const firstNamed = missing.findIndex((n) => this.#named(name, n));
    return firstNamed >= 0 && missing.slice(firstNamed).every((n) => this.#named(name, n));
  }

  #named(name: string, n: number): boolean {
    return this.receipts.get(n)?.unreachable.includes(`${name}/handler`) === true;
  }

  #published(pattern: string, from: number, to: number): number[] {
    const matches = new RegExp(`^(?:${pattern})$`);
    const numbers = [...this.receipts.values()].filter(({ n, topic }) => n >= from && n <= to && matches.test(topic));
    return numbers.map(({ n }) => n).sort((a, b) => a - b);
  }
}
