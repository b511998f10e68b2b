import { outboxWindow } from './outbox.ts';

/** What was refused of one stream, and why: told again over a new link, as long as the publisher may not have heard of it. */
export class RefusedNumbers {
  readonly #reasons = new Map<number, number>();

  /** @param reason a place in `refusals`. */
  add(number: number, reason: number): void {
    for (const old of this.#reasons.keys()) {
      if (old > number - outboxWindow.messages) break; // a publisher's window holds no more: it has heard of the rest
      this.#reasons.delete(old);
    }
    this.#reasons.set(number, reason);
  }

  /** Those from a number on; the publisher has heard of the others. */
  *from(first: number): Generator<[number: number, reason: number]> {
    for (const [number, reason] of this.#reasons) {
      if (number < first) this.#reasons.delete(number);
      else yield [number, reason];
    }
  }
}
