import type { Context, StagedOptions } from '../actors/delivery.ts';
import { BusError, describe, type Receipt } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import { checkName } from '../core/topic.ts';

/** What an instance of a kind can do. Every member may be left out. */
export interface HandlerActor<T = unknown> {
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
  publish(topic: string, payload: unknown, options?: StagedOptions): Promise<Receipt>;
  /** Gives this instance up: a fresh one takes its place, unless the placement says `restart: false`. */
  fail(error: unknown): void;
}

/** Makes an instance. Called anew at every start: what it keeps is its own. */
export type Kind = (context: ActorContext) => HandlerActor | Promise<HandlerActor>;

/** The kinds of handler actors that a node can run: registered by name, they never travel as code. */
export class Kinds {
  readonly #byName = new Map<string, Kind>();
  readonly #changed: () => void;

  /** @param changed there is one more, or one less. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  /**
   * Registers a kind on this node: from now on placements of it may come here.
   *
   * @throws {BusError} `NAME_INVALID`, `NAME_TAKEN`, `OPTION_INVALID`.
   */
  define(name: string, kind: Kind): void {
    checkName('kind', name);
    if (typeof kind !== 'function') {
      throw new BusError(
        'OPTION_INVALID',
        `the kind '${name}' is ${describe(kind)}, not a function that makes an actor`,
      );
    }
    if (this.#byName.has(name)) throw new BusError('NAME_TAKEN', `this node defines the kind '${name}' already`);
    this.#byName.set(name, kind);
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
