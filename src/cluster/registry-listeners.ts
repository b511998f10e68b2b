import type { DurableEntry, SubscriptionEntry } from '../wire/frame.ts';
import type { Member, RegistryListener } from './registry.ts';

/** Several listeners as one, in their order; each hears what it has a method for. */
export class RegistryListeners implements RegistryListener {
  readonly #all: readonly Partial<RegistryListener>[];

  constructor(all: readonly Partial<RegistryListener>[]) {
    this.#all = all;
  }

  joined(member: Member): void {
    for (const each of this.#all) each.joined?.(member);
  }

  changed(member: Member): void {
    for (const each of this.#all) each.changed?.(member);
  }

  gone(member: Member, how: 'down' | 'left'): void {
    for (const each of this.#all) each.gone?.(member, how);
  }

  added(member: Member, entry: SubscriptionEntry): void {
    for (const each of this.#all) each.added?.(member, entry);
  }

  removed(member: Member, entry: SubscriptionEntry): void {
    for (const each of this.#all) each.removed?.(member, entry);
  }

  durable(entry: DurableEntry, before: DurableEntry | undefined): void {
    for (const each of this.#all) each.durable?.(entry, before);
  }
}
