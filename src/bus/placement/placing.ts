import type { Handler } from '../../actors/subscriber-options.ts';
import type { Part, PartSpec } from '../../actors/supervisor.ts';
import type { Candidate } from '../../cluster/placement.ts';
import { PlacementTable } from '../../cluster/placement-table.ts';
import { Placements } from '../../cluster/placements.ts';
import type { Member, RegistryListener } from '../../cluster/registry.ts';
import { BusError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import { Hosting } from '../../hosting/hosting.ts';
import type { Feed, Identity } from '../../hosting/instance.ts';
import { type ActorContext, Kinds } from '../../hosting/kinds.ts';
import { kindOf } from '../../hosting/module-kinds.ts';
import { decodePayload } from '../../wire/codec.ts';
import type { PartChange } from '../../wire/frame.ts';
import type { Capabilities, PlacementEntry } from '../../wire/placement-entry.ts';
import type { Network } from '../network/network.ts';
import { checkCapabilities } from '../options/capabilities.ts';
import type { ResolvedOptions } from '../options/options.ts';

/** What placing needs of the bus. */
export interface PlacingHost {
  readonly options: ResolvedOptions;
  readonly incarnation: string;
  readonly events: EventHub;
  /** Gives a handler actor its place in the tree. */
  employ(spec: PartSpec): Promise<Part>;
  /** Subscribes an instance. */
  feed(entry: PlacementEntry, identity: Identity, handler: Handler): Promise<Feed>;
  publish: ActorContext['publish'];
  /** Resolves when what was written into the table is on disk, where there is one. @throws {BusError} */
  kept(): Promise<void>;
}

/** How often a node that leaves looks whether its instances have moved, in milliseconds. */
const glance = 10;

/** Handler actors on a node: the kinds that it knows, the instances that it runs, and on the leader where each is to run. */
export class Placing implements Pick<RegistryListener, 'joined' | 'changed' | 'gone'> {
  readonly table = new PlacementTable();
  readonly kinds: Kinds;
  readonly placements: Placements;
  readonly hosting: Hosting;
  readonly #host: PlacingHost;
  #capabilities: Capabilities;
  #leaving = false;
  #network: Network | undefined;
  #started = false;

  constructor(host: PlacingHost) {
    this.#host = host;
    const { options, incarnation, events } = host;
    const { node, clock, logger: log, role, liveness } = options;
    this.#capabilities = options.capabilities;
    this.kinds = new Kinds(
      (name, given) => kindOf(name, given, clock),
      () => this.#announce(),
    );
    this.placements = new Placements({
      clock,
      table: this.table,
      down: role === 'alone' ? 0 : liveness.down,
      members: () => this.#network?.registry.members ?? [this.#self],
      term: () => this.#network?.term ?? 0,
      kept: () => host.kept(),
      pending: ({ name: placement }, missing, reasons) => {
        events.emit({ type: 'placement.pending', placement, missing, reasons: Object.fromEntries(reasons) });
      },
    });
    this.hosting = new Hosting({
      node,
      incarnation,
      clock,
      log,
      kinds: this.kinds,
      entry: (name) => this.table.entry(name),
      employ: (spec) => host.employ(spec),
      feed: (entry, identity, handler) => host.feed(entry, identity, handler),
      publish: (topic, payload, publishing) => host.publish(topic, payload, publishing),
      decode: decodePayload,
      report: (report) => this.#tell({ instances: [report] }),
    });
    this.table.onChange((entry, before) => {
      if (this.#started) this.hosting.apply(entry);
      this.#tellOf(entry, before);
    });
  }

  /** What this node can do. */
  get capabilities(): Capabilities {
    return this.#capabilities;
  }

  /** Changes what this node can do: what no longer fits moves, and what waits for it starts. */
  set capabilities(given: unknown) {
    this.#capabilities = checkCapabilities('capabilities', given);
    this.#announce();
  }

  /** Everything that it needs is there. @param first whether there is no earlier life whose instances might still run. */
  start(network: Network | undefined, first: boolean): void {
    this.#network = network;
    const leads = network?.leads !== false;
    if (leads) this.placements.lead();
    this.#announce();
    if (network === undefined || (first && leads)) this.placements.settle();
  }

  /** From now on it runs what is given to it. */
  open(): void {
    this.#started = true;
    for (const entry of this.table) this.hosting.apply(entry);
  }

  /** Takes no more instances. @returns whether there are some to be handed over. */
  leaving(): boolean {
    return this.hosting.refuse();
  }

  /** Hands its instances over, as far as others can take them, and ends the rest. */
  async leave(timeout: number): Promise<void> {
    const { clock } = this.#host.options;
    const end = clock.monotonic() + timeout;
    if (!this.hosting.empty && this.#network?.leader?.linked === true) await this.drain(false, timeout);
    await this.hosting.close(Math.max(0, Math.ceil(end - clock.monotonic())));
  }

  /**
   * Moves its instances away, and takes no others: until it is undone, or this node is started anew.
   *
   * @returns whether nothing runs here any more.
   */
  async drain(undo: boolean, timeout: number): Promise<boolean> {
    const { clock } = this.#host.options;
    const end = clock.monotonic() + timeout;
    this.#leaving = !undo;
    this.#announce();
    while (!undo && !this.hosting.empty && this.#network?.leader?.linked !== false && clock.monotonic() < end) {
      await new Promise<void>((done) => void clock.timer(glance, done));
    }
    return this.hosting.empty;
  }

  /** Who leads has been decided anew. */
  leading(leads: boolean): void {
    if (leads) this.placements.lead();
    else this.placements.resign(new BusError('NO_LEADER', 'another node leads from now on'));
  }

  close(): void {
    this.placements.resign(new BusError('CLOSED', 'the bus has closed'));
  }

  told(member: Member, said: Pick<PartChange, 'about' | 'instances'>): void {
    this.placements.told(member, said);
  }

  // Members

  joined(member: Member): void {
    this.placements.arrived(member);
  }

  changed(member: Member): void {
    this.placements.arrived(member);
  }

  gone(member: Member, how: 'down' | 'left'): void {
    this.placements.departed(member, how);
  }

  /** This node as placing sees it. */
  get candidate(): Candidate {
    const { node } = this.#host.options;
    const kinds = new Set(this.kinds.names);
    return { node, state: 'alive', leaving: this.#leaving, kinds, capabilities: this.#capabilities };
  }

  get #self(): Member {
    const { options, incarnation } = this.#host;
    return { node: options.node, incarnation, state: 'alive', link: 0, subscriptions: new Map() };
  }

  #announce(): void {
    this.#tell({
      about: { capabilities: this.#capabilities, kinds: this.kinds.names, leaving: this.#leaving },
    });
  }

  #tell(said: Pick<PartChange, 'about' | 'instances'>): void {
    if (this.#host.options.role === 'alone') this.placements.told(this.#self, said);
    else this.#network?.tell(said);
  }

  /** Events of what has become of the instances of a placement. */
  #tellOf({ name: placement, assigned }: PlacementEntry, before: PlacementEntry | undefined): void {
    const { events } = this.#host;
    const old = new Map((before?.assigned ?? []).map((each) => [each.generation, each]));
    for (const { instance, node, generation, state, error } of assigned) {
      const was = old.get(generation)?.state;
      old.delete(generation);
      if (was === state) continue;
      const about = { placement, instance, node, generation };
      if (state === 'running') events.emit({ type: 'actor.started', ...about });
      else if (state === 'failed') events.emit({ type: 'actor.failed', ...about, reason: error ?? 'it failed' });
    }
    for (const { instance, node, generation, state } of old.values()) {
      if (state !== 'starting') events.emit({ type: 'actor.stopped', placement, instance, node, generation });
    }
  }
}
