import type { PlacementEntry } from '../wire/placement-entry.ts';

/** Told when some instances have no node, or others than before, or for other reasons. */
export type PendingListener = (entry: PlacementEntry, missing: number, reasons: ReadonlyMap<string, string>) => void;

/** Tells each thing once. */
export class PendingNotes {
  readonly #told = new Map<string, string>();
  readonly #listener: PendingListener;

  constructor(listener: PendingListener) {
    this.#listener = listener;
  }

  /** How it is now. */
  note(entry: PlacementEntry, missing: number, reasons: ReadonlyMap<string, string>): void {
    if (missing === 0) {
      this.#told.delete(entry.id);
      return;
    }
    const text = JSON.stringify([missing, ...reasons]);
    if (this.#told.get(entry.id) === text) return;
    this.#told.set(entry.id, text);
    this.#listener(entry, missing, reasons);
  }

  forget(id: string): void {
    this.#told.delete(id);
  }
}
