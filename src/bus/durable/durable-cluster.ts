import type { MailboxPolicy } from '../../actors/mailbox-policy.ts';
import { BusError } from '../../core/errors.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { Asking } from '../consuming/patience.ts';
import { registryLimits } from '../network/registry-allowance.ts';
import { type Definition, policyRecord } from '../options/definition.ts';

/** What the cluster's part of durable subscriptions needs of the network. */
export interface DurableClusterHost {
  readonly node: string;
  /** Whether this node leads. */
  readonly leads: boolean;
  /** How long to wait, in milliseconds, for members who may know of a name that a leader that has just started does not. */
  readonly patience: number;
  readonly leaderNode: string | undefined;
  readonly settled: boolean;
  entry(name: string): DurableEntry | undefined;
  /** How many names are known, removed ones included. */
  readonly names: number;
  /** The version that a name has reached. */
  versionOf(name: string): number;
  announce(entries: readonly DurableEntry[]): Promise<void>;
  apply(entry: DurableEntry): void;
  /** Whether a node is there now. */
  alive(node: string): boolean;
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown>;
  readonly asking: Asking;
  pause(ms: number): Promise<void>;
  now(): number;
}

/** What a leader answers to who wants a name. */
type Reservation = { readonly version: number } | { readonly entry: DurableEntry };

/** How long a name is kept for who has asked for it, in milliseconds. */
const reservationTime = 5_000;
/** How long who asks another node waits for its answer, in milliseconds: what comes later is for nobody. */
export const requestTime = 10_000;
/** How many names are kept so at a time. */
const mostReserved = 10_000;

/** The version that follows one: never beyond what a frame may hold, whatever somebody has told. */
export function nextVersion(version: number): number {
  return Math.min(version + 1, Number.MAX_SAFE_INTEGER);
}

/** The entry that tells the cluster of a mailbox. */
export function entryOf(definition: Definition, home: string): DurableEntry {
  const { name, id, version, pattern, policy } = definition;
  return { name, id, version, home, removed: false, pattern: { ...pattern }, policy: policyRecord(policy) };
}

/** Names of durable subscriptions, unique in the cluster: given by the leader, kept by everybody. */
export class DurableCluster {
  readonly #host: DurableClusterHost;
  readonly #reserved = new Map<string, { node: string; until: number }>();

  constructor(host: DurableClusterHost) {
    this.#host = host;
  }

  get leads(): boolean {
    return this.#host.leads;
  }

  entry(name: string): DurableEntry | undefined {
    return this.#host.entry(name);
  }

  /** Something was learnt of a durable subscription. */
  apply(entry: DurableEntry): void {
    this.#host.apply(entry);
  }

  /** Asks for a name. @returns the version to create it with, or what exists. @throws {BusError} `NO_LEADER`, `DENIED`. */
  async reserve(name: string, pattern: Pattern): Promise<Reservation> {
    const { leads, leaderNode, node, ask } = this.#host;
    if (leads) return this.grant(name, node);
    if (leaderNode === undefined) {
      throw new BusError('NO_LEADER', `'${name}' is new, and the leader, which knows whether it is free, is away`);
    }
    return (await ask(leaderNode, 'durable.reserve', { name, pattern: pattern.toWire() }, requestTime)) as Reservation; // our own leader's answer
  }

  /** The leader gives a name away. @throws {BusError} `TIMEOUT` when others have kept it all the time. */
  async grant(name: string, node: string): Promise<Reservation> {
    const { patience, pause, now } = this.#host;
    const latest = now() + requestTime;
    // Before it has settled, members that know of the name may be on their way back.
    for (const end = now() + patience; !this.#host.settled && this.#host.entry(name) === undefined; ) {
      if (now() >= end) break;
      await pause(20);
    }
    // Another node may be creating it: then this one attaches to what comes of it.
    for (;;) {
      const entry = this.#host.entry(name);
      if (entry !== undefined) {
        this.#reserved.delete(name);
        return { entry };
      }
      const holder = this.#reserved.get(name);
      if (holder === undefined || holder.node === node || holder.until <= now()) break;
      if (now() >= latest) throw new BusError('TIMEOUT', `'${name}' is being created by node '${holder.node}'`);
      await pause(20);
    }
    const { names: most } = registryLimits;
    if (this.#host.names >= most && this.#host.versionOf(name) === 0) {
      const text = `'${name}' would be new, and the cluster knows ${most} names, removed ones included: use them again`;
      throw new BusError('OPTION_INVALID', text);
    }
    if (this.#reserved.size >= mostReserved) this.#forgetReserved();
    this.#reserved.set(name, { node, until: now() + reservationTime });
    return { version: nextVersion(this.#host.versionOf(name)) };
  }

  /** Names whose time is up are free; of the others there must be room for one. @throws {BusError} `MAILBOX_FULL`. */
  #forgetReserved(): void {
    const now = this.#host.now();
    for (const [name, { until }] of this.#reserved) if (until <= now) this.#reserved.delete(name);
    if (this.#reserved.size < mostReserved) return;
    throw new BusError('MAILBOX_FULL', `${mostReserved} names of durable subscriptions are being created already`);
  }

  /** Removes a subscription whose home will not return. The leader does it. @throws {BusError} `NO_LEADER`, `NOT_FOUND`. */
  async lose(name: string): Promise<void> {
    const { leads, leaderNode, ask } = this.#host;
    if (leads) return this.declareLost(name);
    if (leaderNode === undefined) throw new BusError('NO_LEADER', `'${name}' cannot be removed: the leader is away`);
    await ask(leaderNode, 'durable.lost', { name }, requestTime);
  }

  /** The leader declares a subscription lost. */
  async declareLost(name: string): Promise<void> {
    const entry = this.#host.entry(name);
    if (entry === undefined) throw new BusError('NOT_FOUND', `there is no durable subscription '${name}'`);
    if (this.#host.alive(entry.home)) {
      throw new BusError('OPTION_INVALID', `'${name}' is not lost: its home '${entry.home}' is there`);
    }
    await this.#host.announce([{ ...entry, version: nextVersion(entry.version), removed: true, lost: true }]);
  }

  /** Has the home of a subscription remove it. */
  async removeAt(home: string, name: string, discard: boolean): Promise<void> {
    await this.#host.ask(home, 'durable.remove', { name, discard }, requestTime);
  }

  /** A mailbox of this node is new, or another one. Resolves when everybody in reach knows. */
  announce(definition: Definition): Promise<void> {
    return this.#host.announce([entryOf(definition, this.#host.node)]);
  }

  /** A mailbox of this node is removed. */
  remove(definition: Definition): Promise<void> {
    const entry = entryOf(definition, this.#host.node);
    return this.#host.announce([{ ...entry, version: nextVersion(entry.version), removed: true }]);
  }

  /** Has the leader, whose store is to hold it, declare a subscription. */
  async declareAtLeader(
    name: string,
    pattern: Pattern,
    policy: MailboxPolicy,
    given: readonly string[],
    update: boolean,
  ): Promise<DurableEntry> {
    return this.#host.asking(requestTime, async () => {
      const { leaderNode } = this.#host;
      if (leaderNode === undefined) {
        throw new BusError('NO_LEADER', `'${name}' needs the leader's store, and the leader is away`);
      }
      return this.declareAt(leaderNode, name, pattern, policy, given, update);
    });
  }

  /** Has a home declare a subscription, or change it. */
  async declareAt(
    home: string,
    name: string,
    pattern: Pattern,
    policy: MailboxPolicy,
    given: readonly string[],
    update: boolean,
  ): Promise<DurableEntry> {
    const params = { name, pattern: pattern.toWire(), policy: policyRecord(policy), given: [...given], update };
    const entry = (await this.#host.ask(home, 'durable.declare', params, requestTime)) as DurableEntry;
    this.#host.apply(entry);
    return entry;
  }
}
