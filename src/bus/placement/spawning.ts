import type { Move } from '../../cluster/placement.ts';
import { place } from '../../cluster/placement.ts';
import { unplaceable } from '../../cluster/placement-errors.ts';
import { following } from '../../cluster/placement-table.ts';
import type { SpawnRequest } from '../../cluster/placements-host.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import { hexOf } from '../../core/hex.ts';
import type { Logger } from '../../core/log.ts';
import { checkName } from '../../core/topic.ts';
import { patternFromWire } from '../../routing/pattern.ts';
import { placement as isEntry, type PlacementEntry, type PlacementSpec } from '../../wire/placement-entry.ts';
import type { Durables } from '../durable/durables.ts';
import { checkSize } from '../network/registry-allowance.ts';
import { askedPolicy } from '../options/definition.ts';
import { dataOf, type ResolvedSpawn, resolveSpawn, type SpawnOptions } from '../options/spawn-options.ts';
import { type NodeInfo, type NodeVerdict, Placement, type PlacementDriver } from './placement.ts';
import type { Placing } from './placing.ts';

/** What spawning needs of the bus. */
export interface SpawningHost {
  readonly node: string;
  readonly incarnation: string;
  readonly durability: 'fsync' | 'os';
  readonly clock: Clock;
  readonly log: Logger;
  readonly placing: Placing;
  readonly durables: Durables;
  /** The leader: this node itself, another one, or undefined while there is none that can be asked. */
  leader(): string | undefined;
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown>;
  /** Resolves when every member in reach knows what this one, the leader, has decided; after `timeout` milliseconds at the latest. */
  told(timeout: number): Promise<unknown>;
}

/** How long the leader may take to answer beside the time that it is given, in milliseconds. */
const answerTime = 5000;
/** How many requests that were taken back are remembered. */
const mostRevoked = 1000;
/** How long to wait before the leader is asked again, in milliseconds. */
const again = 50;

/** Asks the leader for what it decides: what runs where. */
export class Spawning implements PlacementDriver {
  readonly #host: SpawningHost;
  /**
   * What was asked for in vain, name by id, the latest last. Every leader is told as soon as it is found: one that crashed may
   * have begun it, and its successor learn of that from others.
   */
  readonly #revoked = new Map<string, string>();
  /** Those of which the present leader has not been told. */
  readonly #untold = new Set<string>();
  /** What is asked for at the moment: name by id. */
  readonly #asking = new Map<string, string>();
  #revoking = false;

  constructor(host: SpawningHost) {
    this.#host = host;
  }

  get table(): Placing['table'] {
    return this.#host.placing.table;
  }

  /** @throws {BusError} `UNPLACEABLE`, `NAME_TAKEN`, `NO_LEADER`, `TIMEOUT`, and what declaring a subscription throws. */
  async spawn(kind: string, options: SpawnOptions): Promise<Placement> {
    const resolved = this.#resolved(kind, options);
    await this.#spawn(resolved);
    return new Placement(this, resolved.name);
  }

  #resolved(kind: string, options: SpawnOptions): ResolvedSpawn {
    const { clock, durables } = this.#host;
    return resolveSpawn(
      kind,
      options,
      (name) => durables.fullName(name),
      (length) => clock.randomBytes(length),
    );
  }

  async #spawn({ name, unnamed, spec, pending, wait, subscription }: ResolvedSpawn): Promise<void> {
    const { clock, node, incarnation, durables } = this.#host;
    if (subscription !== undefined && spec.pattern !== undefined) {
      // Before anybody consumes it, so that nothing is missed.
      const policy = askedPolicy(subscription, this.#host.durability);
      await durables.declare(spec.durable as string, patternFromWire(spec.pattern), policy, subscription);
    }
    const id = hexOf(clock.randomBytes(8));
    const request: SpawnRequest = { name, id, spec, pending, ...(unnamed && { owner: { node, incarnation } }) };
    if (this.#host.leader() === undefined && unnamed) {
      await this.#spawnHere(request, wait);
      return;
    }
    this.#asking.set(id, name);
    try {
      await this.#ask(request, clock.monotonic() + wait);
    } finally {
      this.#asking.delete(id);
    }
  }

  async #ask(request: SpawnRequest, end: number): Promise<void> {
    const { clock, node } = this.#host;
    const { name, id } = request;
    let asked = false;
    for (;;) {
      const rest = end - clock.monotonic();
      try {
        const leader = this.#leader('spawn()');
        asked = true;
        if (leader === node) await this.#host.placing.placements.spawn(request, rest);
        else {
          const params = { ...request, timeout: rest };
          this.#learn(await this.#host.ask(leader, 'placement.spawn', params, rest + answerTime));
        }
        if (!this.#asking.has(id)) throw new BusError('CLOSED', `the bus closes: '${name}' was taken back`);
        return;
      } catch (error) {
        const code = error instanceof BusError ? error.code : undefined;
        const unknown = code === 'NO_LEADER' || code === 'NODE_UNREACHABLE';
        // The same request may come again: the leader knows it by its id.
        if (unknown && asked && end - clock.monotonic() > again) {
          await new Promise<void>((done) => void clock.timer(again, done));
          continue;
        }
        if (asked && code !== 'NAME_TAKEN') this.#revoke(name, id);
        throw error;
      }
    }
  }

  /** The bus closes: what is still asked for is taken back, as far as the leader can be told within `timeout` milliseconds. */
  async close(timeout: number): Promise<void> {
    const leader = this.#host.leader();
    if (leader === undefined) return;
    const own = leader === this.#host.node;
    await Promise.all(
      [...this.#asking].map(async ([id, name]) => {
        this.#asking.delete(id); // it is taken back, whatever comes of it
        if (own) this.#host.placing.placements.revoke(name, id);
        else await this.#host.ask(leader, 'placement.revoke', { name, id }, timeout).catch(() => undefined);
      }),
    );
    if (own) await this.#host.told(timeout);
  }

  /** Whether anything is asked for. */
  get asking(): boolean {
    return this.#asking.size > 0;
  }

  async tell(name: string, value: unknown, timeout: number): Promise<void> {
    const bytes = dataOf('tell()', value);
    const leader = this.#leader('tell()');
    if (leader === this.#host.node) return this.#host.placing.placements.tell(name, bytes, timeout);
    await this.#host.ask(leader, 'placement.tell', { name, value: bytes, timeout }, timeout + answerTime);
  }

  async stop(name: string, timeout: number): Promise<void> {
    const leader = this.#leader('stop()');
    try {
      if (leader === this.#host.node) await this.#host.placing.placements.stop(name, timeout);
      else this.#learn(await this.#host.ask(leader, 'placement.stop', { name, timeout }, timeout + answerTime));
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== 'NOT_FOUND' || this.table.entry(name) === undefined)
        throw error;
    }
  }

  /** Where something could run. */
  async explain(kind: string, options: SpawnOptions): Promise<NodeVerdict[]> {
    const { name, spec } = this.#resolved(kind, options);
    const leader = this.#leader('explainPlacement()');
    if (leader !== this.#host.node) {
      return (await this.#host.ask(leader, 'placement.explain', { name, spec }, answerTime)) as NodeVerdict[];
    }
    return this.#verdicts(name, spec);
  }

  async rebalance(name: string | undefined, lost: boolean, timeout: number): Promise<Move[]> {
    const leader = this.#leader('rebalance()');
    if (leader === this.#host.node) return this.#host.placing.placements.rebalance(name, lost, timeout);
    const params = { ...(name !== undefined && { name }), lost, timeout };
    return (await this.#host.ask(leader, 'placement.rebalance', params, timeout + answerTime)) as Move[];
  }

  async drain(node: string, undo: boolean, timeout: number): Promise<void> {
    if (node !== this.#host.node) {
      await this.#host.ask(node, 'placement.drain', { undo, timeout }, timeout + answerTime);
      return;
    }
    if (await this.#host.placing.drain(undo, timeout)) return;
    if (!undo) throw new BusError('TIMEOUT', `not everything had left '${node}' after ${timeout} ms; it goes on`);
  }

  async nodes(): Promise<NodeInfo[]> {
    const leader = this.#leader('nodes()');
    if (leader !== this.#host.node)
      return (await this.#host.ask(leader, 'placement.nodes', {}, answerTime)) as NodeInfo[];
    return this.#host.placing.placements
      .candidates()
      .map(({ kinds, ...rest }) => ({ ...rest, kinds: [...(kinds ?? [])] }));
  }

  /** Answers a request of another node; undefined when it is about something else. */
  answer(method: string, params: Readonly<Record<string, unknown>>, source: string): Promise<unknown> | undefined {
    if (!method.startsWith('placement.')) return undefined;
    return this.#answer(method, params, source);
  }

  /** The leader has been found: what it may have begun in vain is taken back. */
  found(): void {
    for (const id of this.#revoked.keys()) this.#untold.add(id);
    if (this.#untold.size > 0) void this.#sendRevoked();
  }

  async #answer(method: string, params: Readonly<Record<string, unknown>>, source: string): Promise<unknown> {
    const { placements } = this.#host.placing;
    if (method !== 'placement.drain' && this.#host.leader() !== this.#host.node) {
      throw new BusError('NO_LEADER', `node '${this.#host.node}' does not lead`);
    }
    const { name, id, spec, pending, owner, value, lost, timeout } = params;
    if (name !== undefined) checkName('placement', name);
    const time = typeof timeout === 'number' && timeout >= 0 && timeout <= 86_400_000 ? timeout : 0;
    switch (method) {
      case 'placement.spawn': {
        const entry = { name, id, version: 0, removed: false, spec, owner, generation: 0, assigned: [] };
        if (!isEntry(entry)) throw nonsense(method, source);
        checkSize(`placement '${String(name)}'`, entry);
        return placements.spawn({ ...(entry as PlacementEntry), pending: pending === true }, time);
      }
      case 'placement.revoke':
        if (typeof name !== 'string' || typeof id !== 'string') throw nonsense(method, source);
        placements.revoke(name, id);
        return undefined;
      case 'placement.tell':
        if (typeof name !== 'string' || !(value instanceof Uint8Array)) throw nonsense(method, source);
        return placements.tell(name, value, time);
      case 'placement.stop':
        if (typeof name !== 'string') throw nonsense(method, source);
        await placements.stop(name, time);
        return this.table.entry(name);
      case 'placement.explain': {
        const entry = { name, id: '', version: 0, removed: false, spec, generation: 0, assigned: [] };
        if (!isEntry(entry)) throw nonsense(method, source);
        return this.#verdicts(name as string, spec as PlacementSpec);
      }
      case 'placement.rebalance':
        return placements.rebalance(name as string | undefined, lost === true, time);
      case 'placement.drain':
        return this.drain(this.#host.node, params.undo === true, time);
      case 'placement.nodes':
        return this.nodes();
      default:
        throw new BusError('PROTOCOL_ERROR', `node '${this.#host.node}' knows no request ${describe(method)}`);
    }
  }

  #verdicts(name: string, spec: PlacementSpec): NodeVerdict[] {
    const reasons = this.#host.placing.placements.explain(name, spec);
    return [...reasons].map(([node, reason]) => ({
      node,
      fits: reason === undefined,
      ...(reason !== undefined && { reason }),
    }));
  }

  /** The leader's answer is known here at once, and not only with what it tells everybody. */
  #learn(entry: unknown): void {
    if (isEntry(entry)) this.table.apply(entry as PlacementEntry);
  }

  /** @throws {BusError} `NO_LEADER`. */
  #leader(what: string): string {
    const leader = this.#host.leader();
    if (leader !== undefined) return leader;
    throw new BusError('NO_LEADER', `${what} needs the leader, which decides what runs where, and it is away`);
  }

  /** Without a leader, what nobody else can have a name for may run here. */
  async #spawnHere({ name, id, spec, owner, pending }: SpawnRequest, wait: number): Promise<void> {
    const { placing, node, incarnation, clock } = this.#host;
    const { nodes, reasons } = place(name, spec, spec.instances, [], [placing.candidate]);
    if (nodes.length < spec.instances && !pending) {
      const why = 'cannot be placed without the leader, which is away, but on this node';
      throw unplaceable(name, spec, nodes.length, reasons, why);
    }
    const version = following(0, 0);
    const assigned = nodes.map((_, instance) => ({
      instance,
      node,
      incarnation,
      generation: instance + 1,
      state: 'starting' as const,
      settings: 0,
    }));
    this.table.apply({
      name,
      id,
      version,
      removed: false,
      spec,
      ...(owner && { owner }),
      generation: nodes.length,
      assigned,
    });
    const end = clock.monotonic() + wait;
    const mine = () => [...placing.hosting].filter((each) => each.id === id).map(({ report }) => report);
    while (!mine().every(({ state }) => state === 'running')) {
      const failed = mine().find(({ state }) => state === 'failed');
      const late = clock.monotonic() >= end;
      if (failed === undefined && !late) {
        await new Promise<void>((done) => void clock.timer(again / 5, done));
        continue;
      }
      this.table.apply({ name, id, version: version + 1, removed: true, spec, generation: nodes.length, assigned: [] });
      if (failed === undefined) throw new BusError('TIMEOUT', `'${name}' did not start within ${wait} ms`);
      throw unplaceable(name, spec, 0, new Map([[node, failed.error ?? 'it failed']]), 'did not start');
    }
  }

  #revoke(name: string, id: string): void {
    this.#revoked.set(id, name);
    this.#untold.add(id);
    if (this.#revoked.size > mostRevoked) this.#revoked.delete(this.#revoked.keys().next().value as string); // it is not empty
    void this.#sendRevoked();
  }

  async #sendRevoked(): Promise<void> {
    if (this.#revoking) return;
    this.#revoking = true;
    try {
      for (const id of this.#untold) {
        const name = this.#revoked.get(id) ?? '';
        const leader = this.#host.leader();
        if (leader === undefined) return; // told when there is one
        if (leader === this.#host.node) this.#host.placing.placements.revoke(name, id);
        else await this.#host.ask(leader, 'placement.revoke', { name, id }, answerTime).catch(unlessUnknown);
        this.#untold.delete(id);
      }
    } catch (err) {
      this.#host.log.debug({ err }, 'the leader was not told what is not wanted any more');
      this.#host.clock.timer(1000, () => void this.#sendRevoked()).unref();
    } finally {
      this.#revoking = false;
    }
  }
}

function nonsense(method: string, node: string): BusError {
  return new BusError('PROTOCOL_ERROR', `node '${node}' has sent a '${method}' that makes no sense`);
}

/** A leader of a build that places nothing knows no such request, and has begun nothing. */
function unlessUnknown(error: unknown): void {
  if (!(error instanceof BusError) || error.code !== 'PROTOCOL_ERROR') throw error;
}
