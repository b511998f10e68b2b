import type { Bus } from '../bus/bus.ts';
import type { BusOptions } from '../bus/options/options.ts';
import { toError } from '../core/errors.ts';
import type { BusEvent } from '../core/events.ts';
import { TestCluster } from './cluster.ts';
import { Disk, FaultySource } from './disk.ts';

/** What can befall a cluster. */
export type FaultKind =
  /** The cable between two nodes is pulled, and put back some steps later. */
  | 'cut'
  /** Nothing arrives in one direction. */
  | 'cut-one-way'
  /** A connection breaks, with all that was under way on it. */
  | 'reset'
  /** A process ends, and is started again some steps later. */
  | 'crash'
  /** A machine ends: what its disk had not confirmed may be gone. */
  | 'power-off'
  /** A process closes in order, and is started again. */
  | 'restart'
  /** A write fails, and stands on the disk or does not. */
  | 'disk-fails'
  /** A disk takes nothing for a while. */
  | 'disk-full'
  /** A calendar is put wrong, by up to a minute. */
  | 'clock-jump';

/** Every fault. */
export const faultKinds: readonly FaultKind[] = [
  'cut',
  'cut-one-way',
  'reset',
  'crash',
  'power-off',
  'restart',
  'disk-fails',
  'disk-full',
  'clock-jump',
];

/** A node of a scenario. */
export interface SimulatedNode {
  /** Whether it has a disk. */
  readonly store: boolean;
  readonly options?: BusOptions;
}

/** What is simulated, and what must hold. */
export interface Scenario {
  /** By name; the first one leads. */
  readonly nodes: Readonly<Record<string, SimulatedNode>>;
  /** A node has been started, for the first time or again: subscribe, define, spawn. What it throws is noted, no violation. */
  start(node: string, bus: Bus, simulation: Simulation): unknown;
  /** Traffic: called before each fault. Do not await what may take time: note what becomes of it. */
  step(simulation: Simulation): unknown;
  /** Whether everything that is to happen has, once all is well again; asked every virtual second. @default after 30 s */
  done?(simulation: Simulation): boolean;
  /** What is wrong, in the end. */
  check(simulation: Simulation): readonly string[] | Promise<readonly string[]>;
}

/** What {@link simulate} takes. */
export interface SimulationOptions {
  /** Decides everything: the same seed, scenario and build give the same run. */
  readonly seed: number;
  /** How many faults, about. @default 12 */
  readonly steps?: number;
  /** @default all of them */
  readonly faults?: readonly FaultKind[];
  /** How long bytes travel, in milliseconds; the order of one connection stays. @default 1 to 8 */
  readonly delay?: { readonly min: number; readonly max: number };
  /** Whether the schedule tells of every message, too: for a seed that has failed. @default false */
  readonly trace?: boolean;
}

/** What has become of a run. */
export interface SimulationResult {
  readonly seed: number;
  /** Empty: every promise was kept. */
  readonly violations: readonly string[];
  /** What happened, and when, in virtual milliseconds. */
  readonly schedule: readonly string[];
}

/** A node's process, from its start to its end. */
export interface SimulatedLife {
  readonly bus: Bus;
  readonly source: FaultySource | undefined;
  readonly events: readonly BusEvent[];
  /** Whether the process is there: what a handler does after its end never happened. */
  alive: boolean;
}

/** How long everything may take to be done after all is well again, in virtual seconds. */
const longestEnd = 240;
const pauses = [1, 5, 20, 100, 500, 2_000, 6_000];

/** A cluster under faults, on a virtual clock. */
export class Simulation extends TestCluster {
  readonly seed: number;
  readonly schedule: string[] = [];
  readonly violations: string[] = [];
  readonly #scenario: Scenario;
  readonly #traces: boolean;
  readonly #lives = new Map<string, SimulatedLife>();
  readonly #disks = new Map<string, Disk>();
  /** Pairs of nodes, by their names. */
  readonly #cuts = new Map<string, readonly [string, string]>();

  constructor(scenario: Scenario, { seed, delay = { min: 1, max: 8 }, trace = false }: SimulationOptions) {
    super({ seed, delay });
    this.seed = seed;
    this.#scenario = scenario;
    this.#traces = trace;
  }

  /** The names of all nodes, the leader's first. */
  get names(): string[] {
    return Object.keys(this.#scenario.nodes);
  }

  get leading(): string {
    return this.names[0] as string; // a scenario has nodes
  }

  /** The present life of a node; undefined while it is down. */
  life(node: string): SimulatedLife | undefined {
    return this.#lives.get(node);
  }

  /** A whole number from 0 to one less than `sides`. */
  dice(sides: number): number {
    return Math.floor(this.clock.random() * sides);
  }

  pick<T>(choices: readonly T[]): T | undefined {
    return choices[this.dice(choices.length)];
  }

  /** Writes something into the schedule. */
  note(text: string): void {
    this.schedule.push(`${this.clock.monotonic().toFixed(1)} ${text}`);
  }

  /** Writes something into the schedule that only who looks for a fault wants to know. */
  trace(text: string): void {
    if (this.#traces) this.note(`  ${text}`);
  }

  /** Something is not as it was promised. */
  violation(text: string): void {
    this.note(`VIOLATION ${text}`);
    this.violations.push(text);
  }

  /** Starts a node that is down. @returns whether it runs. */
  async begin(node: string): Promise<boolean> {
    const plan = this.#scenario.nodes[node];
    if (plan === undefined || this.#lives.has(node)) return false;
    let source: FaultySource | undefined;
    if (plan.store) {
      const disk = this.#disks.get(node) ?? new Disk();
      this.#disks.set(node, disk);
      source = new FaultySource(disk, this.clock, this.seed % 3);
    }
    const given = { service: 'sim', joinTimeout: 5_000, ...plan.options };
    let bus: Bus;
    try {
      bus = await (node === this.leading ? this.leader(node, given, source) : this.leaf(node, given, source));
    } catch (error) {
      this.note(`${node} does not start: ${toError(error).message}`);
      return false;
    }
    const events: BusEvent[] = [];
    bus.on('*', (event) => {
      events.push(event);
      const { type, ...about } = event;
      this.trace(`${node} ${type} ${JSON.stringify(about)}`);
    });
    const life: SimulatedLife = { bus, source, events, alive: true };
    this.#lives.set(node, life);
    try {
      await this.until(Promise.resolve(this.#scenario.start(node, bus, this)));
    } catch (error) {
      this.note(`${node} started, but not all of it: ${toError(error).message}`);
    }
    return true;
  }

  /** Ends a node's process at once. @param power whether its machine ends with it. */
  async end(node: string, power: boolean): Promise<void> {
    const life = this.#lives.get(node);
    if (life === undefined) return;
    life.alive = false;
    this.#lives.delete(node);
    if (life.source !== undefined) {
      life.source.dead = true;
      if (power) life.source.disk.powerOff(this.clock.random());
    }
    await this.kill(
      life.bus,
      this.names.filter((other) => other !== node),
    );
    for (const pair of this.#cuts.values()) this.network.cut(...pair);
  }

  /** Lets something happen. */
  async befall(kind: FaultKind): Promise<void> {
    const up = [...this.#lives.keys()];
    const node = this.pick(up);
    switch (kind) {
      case 'cut':
      case 'cut-one-way':
      case 'reset': {
        const pair = this.#pair(up);
        if (pair === undefined) return;
        this.note(`${kind} ${pair.join(' ')}`);
        if (kind === 'reset') {
          this.network.reset(...pair);
          return;
        }
        this.#cuts.set([...pair].sort().join(' '), pair);
        if (kind === 'cut') this.network.cut(...pair);
        else this.network.cut(...pair, 'forth');
        return;
      }
      case 'crash':
      case 'power-off':
        if (node === undefined) return;
        this.note(`${kind} ${node}`);
        await this.end(node, kind === 'power-off');
        return;
      case 'restart': {
        const life = node === undefined ? undefined : this.#lives.get(node);
        if (node === undefined || life === undefined) return;
        this.note(`restart ${node}`);
        await this.until(life.bus.close({ timeout: 1_000 })).catch((error: unknown) => this.note(String(error)));
        life.alive = false;
        this.#lives.delete(node);
        await this.begin(node);
        return;
      }
      case 'disk-fails':
      case 'disk-full': {
        const life = this.#lives.get(this.pick(up.filter((each) => this.#lives.get(each)?.source)) ?? '');
        if (life?.source === undefined) return;
        this.note(`${kind} ${life.bus.node}`);
        const { behaviour } = life.source;
        if (kind === 'disk-full') behaviour.full = true;
        else behaviour.faults = new Map([[this.dice(3), this.dice(2) === 0 ? 'lost' : 'applied']]);
        return;
      }
      case 'clock-jump':
        if (node === undefined) return;
        this.skews.set(node, Math.floor((this.clock.random() - 0.5) * 120_000));
        this.note(`clock-jump ${node}: ${this.skews.get(node)} ms off`);
        return;
    }
  }

  /** Makes some of it good. */
  async recover(): Promise<void> {
    const down = this.names.filter((each) => !this.#lives.has(each));
    const back = this.pick(down);
    if (back !== undefined && this.dice(2) === 0) {
      this.note(`start ${back}`);
      await this.begin(back);
    }
    const whole = this.pick([...this.#cuts]);
    if (whole !== undefined && this.dice(2) === 0) this.#heal(...whole);
    for (const { source } of this.#lives.values()) if (this.dice(2) === 0) this.#repair(source);
  }

  /** Makes everything good. */
  async heal(): Promise<void> {
    this.note('all is well again');
    for (const cut of [...this.#cuts]) this.#heal(...cut);
    for (const { source } of this.#lives.values()) this.#repair(source);
    this.skews.clear();
    for (let i = 0; i < 5 && this.names.some((each) => !this.#lives.has(each)); i++) {
      for (const node of this.names) await this.begin(node);
    }
  }

  /** Runs the scenario to its end. */
  async run(steps: number, faults: readonly FaultKind[]): Promise<void> {
    for (const node of this.names) await this.begin(node);
    await this.clock.advance(500);
    for (let i = 0; i < steps; i++) {
      await this.#scenario.step(this);
      const kind = this.pick(faults);
      if (kind !== undefined) await this.befall(kind);
      await this.clock.advance(this.pick(pauses) ?? 1);
      await this.recover();
    }
    await this.heal();
    for (let s = 0; s < longestEnd; s++) {
      await this.clock.advance(1_000);
      if (this.#scenario.done?.(this) ?? s >= 30) break;
    }
    for (const text of await this.until(Promise.resolve(this.#scenario.check(this)))) this.violation(text);
  }

  /** Two nodes, in some order; most often one of them leads. */
  #pair(up: readonly string[]): [string, string] | undefined {
    const one = this.pick(up.filter((each) => each !== this.leading));
    if (one === undefined) return undefined;
    const others = this.names.filter((each) => each !== one && each !== this.leading);
    const other = this.dice(3) === 0 ? (this.pick(others) ?? this.leading) : this.leading;
    return this.dice(2) === 0 ? [one, other] : [other, one];
  }

  #heal(key: string, pair: readonly [string, string]): void {
    this.#cuts.delete(key);
    this.note(`heal ${key}`);
    this.network.heal(...pair);
  }

  #repair(source: FaultySource | undefined): void {
    if (source === undefined) return;
    source.behaviour.full = false;
    source.behaviour.faults = new Map();
  }
}

/**
 * Runs a scenario under one seed: a cluster on a virtual clock, whose nodes are cut off, killed and started again, whose disks
 * fail and whose calendars jump, and which is whole again in the end.
 *
 * @example
 * const { violations, schedule } = await simulate(scenario, { seed: 42 });
 * assert.deepEqual(violations, [], schedule.join('\n'));
 */
export async function simulate(scenario: Scenario, options: SimulationOptions): Promise<SimulationResult> {
  const simulation = new Simulation(scenario, options);
  const { seed, schedule, violations } = simulation;
  try {
    await simulation.run(options.steps ?? 12, options.faults ?? faultKinds);
  } catch (error) {
    simulation.violation(`it went wrong: ${toError(error).stack}`);
  }
  await simulation.close().catch((error: unknown) => simulation.violation(`it did not close: ${String(error)}`));
  return { seed, violations, schedule };
}
