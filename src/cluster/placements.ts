import type { Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { within } from '../core/within.ts';
import type { PartChange } from '../wire/frame.ts';
import type { About, Assignment, InstanceReport, PlacementEntry, PlacementSpec } from '../wire/placement-entry.ts';
import { absent, inOrder, keyOf, same } from './assignments.ts';
import { Departures } from './departures.ts';
import { PendingNotes } from './pending-notes.ts';
import { type Candidate, explain, Load, type Move, type Placed, place, rebalance, unfit } from './placement.ts';
import { specDifferences, unplaceable } from './placement-errors.ts';
import { following } from './placement-table.ts';
import type { PlacementsHost, SpawnRequest } from './placements-host.ts';
import type { Member } from './registry.ts';
import { Until } from './until.ts';
import { Wanted } from './wanted.ts';

/** How many moves are under way at most. */
const mostMoves = 3;
/** How many requests that were taken back are remembered. */
const mostRevoked = 10_000;

/**
 * Decides what runs where. Only the leader has one that acts, or a bus that stands alone. It writes what it wants into the
 * table of placements, which reaches every node; nodes do as the table says, and report. So nothing depends on any message
 * arriving, but on what is known in the end.
 */
export class Placements {
  readonly #host: PlacementsHost;
  readonly #about = new Map<string, { incarnation: string; about: About }>();
  readonly #departures: Departures;
  /** Instances that have lost their node, or are losing it: what starts in their place is a move. */
  readonly #displaced = new Set<string>();
  readonly #wanted = new Wanted();
  readonly #revoked = new Set<string>();
  readonly #notes: PendingNotes;
  /** What was reported before it was known what there is. */
  readonly #early: { node: string; incarnation: string; report: InstanceReport }[] = [];
  readonly #telling = new Map<string, Promise<unknown>>();
  readonly #until: Until;
  #leading = false;
  #settled = false;
  #scheduled = false;
  #timer: Timer | undefined;

  constructor(host: PlacementsHost) {
    this.#host = host;
    this.#until = new Until(host.clock);
    this.#notes = new PendingNotes((entry, missing, reasons) => host.pending(entry, missing, reasons));
    this.#departures = new Departures(host.down);
  }

  /** This node leads from now on. Nothing is moved before it has settled. */
  lead(): void {
    this.#leading = true;
    this.#departures.lead(this.#host.clock.monotonic());
  }

  /** Who runs what is known now. */
  settle(): void {
    this.#settled = true;
    for (const { node, incarnation, report } of this.#early.splice(0)) this.#report(node, incarnation, report);
    this.#changed();
  }

  /** Another node leads, or the bus closes. */
  resign(reason: BusError): void {
    this.#leading = this.#settled = false;
    this.#timer?.cancel();
    this.#until.abandon(reason);
    this.#about.clear();
    this.#early.length = 0;
    this.#displaced.clear();
    this.#wanted.clear();
  }

  /** A node has come, or is another one than before. */
  arrived(member: Member): void {
    this.#departures.back(member);
    this.#changed();
  }

  /** A node has left, or is down. */
  departed(member: Member, how: 'down' | 'left'): void {
    const { node, incarnation } = member;
    this.#departures.left(member, how, this.#host.clock.monotonic());
    if (this.#about.get(node)?.incarnation === incarnation) this.#about.delete(node);
    this.#changed();
  }

  /** A node has said what it is, and what has become of instances that were given to it. */
  told({ node, incarnation }: Member, { about, instances = [] }: Pick<PartChange, 'about' | 'instances'>): void {
    if (about !== undefined) this.#about.set(node, { incarnation, about });
    for (const report of instances) {
      // Somebody may still come who knows more of the placement: nothing is written before.
      if (this.#settled) this.#report(node, incarnation, report);
      else this.#early.push({ node, incarnation, report });
    }
    this.#changed();
  }

  /**
   * Has something run.
   *
   * @returns it, or what there is under this name already when that is the same.
   * @throws {BusError} `UNPLACEABLE`, `NAME_TAKEN`, `TIMEOUT`, `ABORTED`, `STORE_FULL`, `STORE_FAILED`: then nothing of it stays.
   */
  async spawn({ name, id, spec, owner, pending }: SpawnRequest, timeout: number): Promise<PlacementEntry> {
    const { table } = this.#host;
    const late = (what: string): BusError => new BusError('TIMEOUT', `'${name}' ${what} within ${timeout} ms`);
    const end = this.#host.clock.monotonic() + timeout;
    const rest = (): number => end - this.#host.clock.monotonic();
    // Instances of an earlier one of this name may still be stopping, and a leader may not yet know what there is.
    await this.#until.wait(
      () => this.#settled && !(table.entry(name)?.removed && table.entry(name)?.assigned.length !== 0),
      rest(),
      () => late('could not be placed: the leader waits for members of an earlier life, or for what was stopped,'),
    );
    if (this.#revoked.has(id)) throw new BusError('ABORTED', `'${name}' was taken back by who asked for it`);
    const existing = table.get(name);
    if (existing !== undefined && existing.id !== id) {
      const found = specDifferences(existing.spec, spec);
      if (found.length === 0) return existing;
      throw new BusError('NAME_TAKEN', `placement '${name}' exists and is another one: ${found.join('; ')}`);
    }
    if (existing === undefined) {
      const { nodes, reasons } = place(name, spec, spec.instances, this.#placed(), this.candidates());
      if (nodes.length < spec.instances && !pending) throw unplaceable(name, spec, nodes.length, reasons);
      const { version = 0, generation: last = 0 } = table.entry(name) ?? {};
      let generation = last;
      const assigned = nodes.map((node, instance) => {
        generation = following(generation, this.#host.term());
        return this.#assignment(instance, node, generation);
      });
      this.#write({ name, id, version, removed: false, spec, ...(owner && { owner }), generation, assigned });
      this.#changed();
    }
    const mine = (): PlacementEntry | undefined => (table.get(name)?.id === id ? table.get(name) : undefined);
    const failed = (): Assignment | undefined => mine()?.assigned.find(({ state }) => state === 'failed');
    const started = (): boolean => {
      const { assigned = [] } = mine() ?? {};
      return assigned.every(({ state }) => state === 'running') && (pending || assigned.length === spec.instances);
    };
    try {
      await this.#until.wait(
        () => !this.#scheduled && (mine() === undefined || failed() !== undefined || started()),
        rest(),
        () => late('did not start'),
      );
      // Or nobody might know of it after a crash.
      if (!(await within(this.#host.clock, Math.max(0, rest()), this.#host.kept()))) throw late('was not on disk');
      const entry = mine();
      if (entry === undefined) throw new BusError('ABORTED', `'${name}' was stopped before it had started`);
      const fault = failed();
      if (fault === undefined) return entry;
      const reasons = new Map([[fault.node, fault.error ?? 'it failed']]);
      throw unplaceable(name, spec, 0, reasons, 'did not start');
    } catch (error) {
      if (this.#settled && mine() !== undefined) this.#remove(name);
      throw error;
    }
  }

  /** Whoever asked for something does not want it any more, whether or not it was heard of here: a member may bring it yet. */
  revoke(name: string, id: string): void {
    if (this.#settled && this.#host.table.get(name)?.id === id) this.#remove(name);
    const [oldest] = this.#revoked;
    if (oldest !== undefined && this.#revoked.size >= mostRevoked) this.#revoked.delete(oldest);
    this.#revoked.add(id);
  }

  /** Ends a placement. Resolves when every instance has stopped, or is out of reach. @throws {BusError} `NOT_FOUND`, `TIMEOUT`. */
  async stop(name: string, timeout: number): Promise<void> {
    const { id } = await this.#known(name, timeout);
    this.#remove(name);
    await this.#until.wait(
      () => this.#host.table.entry(name)?.id !== id || this.#host.table.entry(name)?.assigned.length === 0,
      timeout,
      () => new BusError('TIMEOUT', `'${name}' was told to stop, and had not stopped after ${timeout} ms`),
    );
  }

  /** Tells every instance. Resolves when each has taken it. @throws {BusError} `NOT_FOUND`, `TIMEOUT`. */
  tell(name: string, value: Uint8Array, timeout: number): Promise<void> {
    const told = (this.#telling.get(name) ?? Promise.resolve()).then(() => this.#tell(name, value, timeout));
    const settled = told.catch(() => undefined);
    this.#telling.set(name, settled);
    void settled.then(() => this.#telling.get(name) === settled && this.#telling.delete(name));
    return told;
  }

  async #tell(name: string, value: Uint8Array, timeout: number): Promise<void> {
    const entry = await this.#known(name, timeout);
    const version = (entry.settings?.version ?? 0) + 1;
    this.#write({ ...entry, settings: { version, value } });
    await this.#until.wait(
      () => {
        const now = this.#host.table.get(name);
        return (
          now?.id !== entry.id ||
          now.assigned.every(({ state, settings }) => state !== 'running' || settings >= version)
        );
      },
      timeout,
      () => new BusError('TIMEOUT', `not every instance of '${name}' had taken what it was told within ${timeout} ms`),
    );
  }

  /** Why one more instance cannot start on each node; undefined where it can. */
  explain(name: string, spec: PlacementSpec): Map<string, string | undefined> {
    return explain(name, spec, this.#placed(), this.candidates());
  }

  /**
   * Moves what is unevenly spread. Resolves with what was moved. With `lost`, nodes that are down count as gone for good:
   * singletons that wait for an operator are placed anew.
   *
   * @throws {BusError} `NOT_FOUND`, `TIMEOUT`.
   */
  async rebalance(name: string | undefined, lost: boolean, timeout: number): Promise<Move[]> {
    if (name === undefined) await this.#settling(timeout);
    else await this.#known(name, timeout);
    if (lost) this.#departures.lose();
    const entries = [...this.#host.table.live()].filter(
      (each) => !each.removed && (name === undefined || each.name === name),
    );
    const specs = new Map(entries.map((each) => [each.name, each.spec]));
    const moves = rebalance(specs, this.#placed(), this.candidates());
    for (const { placement, instance, to } of moves) {
      const entry = this.#find(placement);
      this.#wanted.set(keyOf(entry.id, instance), to);
    }
    this.#changed();
    await this.#until.wait(
      () => !this.#scheduled && this.#wanted.size === 0 && this.#moves() === 0,
      timeout,
      () => new BusError('TIMEOUT', `not everything had moved after ${timeout} ms; it goes on`),
    );
    return moves;
  }

  /** Every node as placing sees it. */
  candidates(): Candidate[] {
    return [...this.#host.members()].map(({ node, incarnation, state }) => {
      const known = this.#about.get(node);
      const about = known?.incarnation === incarnation ? known.about : undefined;
      const { capabilities = {}, kinds, leaving = false } = about ?? {};
      return { node, state, leaving, kinds: kinds && new Set(kinds), capabilities };
    });
  }

  /** A leader that has just come waits for its members first. */
  #settling(timeout: number): Promise<void> {
    const late = (): BusError => new BusError('NO_LEADER', 'the leader has just come, and still waits for its members');
    return this.#until.wait(() => this.#settled, timeout, late);
  }

  async #known(name: string, timeout: number): Promise<PlacementEntry> {
    await this.#settling(timeout);
    return this.#find(name);
  }

  #find(name: string): PlacementEntry {
    const entry = this.#host.table.get(name);
    if (entry === undefined) throw new BusError('NOT_FOUND', `there is no placement '${name}'`);
    return entry;
  }

  #write(entry: PlacementEntry): void {
    this.#host.table.apply({ ...entry, version: following(entry.version, this.#host.term()) });
    this.#until.look();
  }

  #remove(name: string): void {
    const entry = this.#host.table.get(name);
    if (entry === undefined) return;
    this.#notes.forget(entry.id);
    const assigned = entry.assigned.map((each) => ({ ...each, state: 'stopping' as const }));
    for (let i = 0; i < entry.spec.instances; i++) {
      this.#wanted.forget(keyOf(entry.id, i));
      this.#displaced.delete(keyOf(entry.id, i));
    }
    this.#write({ ...entry, removed: true, assigned });
    this.#changed();
  }

  #report(node: string, incarnation: string, report: InstanceReport): void {
    const { id, instance, generation, state, settings, error } = report;
    const entry = this.#host.table.byId(id);
    const given = entry?.assigned.find((each) => each.instance === instance);
    if (entry === undefined || given === undefined || given.generation !== generation) return;
    if (given.node !== node || given.incarnation !== incarnation) return;
    const others = entry.assigned.filter((each) => each !== given);
    if (state === 'stopped') {
      if (!entry.removed) this.#displaced.add(keyOf(id, instance));
      this.#write({ ...entry, assigned: others });
      return;
    }
    if (given.state !== 'stopping' && (given.state !== state || given.settings !== settings || given.error !== error)) {
      const { error: _, ...same } = given;
      const now: Assignment = { ...same, state, settings, ...(error === undefined ? {} : { error }) };
      this.#write({ ...entry, assigned: inOrder([...others, now]) });
    }
    this.#displaced.delete(keyOf(id, instance));
  }

  /** Everything that runs, or is to. */
  #placed(): Placed[] {
    return [...this.#host.table.live()].flatMap(({ name, assigned }) =>
      assigned.map(({ instance, node }) => ({ placement: name, instance, node })),
    );
  }

  /** Something has changed: it is decided anew when everything that came with it is known. */
  #changed(): void {
    if (!this.#leading || this.#scheduled) return;
    this.#scheduled = true;
    this.#host.clock.immediate(() => {
      this.#scheduled = false;
      if (this.#settled) this.#decide();
      this.#until.look();
    });
  }

  #assignment(instance: number, node: string, generation: number): Assignment {
    const member = [...this.#host.members()].find((each) => each.node === node) as Member; // a candidate is a member
    return { instance, node, incarnation: member.incarnation, generation, state: 'starting', settings: 0 };
  }

  #moves(): number {
    let count = 0;
    for (const { id, removed, assigned } of this.#host.table.live()) {
      if (removed) continue;
      for (const { instance, state } of assigned) {
        if (state === 'stopping' || (state === 'starting' && this.#displaced.has(keyOf(id, instance)))) count++;
      }
    }
    return count;
  }

  #decide(): void {
    const now = this.#host.clock.monotonic();
    const members = new Map([...this.#host.members()].map((each) => [each.node, each]));
    const candidates = new Map(this.candidates().map((each) => [each.node, each]));
    // One for all of them: made anew for each, it would take a time that grows with the square of their number.
    const load = new Load(this.#placed());
    let room = mostMoves - this.#moves();
    let next = Number.POSITIVE_INFINITY;
    for (const entry of [...this.#host.table.live()]) {
      const { id, name, spec, owner } = entry;
      const ends = owner && !entry.removed ? this.#departures.lostAt(owner, undefined, members.get(owner.node)) : next;
      if (ends > now) next = Math.min(next, ends);
      // A member has brought what was taken back, or whom it was for has gone.
      if (!entry.removed && (ends <= now || this.#revoked.has(id))) {
        this.#remove(name); // and looked at again
        continue;
      }
      let assigned = entry.assigned.filter((each) => {
        const due = this.#departures.lostAt(each, spec, members.get(each.node));
        if (due > now) next = Math.min(next, due);
        else {
          load.remove(name, each.node);
          if (!entry.removed) this.#displaced.add(keyOf(id, each.instance));
        }
        return due > now;
      });
      let { generation } = entry;
      if (!entry.removed) {
        assigned = assigned.map((each) => {
          if (each.state === 'stopping' || room <= 0) return each;
          const candidate = candidates.get(each.node);
          if (candidate === undefined) return each; // it is away, and not lost yet
          if (unfit(spec, candidate) === undefined && !this.#wanted.has(keyOf(id, each.instance))) return each;
          room--;
          return { ...each, state: 'stopping' };
        });
        const startable = absent(spec.instances, assigned).filter(
          (i) => !this.#displaced.has(keyOf(id, i)) || room-- > 0,
        );
        const { nodes, reasons } = place(name, spec, startable.length, load, [...candidates.values()]);
        room += startable.slice(nodes.length).filter((i) => this.#displaced.has(keyOf(id, i))).length;
        for (const [i, node] of nodes.entries()) {
          const instance = startable[i] as number; // no more nodes than were asked for
          const target = this.#wanted.take(keyOf(id, instance), node, spec, candidates);
          load.remove(name, node);
          load.add(name, target);
          generation = following(generation, this.#host.term());
          assigned = [...assigned, this.#assignment(instance, target, generation)];
        }
        this.#notes.note(entry, startable.length - nodes.length, reasons);
      }
      if (generation !== entry.generation || !same(assigned, entry.assigned))
        this.#write({ ...entry, generation, assigned: inOrder(assigned) });
    }
    this.#timer?.cancel();
    if (Number.isFinite(next)) this.#timer = this.#host.clock.timer(next - now, () => this.#changed()).unref();
  }
}
