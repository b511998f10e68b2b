import { Moves } from '../../actors/moves.ts';
import type { Clock } from '../../core/clock.ts';
import { toError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import type { Batch, Commits, Participant } from '../../storage/commits.ts';
import { packRecord, recordKind, unpackRecord } from '../../storage/record.ts';
import { prefixRange, type Store } from '../../storage/store.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { PlacementEntry } from '../../wire/placement-entry.ts';
import type { Leadership } from '../network/network-host.ts';

/** What a node with a store keeps of the cluster's durable subscriptions and placements, to start from it at once. */
export class RegistryRecords implements Participant {
  readonly #commits: Commits;
  readonly #log: Logger;
  readonly #moves = new Moves();

  constructor(commits: Commits, log: Logger) {
    this.#commits = commits;
    this.#log = log;
  }

  async durables(): Promise<DurableEntry[]> {
    return (await this.#load('reg/', recordKind.registry)) as unknown as DurableEntry[]; // their checksums are right
  }

  async placements(): Promise<PlacementEntry[]> {
    return (await this.#load('plc/', recordKind.placement)) as unknown as PlacementEntry[];
  }

  async #load(prefix: string, kind: number): Promise<Record<string, unknown>[]> {
    const entries: Record<string, unknown>[] = [];
    for await (const [key, value] of this.#commits.store.scan(prefixRange(prefix))) {
      try {
        entries.push(unpackRecord(kind, key, value));
      } catch (error) {
        this.#log.error({ err: toError(error), key }, 'what was known of the cluster cannot be read');
      }
    }
    return entries;
  }

  keepPlacement(entry: PlacementEntry): void {
    this.#moves.put(`plc/${entry.name}`, packRecord(recordKind.placement, entry));
    this.#commits.touch(this);
  }

  keep(entry: DurableEntry): void {
    this.#moves.put(`reg/${entry.name}`, packRecord(recordKind.registry, entry));
    this.#commits.touch(this);
  }

  forgetPlacement(name: string): void {
    this.#moves.del(`plc/${name}`);
    this.#commits.touch(this);
  }

  /** Who leads has been decided anew. */
  keepLeadership(leadership: Leadership): void {
    this.#moves.put(leadershipKey, packRecord(recordKind.leadership, leadership));
    this.#commits.touch(this);
  }

  collect(batch: Batch): void {
    // Changes are rare, and a name that a power failure makes a node forget could be given away twice.
    batch.sync ||= !this.#moves.empty;
    this.#moves.collect(batch);
  }

  committed(): void {
    this.#moves.committed();
  }

  failed(): void {
    this.#moves.failed();
  }

  async restored(): Promise<void> {
    this.#commits.touch(this);
  }
}

const leadershipKey = 'lead';

/** Who leads, as an operator has decided before; undefined when nobody has. */
export async function leadershipOf(store: Store): Promise<Leadership | undefined> {
  const value = await store.get(leadershipKey);
  if (value === undefined) return undefined;
  return unpackRecord(recordKind.leadership, leadershipKey, value) as unknown as Leadership; // its checksum is right
}

/** How often subscriptions without a consumer are looked for, and how long one may be without, in milliseconds. */
export const orphans = { every: 60_000, after: 3_600_000 };

/** Looks for durable subscriptions that nobody consumes. */
export class OrphanWatch {
  readonly #since = new Map<string, number>();
  readonly #told = new Set<string>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns since when those that are to be told of now have had no consumer, by their ids. */
  look(mailboxes: Iterable<{ readonly id: string; readonly consumers: number }>): Map<string, number> {
    const now = this.#clock.now();
    const found = new Map<string, number>();
    const seen = new Set<string>();
    for (const { id, consumers } of mailboxes) {
      seen.add(id);
      if (consumers > 0) {
        this.#since.delete(id);
        this.#told.delete(id);
        continue;
      }
      const since = this.#since.get(id) ?? now;
      this.#since.set(id, since);
      if (now - since < orphans.after || this.#told.has(id)) continue;
      this.#told.add(id);
      found.set(id, since);
    }
    for (const id of [...this.#since.keys()]) if (!seen.has(id)) this.#since.delete(id);
    return found;
  }
}
