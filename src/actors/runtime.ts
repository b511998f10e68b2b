import { type ActorSystemName, dispatch, type Ref, spawn as spawnNact, start, stop as stopNact } from 'nact';
import { BusError, describe } from '../core/errors.ts';
import { type Logger, silentLogger } from '../core/log.ts';

/**
 * How many children an actor, and the runtime itself, may have. nact copies the map of children at every turn of their
 * parent: 312 k turns a second without children, 163 k with 100, 16 k with 1,000.
 */
export const maxChildren = 64;

/** One actor: a name, a place in the tree, and turns that never overlap. It holds no messages: see {@link ActorRef.wake}. */
export interface ActorRef {
  readonly name: string;
  /** The names from the top of the tree down to this one, joined by `/`. */
  readonly path: string;
  /** False once it was stopped; the ref of a stopped actor never reaches a later one of the same name. */
  readonly alive: boolean;
  /**
   * Asks for one turn soon. Wakes before that turn are one; a wake during a turn brings another turn.
   *
   * @returns whether a turn will follow: false when the actor was stopped, and then nothing happens. Never throws.
   */
  wake(): boolean;
}

/** What an actor does. */
export interface Behaviour {
  /** One turn: synchronous and short. */
  turn(): void;
  /** Gets what `turn` threw. The actor goes on; to stop it is for whoever supervises it. */
  fault(error: unknown): void;
}

/** A tree of actors, of which each runs one turn at a time. */
export interface Runtime {
  /** `<node>.<incarnation>`: no two runtimes of a process share it. */
  readonly name: string;
  /**
   * Starts an actor below `parent`, or at the top. It runs no turn before it is woken. A name is free again as soon as
   * its actor was stopped.
   *
   * @param name 1 to 144 of `A-Z a-z 0-9 _ . -`: any name of the bus (128), and room for a generation.
   * @throws {BusError} `NAME_INVALID`; `CLOSED` after `close()`; `INTERNAL` when the name is in use, the parent is
   *   stopped or of another runtime, or it has {@link maxChildren} children.
   */
  spawn(parent: ActorRef | undefined, name: string, behaviour: Behaviour): ActorRef;
  /**
   * Stops an actor that has no children. It is dead, and its name free, when the call returns; the promise resolves
   * when no turn can run any more, which is after the present one when the actor stops itself. Twice is harmless.
   *
   * @throws {BusError} `INTERNAL` while it has children, or when it is of another runtime.
   */
  stop(ref: ActorRef): Promise<void>;
  /** Stops all that is left, the youngest and the leaves first, and then the runtime. Twice is harmless. */
  close(): Promise<void>;
}

/** A place in a tree, lent to an actor and its successors. */
export interface Place {
  readonly under: ActorRef;
  /** The last of them was stopped. Called once. */
  release(): Promise<void>;
}

/** What every runtime is made with. */
export interface RuntimeOptions {
  /** `<node>.<incarnation>`: 1 to 257 of `A-Z a-z 0-9 _ . -`. */
  readonly name: string;
  /** Hears of a `fault` that threw. @default says nothing */
  readonly log?: Logger;
}

/** What can be asked for a turn: the driver's view of an actor. */
export interface Runnable {
  /** Runs one turn, or nothing when the actor was stopped. Never throws. */
  run(): void;
}

/** What differs between runtimes. `H` is what the driver calls an actor. Drivers hold no policy. */
export interface Driver<H> {
  /** Makes room for an actor; it must not run yet. */
  open(parent: H | undefined, name: string, actor: Runnable): H;
  /** Lets `run()` be called once, soon, and never within this call. */
  wake(handle: H): void;
  /** Gives the actor up. Its children have gone before. */
  close(handle: H): void;
  /** Gives the whole up. Its actors have gone before. */
  end(): void;
}

type ActorState = 'idle' | 'woken' | 'stopped';

/** The children by their names, in order of birth. */
type Children<H> = Map<string, Actor<H>>;

class Actor<H> implements ActorRef, Runnable {
  readonly name: string;
  readonly path: string;
  readonly children: Children<H> = new Map();
  /** The list that this one is in. */
  readonly siblings: Children<H>;
  readonly handle: H;
  readonly #tree: ActorTree<H>;
  readonly #behaviour: Behaviour;
  #state: ActorState = 'idle';

  constructor(tree: ActorTree<H>, parent: Actor<H> | undefined, name: string, behaviour: Behaviour) {
    this.name = name;
    this.path = parent === undefined ? name : `${parent.path}/${name}`;
    this.siblings = parent === undefined ? tree.top : parent.children;
    this.#tree = tree;
    this.#behaviour = behaviour;
    this.handle = tree.driver.open(parent?.handle, name, this);
    this.siblings.set(name, this);
  }

  get alive(): boolean {
    return this.#state !== 'stopped';
  }

  belongsTo(tree: unknown): boolean {
    return this.#tree === tree;
  }

  wake(): boolean {
    if (this.#state !== 'idle') return this.#state === 'woken';
    this.#state = 'woken';
    this.#tree.driver.wake(this.handle);
    return true;
  }

  run(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'idle';
    try {
      this.#behaviour.turn();
    } catch (error) {
      this.#fault(error);
    }
  }

  stop(): void {
    this.#state = 'stopped';
    this.siblings.delete(this.name);
    this.#tree.driver.close(this.handle);
  }

  #fault(error: unknown): void {
    try {
      this.#behaviour.fault(error);
    } catch (second) {
      this.#tree.report(
        { actor: this.path, err: second, cause: error },
        'an actor that faulted could not be supervised',
      );
    }
  }
}

const actorName = /^[A-Za-z0-9_.-]{1,144}$/;
const treeName = /^[A-Za-z0-9_.-]{1,257}$/;

/** The tree that all runtimes have in common: names, the limit of children, the order of stopping, and wakes. */
export class ActorTree<H> implements Runtime {
  readonly name: string;
  /** @internal */
  readonly driver: Driver<H>;
  /** @internal */
  readonly top: Children<H> = new Map();
  readonly #log: Logger;
  #closing: Promise<void> | undefined;

  /** @throws {BusError} `NAME_INVALID`, or what `makeDriver` throws. */
  constructor(options: RuntimeOptions, makeDriver: (name: string) => Driver<H>) {
    checkPattern('runtime', treeName, options.name);
    this.name = options.name;
    this.#log = options.log ?? silentLogger;
    this.driver = makeDriver(options.name);
  }

  spawn(parent: ActorRef | undefined, name: string, behaviour: Behaviour): ActorRef {
    checkPattern('actor', actorName, name);
    if (this.#closing !== undefined)
      throw new BusError('CLOSED', `no actor '${name}': runtime '${this.name}' is closed`);
    const above = parent === undefined ? undefined : this.#own(parent);
    if (above?.alive === false) throw internal(`no actor '${name}' below '${above.path}', which is stopped`);
    const siblings = above === undefined ? this.top : above.children;
    const where = above?.path ?? this.name;
    if (siblings.has(name)) throw internal(`'${where}' has an actor '${name}' already`);
    if (siblings.size >= maxChildren) throw internal(`no actor '${name}': '${where}' has ${maxChildren} children`);
    return new Actor(this, above, name, behaviour);
  }

  async stop(ref: ActorRef): Promise<void> {
    const actor = this.#own(ref);
    if (actor.children.size > 0) throw internal(`'${actor.path}' has ${actor.children.size} children: stop them first`);
    // Turns are synchronous, so what awaits this promise runs after the last of them, even if that one called.
    if (actor.alive) actor.stop();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** @internal For what went wrong where nobody can be told. */
  report(fields: object, text: string): void {
    try {
      this.#log.error(fields, text);
    } catch {
      // A logger that throws leaves nobody to tell.
    }
  }

  async #close(): Promise<void> {
    stopAll(this.top);
    this.driver.end();
  }

  #own(ref: ActorRef): Actor<H> {
    if (ref instanceof Actor && ref.belongsTo(this)) return ref;
    throw internal(`'${ref.path}' is no actor of runtime '${this.name}'`);
  }
}

function stopAll<H>(actors: Children<H>): void {
  for (const actor of [...actors.values()].reverse()) {
    stopAll(actor.children);
    actor.stop();
  }
}

function checkPattern(what: string, pattern: RegExp, name: string): void {
  if (!pattern.test(name)) {
    throw new BusError('NAME_INVALID', `${what} name ${describe(name)} must match ${pattern.source}`);
  }
}

/** A rule of the tree was broken: a bug of whoever called. */
export function internal(message: string): BusError {
  return new BusError('INTERNAL', message);
}

/** nact keeps its systems by name and lets a second one replace the first without a word, so the names are kept here. */
const liveSystems = new Set<string>();

/** Those that are to have a turn together. */
class Woken {
  #actors: Runnable[] = [];

  /** @returns whether it is the first. */
  add(actor: Runnable): boolean {
    return this.#actors.push(actor) === 1;
  }

  run(): void {
    const actors = this.#actors;
    this.#actors = [];
    for (const actor of actors) actor.run();
  }
}

/** An actor as nact knows it. */
interface Handle {
  readonly ref: Ref<unknown>;
  readonly actor: Runnable;
  /** Whose turns carry its own: its parent, if it has one. */
  readonly carrier: Handle | undefined;
  readonly woken: Woken;
}

/**
 * A runtime over nact, which lends its tree of names and its one-at-a-time scheduling. It never holds a message, never
 * sees an exception and never decides what follows a fault.
 *
 * A turn costs nact an immediate, a copy of the children's table and three promises. So actors that are woken together and
 * have the same parent have their turns in one of that parent's, one after the other: measured with 256 actors, a wake
 * costs a fifth. They run in the same phase of the event loop as they would one by one.
 *
 * @throws {BusError} `NAME_INVALID`; `INTERNAL` while another runtime of this process has the name.
 */
export function createRuntime(options: RuntimeOptions): Runtime {
  return new ActorTree(options, nactDriver);
}

function nactDriver(name: string): Driver<Handle> {
  if (liveSystems.has(name)) throw internal(`this process has a runtime '${name}' already`);
  liveSystems.add(name);
  // The types ask for a string here, but nact takes the name from an object and gives a string a random name.
  const system = start({ name } as unknown as ActorSystemName);
  return {
    open: (parent, child, actor) => {
      const place = parent === undefined ? system : parent.ref;
      const woken = new Woken();
      return { ref: spawnNact(place, turn, child, { initialState: woken }), woken, carrier: parent, actor };
    },
    wake: (handle) => {
      const { ref, woken } = handle.carrier ?? handle;
      if (woken.add(handle.actor)) dispatch(ref, undefined);
    },
    close: ({ ref }) => stopNact(ref),
    end: () => {
      stopNact(system);
      liveSystems.delete(name);
    },
  };
}

/** The handler of every nact actor. What it returns is the state that the next turn gets: nothing would erase it. */
function turn(woken: Woken): Woken {
  woken.run();
  return woken;
}
