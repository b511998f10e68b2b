import type { LatestOnly } from './mailbox-policy.ts';
import type { Slot } from './slot.ts';

/** The newest message in memory of a mailbox that keeps only that, or of each topic. */
export class Latest {
  readonly #slots = new Map<string, Slot>();

  /** A message has come. @returns the one that it replaces. */
  replace(slot: Slot, only: LatestOnly): Slot | undefined {
    const place = placeOf(slot, only);
    const older = this.#slots.get(place);
    this.#slots.set(place, slot);
    return older === undefined || older.gone ? undefined : older;
  }

  /** A message has left. */
  left(slot: Slot, only: LatestOnly): void {
    const place = placeOf(slot, only);
    if (this.#slots.get(place) === slot) this.#slots.delete(place);
  }
}

function placeOf({ message }: Slot, only: LatestOnly): string {
  return only === true ? '' : message.topic;
}
