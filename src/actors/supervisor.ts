import { closeAll } from '../core/async.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { Lifecycle } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import { checkName } from '../core/topic.ts';
import { decideRestart, internals, type PartState, partTransitions, type RestartPolicy } from './restart.ts';
import { type ActorRef, type Behaviour, internal, maxChildren, type Place, type Runtime } from './runtime.ts';

/** What a part is and does. A part either has turns or takes children: actors on the path of messages have none. */
export interface PartSpec {
  /** `[A-Za-z0-9_.-]{1,128}`, unique below its parent. */
  readonly name: string;
  /**
   * Opens what the part owns; awaited, at first and at every restart. A start that fails closes itself what it opened.
   *
   * @param self the part, good for all its generations. It runs no turn, and takes no children, before this is done.
   */
  start?(self: ActorRef): void | Promise<void>;
  /**
   * Closes what the part owns; awaited. `'fault'`: a start may follow. `'end'`: for good, called once if the first start
   * succeeded, whatever came between, so it must not mind to find everything closed.
   */
  stop?(reason: 'fault' | 'end'): void | Promise<void>;
  /** One turn of its actor: synchronous and short. What it throws is a fault of the part, and restarts it. */
  turn?(): void;
  /** How often it is restarted. @default {@link internals} */
  readonly restart?: RestartPolicy;
  /** It has failed for good: called once each time. @default the parent's `giveUp`, at the top the supervisor's */
  giveUp?(error: unknown): void;
}

/** A part as plain data, for `bus.status()`. */
export interface TreeNode {
  readonly name: string;
  readonly path: string;
  readonly state: PartState;
  readonly generation: number;
  readonly restarts: number;
  /** How many children there are. */
  readonly size: number;
  readonly children: readonly TreeNode[];
}

/** What a supervisor needs. */
export interface SupervisorOptions {
  /** Where its actors live. It is not closed with the supervisor. */
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly log: Logger;
  /** A part failed for good, and neither it nor a part above it has a `giveUp`. Must not throw. */
  giveUp(error: unknown, path: string): void;
}

type Parts = Map<string, Part>;

/** A part in the tree, made by {@link Supervisor.add}. It is woken like an actor, whatever its present generation. */
export class Part implements ActorRef {
  readonly name: string;
  /** The names from the top down, joined by `/`: without generations, and without what a nursery puts in between. */
  readonly path: string;
  /** @internal */
  readonly children: Parts = new Map();
  /** @internal */
  readonly spec: PartSpec;
  /** @internal */
  readonly options: SupervisorOptions;
  readonly #siblings: Parts;
  readonly #parent: Part | undefined;
  readonly #place: Place | undefined;
  readonly #behaviour: Behaviour;
  readonly #life: Lifecycle<PartState>;
  #ref: ActorRef;
  #generation = 0;
  #restarts = 0;
  #history: readonly number[] = [];
  #timer: Timer | undefined;
  /** What is under way: a start, or the lowering and raising after a fault. Never rejects. */
  #work: Promise<unknown> = Promise.resolve();
  /** Whether the first start succeeded, so that a `stop('end')` is owed. */
  #started = false;
  #stopping: Promise<void> | undefined;

  /** @internal */
  constructor(options: SupervisorOptions, spec: PartSpec, siblings: Parts, parent?: Part, place?: Place) {
    this.name = spec.name;
    this.path = parent === undefined ? spec.name : `${parent.path}/${spec.name}`;
    this.spec = spec;
    this.options = options;
    this.#siblings = siblings;
    this.#parent = parent;
    this.#place = place;
    this.#life = new Lifecycle(`part '${this.path}'`, partTransitions, 'starting');
    this.#behaviour = { turn: () => this.#turn(), fault: (error) => this.fault(error) };
    this.#ref = this.#spawn();
    siblings.set(this.name, this);
  }

  get state(): PartState {
    return this.#life.state;
  }

  /** Whether it runs, or will by itself. */
  get alive(): boolean {
    return !this.#ending && this.#life.state !== 'failed';
  }

  /** The actor of the present generation; a dead one in `backoff`, `failed` and `stopped`. */
  get ref(): ActorRef {
    return this.#ref;
  }

  /** From 1; the actor is named `<name>.<generation>`. */
  get generation(): number {
    return this.#generation;
  }

  /** How often it was started again after a fault. */
  get restarts(): number {
    return this.#restarts;
  }

  /** How many children it has. */
  get size(): number {
    return this.children.size;
  }

  /**
   * Asks for a turn, of the next generation if need be: each generation gets one after its start, so nothing that came
   * meanwhile is stranded.
   *
   * @returns whether a turn will follow, unless the part fails or is stopped before.
   */
  wake(): boolean {
    return this.#life.state === 'running' ? this.#ref.wake() : this.alive;
  }

  /**
   * Reports a failure outside a turn, such as a listener's error event, as if a turn had thrown it. A part that has
   * children cannot be restarted under them: it is given up. Only logged when the part is not running.
   */
  fault(error: unknown): void {
    if (this.#life.state !== 'running') {
      this.#warn('a fault of a part that does not run', { err: error });
    } else if (this.size === 0) {
      this.#work = this.#fail(error);
    } else {
      this.#warn('a part with children failed', { err: error });
      this.#life.to('failed'); // its actor and what it owns carry its children: they stay until it is stopped
      this.#giveUp(error);
    }
  }

  /**
   * Gives a running part a new actor at once, and that one a turn: for a handler that never resolves. What the part
   * owns stays open, and it is no restart. False, and nothing happened, when it was not running; throws `INTERNAL` when
   * it has children.
   */
  replace(reason: string): boolean {
    if (this.#life.state !== 'running') return false;
    if (this.size > 0) throw internal(`part '${this.path}' has children and cannot be replaced`);
    void this.options.runtime.stop(this.#ref); // without children it cannot refuse
    this.#ref = this.#spawn();
    this.#ref.wake();
    this.#warn('an actor was replaced', { reason });
    return true;
  }

  /**
   * Starts a part that was given up once more, its failures forgotten. Resolves when it runs, or when it failed again
   * and its policy has taken over. Does nothing in any other state. `INTERNAL` when it has children.
   */
  async revive(): Promise<void> {
    if (this.#life.state !== 'failed') return;
    if (this.size > 0) throw internal(`part '${this.path}' has children and cannot be revived`);
    this.#life.to('backoff');
    this.#history = [];
    this.#work = this.#work.then(() => this.#raise());
    await this.#work;
  }

  /**
   * Stops it: no turn runs from now on; its children (the youngest first, each awaited), then what it owns, then its
   * actor. Must not be awaited by its own `start` or `stop`. Twice is harmless. Rejects with what failed to close,
   * after everything was tried.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** The part and what is below it, as plain data. */
  status(): TreeNode {
    const { name, path, state, generation, restarts } = this;
    return { name, path, state, generation, restarts, ...statusOf(this.children) };
  }

  /** @internal The first start. */
  async open(): Promise<void> {
    const start = this.#start();
    this.#work = start.catch(() => {}); // awaited below, where it is thrown
    try {
      await start;
      if (this.#ending) throw new BusError('CLOSED', `part '${this.path}' was stopped as it started`);
    } catch (error) {
      await this.stop().catch((err: unknown) => this.#warn('a part that did not start failed to stop', { err }));
      throw error;
    }
  }

  /** The actor of the next generation. */
  #spawn(): ActorRef {
    const under = this.#place?.under ?? this.#parent?.ref;
    return this.options.runtime.spawn(under, `${this.name}.${++this.#generation}`, this.#behaviour);
  }

  #turn(): void {
    if (this.#life.state === 'running') this.spec.turn?.();
  }

  async #start(): Promise<void> {
    await this.spec.start?.(this);
    this.#started = true;
    if (this.#life.state !== 'starting') return; // stopped meanwhile
    this.#life.to('running');
    this.#ref.wake();
  }

  /** Takes a part without children down after a fault, and sets off what its policy decides. */
  async #fail(error: unknown): Promise<void> {
    const { runtime, clock } = this.options;
    const opened = this.#life.state === 'running';
    const policy = this.spec.restart ?? internals;
    const decision = decideRestart(policy, this.#history, clock.monotonic(), clock.random());
    this.#life.to(decision.action === 'restart' ? 'backoff' : 'failed');
    await runtime.stop(this.#ref);
    this.#warn('a part failed', { next: decision.action, err: error });
    if (decision.action === 'giveUp') this.#giveUp(error);
    try {
      if (opened && !this.#ending) await this.spec.stop?.('fault');
    } catch (err) {
      this.#warn('a part failed to close after a fault', { err });
    }
    if (decision.action === 'giveUp' || this.#ending) return;
    this.#history = decision.history;
    this.#timer = clock.timer(decision.delay, () => {
      this.#work = this.#raise();
    });
  }

  /** Starts the next generation. */
  async #raise(): Promise<void> {
    if (this.#ending) return;
    this.#life.to('starting');
    this.#restarts++;
    try {
      this.#ref = this.#spawn();
      await this.#start();
    } catch (error) {
      if (this.#ending) this.#warn('a part that is being stopped failed to start', { err: error });
      else await this.#fail(error);
    }
  }

  /** Tells the nearest one that wants to know: itself, or one above. */
  #giveUp(error: unknown, path = this.path): void {
    try {
      if (this.spec.giveUp !== undefined) this.spec.giveUp(error);
      else if (this.#parent !== undefined) this.#parent.#giveUp(error, path);
      else this.options.giveUp(error, path);
    } catch (err) {
      this.#warn('giving up failed', { err });
    }
  }

  async #stop(): Promise<void> {
    this.#life.to('stopping');
    this.#timer?.cancel();
    try {
      await closeAll([
        ...youngestFirst(this.children.values()),
        () => this.#work,
        () => (this.#started ? this.spec.stop?.('end') : undefined),
        () => this.options.runtime.stop(this.#ref),
        () => this.#place?.release(),
      ]);
    } finally {
      this.#life.to('stopped');
      this.#siblings.delete(this.name);
    }
  }

  get #ending(): boolean {
    return this.#life.state === 'stopping' || this.#life.state === 'stopped';
  }

  /** A logger that throws must not keep a part from its restart. */
  #warn(text: string, fields: object): void {
    try {
      this.options.log.warn({ actor: this.path, generation: this.#generation, ...fields }, text);
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** Everything that the bus runs, as a tree of parts over a runtime: started in order, stopped in reverse, restarted. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #parts: Parts = new Map();
  readonly #life = new Lifecycle<PartState>('supervisor', partTransitions, 'running');
  #stopping: Promise<void> | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /**
   * Starts a part at the top or below `parent`, and resolves when it runs. When its start fails, its actor is stopped,
   * nothing is left, and the error thrown.
   *
   * @param takePlace where its actor shall live; called once it is clear that the part may be added. @default `parent`
   * @throws {BusError} `CLOSED` when this, or the parent, was stopped; `NAME_INVALID`; `INTERNAL` when the parent has a
   *   part of that name, has turns, does not run, is of another tree, or has {@link maxChildren} children and
   *   `takePlace` is not given.
   */
  async add(spec: PartSpec, parent?: Part, takePlace?: () => Place): Promise<Part> {
    const above = parent === undefined ? undefined : this.#own(parent);
    const siblings = above?.children ?? this.#parts;
    this.#admit(spec, above, siblings, takePlace !== undefined);
    const place = takePlace?.();
    let part: Part;
    try {
      part = new Part(this.#options, spec, siblings, above, place);
    } catch (error) {
      await place?.release();
      throw error;
    }
    await part.open(); // nothing is awaited before: a part that is stopped must not be opened after that
    return part;
  }

  /** Adds parts in order. When one fails to start, those before it are stopped in reverse, and the error thrown. */
  async addAll(specs: readonly PartSpec[], parent?: Part): Promise<Part[]> {
    const parts: Part[] = [];
    try {
      for (const spec of specs) parts.push(await this.add(spec, parent));
    } catch (error) {
      await closeAll([() => Promise.reject(error), ...youngestFirst(parts)]);
    }
    return parts;
  }

  /** The whole tree as plain data, under the runtime's name and an empty path. */
  status(): TreeNode {
    const { state } = this.#life;
    return { name: this.#options.runtime.name, path: '', state, generation: 1, restarts: 0, ...statusOf(this.#parts) };
  }

  /**
   * Stops every part: the youngest first, the leaves before what they hang on, each awaited. Parts that are still
   * starting are stopped as soon as they have started. Twice is harmless. Rejects with what failed to close, after
   * everything was tried.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#life.to('stopping');
    await closeAll(youngestFirst(this.#parts.values())).finally(() => this.#life.to('stopped'));
  }

  #admit(spec: PartSpec, above: Part | undefined, siblings: Parts, placed: boolean): void {
    checkName('part', spec.name);
    const where = above === undefined ? 'the supervisor' : `part '${above.path}'`;
    const state = this.#life.state === 'running' ? (above?.state ?? 'running') : this.#life.state;
    const refusal = `no part '${spec.name}': ${where}`;
    if (state === 'stopping' || state === 'stopped') throw new BusError('CLOSED', `${refusal} is ${state}`);
    if (state !== 'running') throw internal(`${refusal} is ${state}`);
    if (above?.spec.turn !== undefined) throw internal(`${refusal} has turns, and so no children`);
    if (siblings.has(spec.name)) throw internal(`${refusal} has one already`);
    if (!placed && siblings.size >= maxChildren) throw internal(`${refusal} has ${maxChildren} children`);
  }

  #own(part: Part): Part {
    if (part instanceof Part && part.options === this.#options) return part;
    throw internal(`part '${part.path}' is of another tree`);
  }
}

function statusOf(parts: Parts): Pick<TreeNode, 'size' | 'children'> {
  return { size: parts.size, children: [...parts.values()].map((part) => part.status()) };
}

function youngestFirst(parts: Iterable<Part>): (() => Promise<void>)[] {
  return [...parts].reverse().map((part) => () => part.stop());
}
