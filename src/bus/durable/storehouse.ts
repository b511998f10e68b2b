import type { Admin } from '../../actors/admin.ts';
import { DeadLetters, type Replay } from '../../actors/dead-letters.ts';
import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Nursery } from '../../actors/nursery.ts';
import { keyOf } from '../../cluster/assignments.ts';
import type { PlacementTable } from '../../cluster/placement-table.ts';
import type { Timer } from '../../core/clock.ts';
import { BusError, toError } from '../../core/errors.ts';
import { originOf } from '../../core/incarnation.ts';
import { checkName } from '../../core/topic.ts';
import { patternFromWire } from '../../routing/pattern.ts';
import type { Router } from '../../routing/router.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import { durable as isEntry } from '../../wire/frame-shapes.ts';
import type { PlacementEntry } from '../../wire/placement-entry.ts';
import { Attendance } from '../consuming/attendance.ts';
import { once, patient } from '../consuming/patience.ts';
import type { RemoteConsumer } from '../consuming/remote-consumer.ts';
import type { Network } from '../network/network.ts';
import type { Leadership } from '../network/network-host.ts';
import { checkSize } from '../network/registry-allowance.ts';
import { type PolicyRecord, policyOf } from '../options/definition.ts';
import type { Publisher } from '../routes/publisher.ts';
import type { Route } from '../routes/route.ts';
import { Steps } from '../routes/steps.ts';
import { Spools } from '../streams/spools.ts';
import { DurableCluster, entryOf, nextVersion, requestTime } from './durable-cluster.ts';
import { Durables } from './durables.ts';
import { Mailboxes } from './mailboxes.ts';
import type { OpenedStore } from './opened-store.ts';
import { OrphanWatch, orphans, RegistryRecords } from './registry-records.ts';

/** What the storehouse needs of the bus. */
export interface StorehouseHost {
  readonly opened: OpenedStore;
  readonly incarnation: string;
  readonly router: Router<Route>;
  readonly publisher: Publisher;
  nursery(): Nursery;
  /** Takes dead letters back into a mailbox in memory. */
  replayTo(subscription: string): Replay | undefined;
  /** What is known of placements. */
  readonly placements: PlacementTable;
}

/** Everything of a node that outlives its process: durable mailboxes, spools, dead letters, and what they need. */
export class Storehouse {
  readonly admin: Admin;
  readonly deadLetters: DeadLetters;
  readonly mailboxes: Mailboxes;
  readonly durables: Durables;
  readonly spools: Spools;
  readonly #host: StorehouseHost;
  readonly #attendance: Attendance;
  readonly #cluster: DurableCluster | undefined;
  readonly #records: RegistryRecords;
  readonly #orphans: OrphanWatch;
  #orphanTimer: Timer | undefined;
  #network: Network | undefined;
  #open = false;

  constructor(host: StorehouseHost) {
    this.#host = host;
    const { opened, incarnation, router, publisher } = host;
    const { options, admin, events, lasting } = opened;
    const { node, clock, limits, logger: log, durability, role, liveness, redial } = options;
    this.admin = admin;
    this.deadLetters = new DeadLetters({
      commits: admin.commits,
      clock,
      limits: { messages: limits.deadLetters, bytes: limits.deadLetterBytes },
      log,
      replayTo: (name) => this.mailboxes.replayTo(name) ?? host.replayTo(name),
      prepare: (topic, payload, given) => publisher.prepare(topic, payload, given),
    });
    admin.join(this.deadLetters);
    const steps = new Steps(publisher);
    opened.restored = () => steps.restored();
    this.mailboxes = new Mailboxes({ node, clock, log, events, admin, deadLetters: this.deadLetters, router });
    this.spools = new Spools({ node, clock, log, events, admin, durability, deadLetters: this.deadLetters });
    this.#records = new RegistryRecords(admin.commits, log);
    if (lasting) admin.join(this.#records);
    host.placements.onDrop((name) => {
      if (lasting && this.#open) this.#records.forgetPlacement(name);
    });
    host.placements.onChange((entry) => {
      this.#fence(entry);
      if (lasting && this.#open) this.#records.keepPlacement(entry);
    });
    this.#orphans = new OrphanWatch(clock);
    this.#attendance = new Attendance({
      node,
      origin: originOf(incarnation),
      clock,
      step: steps.step,
      mailbox: (id) => this.mailbox(id),
      path: (target) => this.#network?.path(target),
      incarnationOf: (target) => this.#network?.registry.get(target)?.incarnation,
    });
    const asking = options.sharing === 'member' ? patient(clock) : once;
    if (role !== 'alone') {
      const network = (): Network => this.#network as Network; // set before anything is declared
      this.#cluster = new DurableCluster({
        node,
        get leads() {
          return network().leads;
        },
        patience: Math.min(liveness.down, liveness.suspect + 2 * redial.maxDelay) + 1000,
        get leaderNode() {
          return network().leader?.linked === true ? network().leader?.node : undefined;
        },
        // A leader with a store knows every name that there is; one without has to be told first.
        get settled() {
          return lasting || network().settled;
        },
        entry: (name) => network().registry.durable(name),
        get names() {
          return network().registry.names;
        },
        versionOf: (name) => network().registry.durableEntry(name)?.version ?? 0,
        announce: (entries) => {
          const removed = entries.filter((entry) => entry.removed).map(({ id }) => id);
          return network().announce([], removed, entries);
        },
        apply: (entry) => void network().registry.applyDurable(entry),
        alive: (target) => target === node || network().registry.get(target)?.state === 'alive',
        ask: (target, method, params, timeout) => network().request(target, method, params, timeout),
        asking,
        pause: (ms) => new Promise((done) => void clock.timer(ms, done)),
        now: () => clock.monotonic(),
      });
    }
    this.durables = new Durables({
      service: options.service,
      node,
      incarnation,
      durability,
      clock,
      log,
      events,
      publisher,
      mailboxes: this.mailboxes,
      stored: lasting,
      step: steps.step,
      cluster: this.#cluster,
      remote: {
        asking,
        ask: async (target, method, params, timeout) => this.#network?.request(target, method, params, timeout),
        reachable: (target) => this.#network?.path(target) !== undefined,
      },
      nursery: () => host.nursery(),
    });
  }

  /** Opens what the store holds. */
  async open(network: Network | undefined): Promise<void> {
    this.#network = network;
    const { options, lasting } = this.#host.opened;
    await this.deadLetters.open();
    await this.spools.open();
    await this.mailboxes.open();
    if (lasting) for (const entry of await this.#records.placements()) this.#host.placements.apply(entry);
    if (network !== undefined) {
      const { registry } = network;
      if (lasting) for (const entry of await this.#records.durables()) registry.applyDurable(entry);
      for (const { definition } of this.mailboxes) registry.applyDurable(entryOf(definition, options.node));
    }
    this.#open = true;
    for (const entry of this.#host.placements) this.#fence(entry);
    for (const entry of network?.registry.durables ?? []) this.#own(entry);
    this.#watch();
  }

  /** A durable mailbox of this node, by its id. */
  mailbox(id: string): DurableMailbox | undefined {
    return this.mailboxes.byId(id)?.mailbox;
  }

  /** Who takes the deliveries of another node's mailbox. */
  consumer(id: string): RemoteConsumer | undefined {
    return this.durables.remotes.receiver(id);
  }

  /** A durable subscription is new, or another one, or removed. */
  registered(entry: DurableEntry, before: DurableEntry | undefined): void {
    if (this.#host.opened.lasting) this.#records.keep(entry);
    if (before !== undefined && (entry.removed || before.id !== entry.id || before.home !== entry.home)) {
      this.durables.remotes.unregistered(before);
    }
    if (this.#open) this.#own(entry);
  }

  /** Resolves when all that has been written until now is on disk, where there is one. @throws {BusError} */
  async kept(): Promise<void> {
    if (!this.#host.opened.lasting) return;
    const { commits } = this.admin;
    await commits.flushed();
    if (commits.error !== undefined) throw commits.error;
  }

  /** Who leads has been decided anew. */
  leading(leadership: Leadership): void {
    if (this.#host.opened.lasting) this.#records.keepLeadership(leadership);
  }

  /** A node can be reached, for the first time or again. */
  relinked(node: string): void {
    this.#attendance.relinked(node);
    this.durables.remotes.relinked(node);
  }

  /** A node is down or has left. */
  gone(node: string, incarnation: string): void {
    this.#attendance.gone(node, incarnation);
  }

  /** Answers a request of another node; undefined when it is about something else. */
  answer(method: string, params: unknown, source: string): Promise<unknown> | undefined {
    const given = (params ?? {}) as Readonly<Record<string, unknown>>;
    switch (method) {
      case 'durable.reserve':
        return this.#reserve(given, source);
      case 'durable.declare':
        return this.#declare(given);
      case 'durable.lost':
        return this.#lost(given);
      case 'durable.remove':
        return this.#remove(given);
      case 'mailbox.drain':
        return this.#drain(given);
      default:
        return this.#attendance.answer(method, given, source);
    }
  }

  /** Writes what there is, and lets go. */
  async close(): Promise<void> {
    this.#open = false;
    this.#orphanTimer?.cancel();
    this.mailboxes.close();
    this.spools.close();
    await this.admin.close();
  }

  /** What the cluster says of a mailbox that is this node's: that it is removed, or that it should be here. */
  #own(entry: DurableEntry): void {
    const { node, logger: log } = this.#host.opened.options;
    if (entry.home !== node) {
      const own = this.mailboxes.get(entry.name);
      // Two nodes have made one name while the leader did not know: what everybody agrees on counts.
      if (own !== undefined && own.definition.id !== entry.id) {
        const { size: waiting } = own.mailbox;
        log.error(
          { subscription: entry.name, home: entry.home, waiting },
          'this name is another mailbox everywhere else',
        );
        if (waiting === 0) {
          this.mailboxes.remove(own).catch((err: unknown) => log.error({ err }, 'a mailbox was not removed'));
        }
      }
      return;
    }
    if (!this.#host.opened.lasting) return;
    const here = this.mailboxes.byId(entry.id);
    if (entry.removed && here !== undefined) {
      if (here.mailbox.size === 0) {
        this.mailboxes.remove(here).catch((err: unknown) => log.error({ err }, 'a mailbox was not removed'));
        return;
      }
      // Somebody took it for lost. It is not, and nothing that was confirmed may go.
      log.warn({ subscription: entry.name, waiting: here.mailbox.size }, 'removed as lost, but it is here: it stays');
      here.definition = { ...here.definition, version: nextVersion(entry.version) };
      this.#cluster?.announce(here.definition).catch((err: unknown) => log.error({ err }, 'not announced'));
    } else if (!entry.removed && here === undefined && this.mailboxes.get(entry.name) === undefined) {
      log.warn({ subscription: entry.name }, 'the store does not hold this mailbox any more: it begins empty');
      this.mailboxes.adopt(entry).catch((err: unknown) => log.error({ err }, 'a mailbox was not made'));
    }
  }

  /** Instances of a placement have other places: who held one of them before has lost what it holds. */
  #fence({ id, spec, assigned }: PlacementEntry): void {
    const mailbox = spec.durable === undefined ? undefined : this.mailboxes.get(spec.durable)?.mailbox;
    if (mailbox === undefined) return;
    for (const { instance, generation } of assigned) mailbox.fence({ key: keyOf(id, instance), generation });
  }

  async #reserve({ name }: Readonly<Record<string, unknown>>, source: string): Promise<unknown> {
    if (this.#cluster?.leads !== true) throw new BusError('PROTOCOL_ERROR', 'this node does not lead');
    return this.#cluster.grant(checkFullName(name), source);
  }

  async #declare({ name, pattern, policy, given, update }: Readonly<Record<string, unknown>>): Promise<unknown> {
    const full = checkFullName(name);
    const options = {
      update: update === true,
      given: new Set(Array.isArray(given) ? given.filter((each) => typeof each === 'string') : []),
    };
    const entry = { name: full, id: '', version: 0, home: '', removed: false, pattern, policy };
    if (!isEntry(entry)) throw new BusError('PROTOCOL_ERROR', `'${full}' is declared with what is no subscription`);
    checkSize(`durable subscription '${full}'`, entry);
    const compiled = patternFromWire(pattern as DurableEntry['pattern']);
    const asked = policyOf(policy as PolicyRecord);
    const declared = await this.durables.declare(full, compiled, asked, options, requestTime);
    return 'mailbox' in declared ? entryOf(declared.definition, this.#host.opened.options.node) : declared;
  }

  async #lost({ name }: Readonly<Record<string, unknown>>): Promise<undefined> {
    if (this.#cluster?.leads !== true) throw new BusError('PROTOCOL_ERROR', 'this node does not lead');
    await this.#cluster.declareLost(checkFullName(name));
    return undefined;
  }

  async #remove({ name, discard }: Readonly<Record<string, unknown>>): Promise<undefined> {
    const full = checkFullName(name);
    if (await this.durables.remove(full, discard === true)) return undefined;
    throw new BusError('NOT_FOUND', `there is no durable subscription '${full}' here`);
  }

  async #drain({ name, timeout }: Readonly<Record<string, unknown>>): Promise<undefined> {
    const entry = this.mailboxes.get(checkFullName(name));
    if (entry === undefined) throw new BusError('NOT_FOUND', `there is no durable subscription '${String(name)}' here`);
    await entry.mailbox.drain(typeof timeout === 'number' ? timeout : 0);
    return undefined;
  }

  #watch(): void {
    const { events, options } = this.#host.opened;
    this.#orphanTimer = options.clock
      .timer(orphans.every, () => {
        try {
          for (const [id, since] of this.#orphans.look([...this.mailboxes].map(({ mailbox }) => mailbox))) {
            const mailbox = this.mailbox(id);
            if (mailbox === undefined) continue;
            const { name: subscription, size: waiting } = mailbox;
            events.emit({ type: 'subscription.orphaned', subscription, home: options.node, waiting, since });
          }
        } catch (error) {
          options.logger.error({ err: toError(error) }, 'orphans could not be looked for');
        }
        this.#watch();
      })
      .unref();
  }
}

function checkFullName(name: unknown): string {
  const [service, bare, ...rest] = typeof name === 'string' ? name.split('/') : [];
  if (rest.length > 0) throw new BusError('NAME_INVALID', `'${String(name)}' is no <service>/<name>`);
  checkName('service', service);
  checkName('subscription', bare);
  return name as string; // it has been split
}
