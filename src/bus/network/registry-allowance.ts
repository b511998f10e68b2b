import type { Registry } from '../../cluster/registry.ts';
import { encodedSize } from '../../core/encoded-size.ts';
import { BusError } from '../../core/errors.ts';
import type { DurableEntry, SubscriptionEntry } from '../../wire/frame.ts';
import type { PlacementEntry } from '../../wire/placement-entry.ts';

/** What the registry of a cluster holds at most: every node keeps all of it in memory. */
export const registryLimits = {
  /** Members. */
  members: 8_192,
  /** Ephemeral subscriptions of one member, and how long their names and patterns are together, in characters. */
  subscriptions: 100_000,
  subscriptionText: 256 * 1024 * 1024,
  /** Names of durable subscriptions, removed ones included; and names of placements. */
  names: 250_000,
  /** One durable subscription or placement, encoded, in bytes: half of the smallest frame. */
  entryBytes: 512 * 1024,
};

/** Refuses what is to be registered when no frame has room for it. @throws {BusError} `PAYLOAD_TOO_LARGE`. */
export function checkSize(what: string, entry: object): void {
  const size = encodedSize(entry);
  if (size <= registryLimits.entryBytes) return;
  throw new BusError(
    'PAYLOAD_TOO_LARGE',
    `${what} takes ${size} bytes; at most ${registryLimits.entryBytes} are allowed`,
  );
}

/** What a member has told on its link of ephemeral subscriptions. */
interface Told {
  count: number;
  text: number;
}

/** Sees to it that what members register stays within {@link registryLimits}. */
export class RegistryAllowance {
  readonly #registry: Registry;
  readonly #told = new Map<string, Told>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** A member tells everything anew. */
  begin(node: string): void {
    this.#told.set(node, { count: 0, text: 0 });
  }

  /** A member has gone. */
  forget(node: string): void {
    this.#told.delete(node);
  }

  /**
   * A member adds and removes subscriptions. Call it before that is applied.
   *
   * @throws {BusError} `PROTOCOL_ERROR` when it has more than it may.
   */
  subscriptions(node: string, add: readonly SubscriptionEntry[], remove: readonly string[]): void {
    const told = this.#told.get(node) ?? { count: 0, text: 0 };
    this.#told.set(node, told);
    const known = this.#registry.get(node)?.subscriptions;
    for (const id of new Set(remove)) {
      const entry = known?.get(id);
      if (entry === undefined) continue;
      told.count--;
      told.text -= lengthOf(entry);
    }
    for (const entry of add) {
      told.count++;
      told.text += lengthOf(entry);
    }
    if (told.count > registryLimits.subscriptions || told.text > registryLimits.subscriptionText) {
      throw new BusError(
        'PROTOCOL_ERROR',
        `node '${node}' has more than ${registryLimits.subscriptions} subscriptions`,
      );
    }
  }

  /** A member tells of durable subscriptions, and of placements. @throws {BusError} `PROTOCOL_ERROR`, as above. */
  names(node: string, durables: readonly DurableEntry[], placements: readonly PlacementEntry[] = []): void {
    for (const entry of [...durables, ...placements]) {
      if (encodedSize(entry) <= registryLimits.entryBytes) continue;
      throw new BusError('PROTOCOL_ERROR', `node '${node}' tells of an entry that no frame has room for`);
    }
    const fresh = durables.filter(({ name }) => this.#registry.durableEntry(name) === undefined).length;
    if (this.#registry.names + fresh > registryLimits.names || placements.length > registryLimits.names) {
      throw new BusError('PROTOCOL_ERROR', `node '${node}' tells of more than ${registryLimits.names} names`);
    }
  }
}

function lengthOf({ id, name, pattern }: SubscriptionEntry): number {
  return id.length + name.length + pattern.kind.length + pattern.source.length + pattern.flags.length;
}
