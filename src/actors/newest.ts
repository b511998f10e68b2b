import type { Delivery } from './delivery.ts';
import type { LatestOnly } from './mailbox-policy.ts';

/** Of a mailbox that keeps only the newest message, of all or of each topic: which that is, as long as it waits. */
export class Newest {
  readonly #byTopic: boolean;
  readonly #newest = new Map<string, Delivery>();
  /** Those that wait although their key is busy on their own account. */
  readonly #holders = new Set<Delivery>();

  constructor(latestOnly: Exclude<LatestOnly, false>) {
    this.#byTopic = latestOnly === 'topic';
  }

  /** The message that waits where one on this topic would stand. */
  of(topic: string): Delivery | undefined {
    return this.#newest.get(this.#place(topic));
  }

  /** A newer one waits. */
  set(delivery: Delivery): void {
    this.#newest.set(this.#place(delivery.message.topic), delivery);
  }

  /** It holds its key while it waits. */
  hold(delivery: Delivery): void {
    if (delivery.message.key !== undefined) this.#holders.add(delivery);
  }

  /** It waits no more. @returns whether it held its key. */
  leave(delivery: Delivery): boolean {
    const place = this.#place(delivery.message.topic);
    if (this.#newest.get(place) === delivery) this.#newest.delete(place);
    return this.#holders.delete(delivery);
  }

  clear(): void {
    this.#newest.clear();
    this.#holders.clear();
  }

  #place(topic: string): string {
    return this.#byTopic ? topic : '';
  }
}
