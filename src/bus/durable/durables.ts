import { Consumer, type Step } from '../../actors/consumer.ts';
import type { MailboxPolicy } from '../../actors/mailbox-policy.ts';
import type { Nursery } from '../../actors/nursery.ts';
import { handlers } from '../../actors/restart.ts';
import type { Handler } from '../../actors/subscriber-options.ts';
import type { Worker, WorkerOptions } from '../../actors/worker.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import type { Pattern } from '../../routing/pattern.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import { DurableAttachment } from '../consuming/durable-attachment.ts';
import type { RemoteAttachmentHost } from '../consuming/remote-attachment.ts';
import { RemoteAttachments } from '../consuming/remote-attachments.ts';
import { Subscription } from '../consuming/subscription.ts';
import {
  askedPolicy,
  differences,
  nameTaken,
  type PolicyRecord,
  policyOf,
  storeRequired,
} from '../options/definition.ts';
import type { ResolvedSubscription } from '../options/subscription-options.ts';
import type { Publisher } from '../routes/publisher.ts';
import type { DurableCluster } from './durable-cluster.ts';
import type { HomeEntry, Mailboxes } from './mailboxes.ts';

/** What the durable subscriptions of a node need of the bus. */
export interface DurablesHost {
  readonly service: string;
  readonly incarnation: string;
  readonly durability: 'fsync' | 'os';
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly publisher: Publisher;
  readonly mailboxes: Mailboxes;
  /** Whether this node has a store that lasts. */
  readonly stored: boolean;
  readonly step: Step;
  /** The cluster's part; none in a bus that stands alone. */
  readonly cluster: DurableCluster | undefined;
  /** How consumers of other nodes' mailboxes reach them. */
  readonly remote: Pick<RemoteAttachmentHost, 'ask' | 'reachable' | 'asking'>;
  /** This node. */
  readonly node: string;
  nursery(): Nursery;
}

/** What declaring needs of the options of a subscription. */
export interface Declared {
  readonly update: boolean;
  /** Which options of the mailbox were given. */
  readonly given: ReadonlySet<string>;
}

/** The larger of this and twice the concurrency is the credit of a consumer at its mailbox's home: what is settled counts until that is written. */
const localCredit = 512;

/** The durable subscriptions that this node has declared or attached to. */
export class Durables {
  readonly #host: DurablesHost;
  readonly #attached = new Set<DurableAttachment>();
  /** Those to mailboxes of other nodes. */
  readonly remotes: RemoteAttachments;
  /** Declarations under way, by name: two of one name must not both find that there is none. */
  readonly #declaring = new Map<string, Promise<unknown>>();
  /** What subscriptions that were made here have said of their attempts' time, by name. */
  readonly #timeouts = new Map<string, number>();
  #count = 0;
  #closing = false;

  constructor(host: DurablesHost) {
    this.#host = host;
    const { clock, log, remote } = host;
    this.remotes = new RemoteAttachments({
      clock,
      log,
      ...remote,
      working: (name, id, handler, options) => this.#working(name, id, handler, options),
      employ: (worker, name) => this.#employ(worker, name),
    });
  }

  /** How long an attempt may take of a subscription: what was said last on this node, in milliseconds. */
  timeoutOf(name: string): number {
    return this.#timeouts.get(name) ?? 30_000;
  }

  /** The full name of a durable subscription: a bare one is of this node's own service. */
  fullName(name: string): string {
    return name.includes('/') ? name : `${this.#host.service}/${name}`;
  }

  /**
   * Declares a durable subscription, and attaches a handler to it.
   *
   * @throws {BusError} `STORE_REQUIRED`, `NAME_TAKEN`.
   */
  async create(pattern: Pattern, handler: Handler | null, options: ResolvedSubscription): Promise<Subscription> {
    const name = this.fullName(options.name as string); // resolveSubscription() has seen to it
    const policy = askedPolicy(options, this.#host.durability);
    const declared = await this.declare(name, pattern, policy, options);
    if (options.given.has('timeout')) this.#timeouts.set(name, options.timeout);
    const attachment =
      'mailbox' in declared
        ? await this.#attach(declared, handler, options)
        : await this.remotes.attach(declared, handler, options);
    return new Subscription(attachment, pattern, (timeout) => attachment.close(timeout));
  }

  /**
   * Finds or makes the mailbox of a durable subscription: here, or on another node.
   *
   * @param patience how long whoever asks waits, in milliseconds: behind other declarations of the name, nothing is begun later.
   * @throws {BusError} `TIMEOUT` then.
   */
  async declare(
    name: string,
    pattern: Pattern,
    policy: MailboxPolicy,
    options: Declared,
    patience = Number.POSITIVE_INFINITY,
  ): Promise<HomeEntry | DurableEntry> {
    const { clock } = this.#host;
    const latest = clock.now() + patience;
    const before = this.#declaring.get(name) ?? Promise.resolve();
    const declared = before.then(() => {
      if (clock.now() < latest) return this.#declare(name, pattern, policy, options);
      throw new BusError('TIMEOUT', `'${name}' was being declared by others all the time`);
    });
    const settled = declared.then(
      () => undefined,
      () => undefined,
    );
    this.#declaring.set(name, settled);
    try {
      return await declared;
    } finally {
      if (this.#declaring.get(name) === settled) this.#declaring.delete(name);
    }
  }

  async #declare(
    name: string,
    pattern: Pattern,
    policy: MailboxPolicy,
    options: Declared,
  ): Promise<HomeEntry | DurableEntry> {
    const { mailboxes, stored, cluster } = this.#host;
    const existing = mailboxes.get(name);
    if (existing !== undefined) {
      await this.#reconcile(existing, pattern, policy, options);
      return existing;
    }
    const known = cluster?.entry(name);
    if (known !== undefined) return this.#reconcileKnown(known, pattern, policy, options);
    if (!stored) {
      if (cluster === undefined || cluster.leads) throw storeRequired(name, cluster !== undefined);
      return cluster.declareAtLeader(name, pattern, policy, [...options.given], options.update);
    }
    if (cluster === undefined) return mailboxes.create(name, pattern, policy, 1);
    const reserved = await cluster.reserve(name, pattern);
    if ('entry' in reserved) {
      const { entry } = reserved;
      cluster.apply(entry);
      return this.#reconcileKnown(entry, pattern, policy, options);
    }
    const made = await mailboxes.create(name, pattern, policy, reserved.version);
    try {
      await cluster.announce(made.definition);
    } catch (error) {
      await mailboxes.remove(made);
      throw error;
    }
    const entry = cluster.entry(name);
    if (entry === undefined || entry.id === made.definition.id) return made;
    // Another node was faster, and the leader did not know: what everybody knows counts.
    await mailboxes.remove(made);
    return this.#reconcileKnown(entry, pattern, policy, options);
  }

  /** The cluster knows the name: its mailbox is on another node, or should be here. */
  async #reconcileKnown(
    entry: DurableEntry,
    pattern: Pattern,
    policy: MailboxPolicy,
    options: Declared,
  ): Promise<HomeEntry | DurableEntry> {
    const { mailboxes, node, stored } = this.#host;
    if (entry.home !== node) return this.#reconcileRemote(entry, pattern, policy, options);
    if (!stored) throw storeRequired(entry.name, false);
    await mailboxes.adopt(entry);
    const made = mailboxes.get(entry.name) as HomeEntry; // adopt() has made it
    await this.#reconcile(made, pattern, policy, options);
    return made;
  }

  /** A mailbox of another node exists: what is asked for must be what it is, or is changed there. */
  async #reconcileRemote(
    entry: DurableEntry,
    pattern: Pattern,
    policy: MailboxPolicy,
    { given, update }: Declared,
  ): Promise<DurableEntry> {
    const old = { pattern: entry.pattern, policy: policyOf(entry.policy as PolicyRecord) };
    const found = differences(old, { pattern: pattern.toWire(), policy }, given);
    if (found.length === 0) return entry;
    if (!update) throw nameTaken(entry.name, found);
    const { cluster } = this.#host;
    return cluster === undefined
      ? entry
      : cluster.declareAt(entry.home, entry.name, pattern, policy, [...given], update);
  }

  /**
   * Removes a durable subscription.
   *
   * @returns whether there was one of that name.
   * @throws {BusError} `OPTION_INVALID` when messages wait in it and `discard` is not true.
   */
  async remove(name: string, discard: boolean): Promise<boolean> {
    const { mailboxes } = this.#host;
    const entry = mailboxes.get(this.fullName(name));
    if (entry === undefined) return this.#removeRemote(this.fullName(name), discard);
    const { size } = entry.mailbox;
    if (size > 0 && !discard) {
      throw new BusError(
        'OPTION_INVALID',
        `durable subscription '${entry.definition.name}' holds ${size} messages: say discard: true to throw them away`,
      );
    }
    await mailboxes.remove(entry);
    await this.#host.cluster?.remove(entry.definition);
    return true;
  }

  /** Removes a subscription whose home will not return: what is kept for it anywhere becomes dead letters. */
  async lose(name: string): Promise<boolean> {
    const { cluster } = this.#host;
    const full = this.fullName(name);
    if (cluster?.entry(full) === undefined) return false;
    await cluster.lose(full);
    return true;
  }

  async #removeRemote(name: string, discard: boolean): Promise<boolean> {
    const { cluster, node } = this.#host;
    const entry = cluster?.entry(name);
    if (cluster === undefined || entry === undefined || entry.home === node) return false;
    await cluster.removeAt(entry.home, name, discard);
    return true;
  }

  /** Detaches everything: mailboxes keep what they hold. */
  async close(timeout: number): Promise<void> {
    this.#closing = true;
    const all = [...this.#attached, ...this.remotes];
    await Promise.all(all.map((attachment) => attachment.close(timeout)));
  }

  /** Resolves when the mailboxes that this node consumes are empty. @throws {BusError} `TIMEOUT`. */
  async drain(timeout: number): Promise<void> {
    const consumed = [...this.#attached].filter(({ consumer }) => consumer !== undefined);
    await Promise.all([...consumed, ...this.remotes.consumed].map((attachment) => attachment.drain(timeout)));
  }

  get busy(): boolean {
    return (
      [...this.#attached].some(({ consumer, mailbox }) => consumer !== undefined && !mailbox.idle) ||
      this.remotes.consumed.some(({ consumer }) => consumer?.empty === false)
    );
  }

  async #reconcile(
    entry: HomeEntry,
    pattern: Pattern,
    policy: MailboxPolicy,
    { update, given }: Declared,
  ): Promise<void> {
    const found = differences(entry.definition, { pattern: pattern.toWire(), policy }, given);
    if (found.length === 0) return;
    const { name, policy: old } = entry.definition;
    if (!update) throw nameTaken(name, found);
    const merged: MailboxPolicy = {
      retry: given.has('retry') ? policy.retry : old.retry,
      outage: given.has('outage') ? policy.outage : old.outage,
      limits: given.has('limits') ? policy.limits : old.limits,
      latestOnly: given.has('latestOnly') ? policy.latestOnly : old.latestOnly,
      filters: given.has('filters') ? policy.filters : old.filters,
      durability: given.has('durability') ? policy.durability : old.durability,
    };
    await this.#host.mailboxes.update(entry, pattern, merged);
    await this.#host.cluster?.announce(entry.definition);
  }

  async #attach(
    { mailbox }: HomeEntry,
    handler: Handler | null,
    options: ResolvedSubscription,
  ): Promise<DurableAttachment> {
    const consumer = handler === null ? undefined : await this.consume(mailbox, handler, options);
    const attachment = new DurableAttachment(mailbox, consumer);
    this.#attached.add(attachment);
    void attachment.closed.then(() => this.#attached.delete(attachment));
    return attachment;
  }

  /** Attaches a handler to a mailbox of this node. */
  async consume(
    mailbox: HomeEntry['mailbox'],
    handler: Handler,
    options: Pick<ResolvedSubscription, 'concurrency' | 'credit' | 'timeout' | 'filters' | 'fence'>,
    Kind: typeof Consumer = Consumer,
  ): Promise<Consumer> {
    const { name, id } = mailbox;
    const { filters, concurrency, fence, credit = Math.max(localCredit, 2 * concurrency) } = options;
    const { step } = this.#host;
    const consumer = new Kind(mailbox, { ...this.#working(name, id, handler, options), filters, credit, step, fence });
    await this.#employ(consumer, name);
    try {
      mailbox.attach(consumer);
    } catch (error) {
      await consumer.close(0);
      throw error;
    }
    return consumer;
  }

  #working(
    name: string,
    mailboxId: string,
    handler: Handler,
    { concurrency, timeout }: Pick<ResolvedSubscription, 'concurrency' | 'timeout'>,
  ): WorkerOptions {
    const { incarnation, clock, log, events, publisher } = this.#host;
    return {
      name,
      mailboxId,
      incarnation,
      clock,
      log: log.child({ actor: `subs/${name}`, subscription: name }),
      events,
      handler,
      concurrency,
      timeout,
      prepare: (topic, payload, staged) => publisher.prepare(topic, payload, staged),
    };
  }

  /** Gives a worker its actor. */
  async #employ(worker: Worker, name: string): Promise<void> {
    const part = await this.#host.nursery().add({
      name: `${name.replace('/', '.')}.${++this.#count}`,
      restart: handlers,
      turn: () => worker.turn(),
      giveUp: (error) => worker.quarantine(error),
    });
    void worker.closed.then(() => part.stop());
    if (this.#closing) {
      await worker.close(0);
      throw new BusError('CLOSED', `subscription '${name}' was closed as it was made`);
    }
    worker.attach(part);
  }
}
