import type { Context, StagedOptions } from '../actors/delivery.ts';
import { BusError, describe, type Receipt } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import type { StandardSchema } from '../core/schema.ts';
import { checkName } from '../core/topic.ts';
import type { Destination, PayloadFor } from '../routing/typed-topic.ts';

/** What an instance of a kind can do. Every member may be left out. */
export interface HandlerActor<T = unknown> {
  /**
   * Any validator that implements Standard Schema: `onMessage` gets what it makes of each payload; what does not fit becomes a
   * dead letter at once, with the reason `invalid`. @default none
   */
  readonly schema?: StandardSchema<unknown, T>;
  /** Before its first message. What it throws fails the instance. */
  onStart?(): unknown;
  /** One message: returning or resolving acknowledges it; throwing or rejecting has it tried again. */
  onMessage?(message: Message<T>, context: Context): unknown;
  /**
   * What `placement.tell()` said last: after `onStart`, and whenever it is told. Never while a message is handled. What it
   * throws fails the instance.
   */
  onTell?(value: unknown): unknown;
  /** At its end, after its last message; not when it has failed. */
  onStop?(): unknown;
}

/** What an instance gets at its start. */
export interface ActorContext {
  /** This node. */
  readonly node: string;
  readonly kind: string;
  /** The placement's name. */
  readonly placement: string;
  /** Which one of the placement's instances it is, from 0. */
  readonly instance: number;
  /** Grows with each start in the cluster: of two that claim to be the same instance, the higher one is. */
  readonly generation: number;
  /** What `spawn()` was given. */
  readonly args: unknown;
  /** Bears kind, placement, instance and generation. */
  readonly log: Logger;
  /** Aborted when the instance ends, for whatever reason. */
  readonly signal: AbortSignal;
  /** Publishes in the name of this node, as `bus.publish()`; within `onMessage` the message's own context stages. */
  publish<D extends Destination>(topic: D, payload: PayloadFor<D>, options?: StagedOptions): Promise<Receipt>;
  /** Gives this instance up: a fresh one takes its place, unless the placement says `restart: false`. */
  fail(error: unknown): void;
  /** @internal How long an attempt may take, in milliseconds. */
  readonly timeout: number;
}

/** Makes an instance. Called anew at every start: what it keeps is its own. */
export type Kind<T = unknown> = (context: ActorContext) => HandlerActor<T> | Promise<HandlerActor<T>>;

/** A kind that a file makes. */
export interface ModuleKind {
  /**
   * The file, whose default export is a {@link Kind}: an absolute path, one relative to the working directory of the
   * process, or a `file:` URL.
   */
  module: string | URL;
  /**
   * `'process'` runs each instance in a process of its own: one that blocks past its attempt's time, leaks, or exits ends
   * alone, and is started again. `'none'` imports the file into this process. @default 'process'
   */
  isolation?: 'process' | 'none';
  /**
   * The limit of the process' heap, in MiB, from 16 to 65,536. On Linux its whole memory may be 64 MiB more than that.
   * @default 128
   */
  memory?: number;
  /** How long the process may take to start, import the file and make its actor, in milliseconds. @default 10_000 */
  start?: number;
}

/** The kinds of handler actors that a node can run: registered by name, they never travel as code. */
export class Kinds {
  readonly #byName = new Map<string, Kind>();
  readonly #make: (name: string, options: ModuleKind) => Kind;
  readonly #changed: () => void;

  /**
   * @param make the kind that a file has.
   * @param changed there is one more, or one less.
   */
  constructor(make: (name: string, options: ModuleKind) => Kind, changed: () => void) {
    this.#make = make;
    this.#changed = changed;
  }

  /**
   * Registers a kind on this node: from now on placements of it may come here.
   *
   * @param kind a function that makes an actor in this process, or a file that has one, by default for processes of its own.
   * @throws {BusError} `NAME_INVALID`, `NAME_TAKEN`, `OPTION_INVALID`, also for a file that does not exist.
   * @example bus.handlers.define('resize', { module: './resize.js', memory: 256 })
   */
  define<T = unknown>(name: string, kind: Kind<T> | ModuleKind): void {
    checkName('kind', name);
    const made = typeof kind === 'function' ? (kind as Kind) : this.#make(name, kind);
    if (this.#byName.has(name)) throw new BusError('NAME_TAKEN', `this node defines the kind '${name}' already`);
    this.#byName.set(name, made);
    this.#changed();
  }

  /** Takes a kind back: what runs of it here moves. @throws {BusError} `NOT_FOUND`. */
  remove(name: string): void {
    if (!this.#byName.delete(name))
      throw new BusError('NOT_FOUND', `this node does not define the kind ${describe(name)}`);
    this.#changed();
  }

  /** The names of all that there are. */
  get names(): string[] {
    return [...this.#byName.keys()].sort();
  }

  /** @internal */
  get(name: string): Kind | undefined {
    return this.#byName.get(name);
  }
}
