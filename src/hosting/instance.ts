import { type Context, NotBegun } from '../actors/delivery.ts';
import { handlers, type RestartPolicy } from '../actors/restart.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import type { Part, PartSpec } from '../actors/supervisor.ts';
import { closeAll, deferred, isThenable } from '../core/async.ts';
import type { Clock } from '../core/clock.ts';
import { BusError, describe, type Receipt, toError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import type { Message } from '../core/message.ts';
import { within } from '../core/within.ts';
import type { InstanceReport, PlacementEntry } from '../wire/placement-entry.ts';
import { checkedActor } from './checked-actor.ts';
import { ProcessEnded } from './ended.ts';
import type { ActorContext, HandlerActor, Kind } from './kinds.ts';

/** A subscription that an instance consumes. */
export interface Feed {
  pause(): void;
  resume(): void;
  close(timeout: number): Promise<void>;
}

/** What an instance needs of its node. */
export interface InstanceHost {
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Gives it an actor. */
  employ(spec: PartSpec): Promise<Part>;
  /** Subscribes it to what its placement is for. */
  feed(entry: PlacementEntry, identity: Identity, handler: Handler): Promise<Feed>;
  publish: ActorContext['publish'];
  decode(bytes: Uint8Array): unknown;
  /** It runs, or has failed, or has taken other settings. */
  report(report: InstanceReport): void;
}

/** Which instance it is. */
export interface Identity {
  readonly instance: number;
  readonly generation: number;
}

/** How long `onStart`, `onTell` and `onStop` may take, in milliseconds. */
const patience = 30_000;
const once: RestartPolicy = { ...handlers, max: 0 };
/** For failures that are charged to messages, which have their attempts: they bring a wait of up to a second, not the end. */
const always: RestartPolicy = { ...handlers, max: Number.POSITIVE_INFINITY };
/** How long an attempt may take unless the placement says otherwise, in milliseconds. */
const defaultTimeout = 30_000;

/** One instance of a handler actor, from its start to its end. A fresh object of its kind at every restart. */
export class Instance {
  readonly id: string;
  readonly placement: string;
  readonly instance: number;
  readonly generation: number;
  readonly #host: InstanceHost;
  readonly #kind: Kind | undefined;
  readonly #log: Logger;
  #entry: PlacementEntry;
  #actor: HandlerActor | undefined;
  #life = new AbortController();
  #part: Part | undefined;
  #feed: Feed | undefined;
  #state: InstanceReport['state'] = 'stopped';
  #error: string | undefined;
  /** The version of the settings that it has taken. */
  #settings = 0;
  /** While it is told something: messages wait for it. */
  #telling: Promise<void> | undefined;
  #running = 0;
  #idle: (() => void) | undefined;
  /** What went wrong before it had an actor that could be told. */
  #first: unknown;
  /** Whether an actor is being made, and what went wrong with it meanwhile. */
  #raising = false;
  #fault: unknown;
  #policy: RestartPolicy = handlers;
  #stopping: Promise<void> | undefined;

  constructor(host: InstanceHost, entry: PlacementEntry, { instance, generation }: Identity, kind: Kind | undefined) {
    this.#host = host;
    this.#entry = entry;
    this.#kind = kind;
    this.id = entry.id;
    this.placement = entry.name;
    this.instance = instance;
    this.generation = generation;
    const { name: placement, spec } = entry;
    this.#log = host.log.child({ actor: `user/${this.#name}`, kind: spec.kind, placement, instance, generation });
  }

  /** What there is to say of it. */
  get report(): InstanceReport {
    const { id, instance, generation } = this;
    const error = this.#error;
    return {
      id,
      instance,
      generation,
      state: this.#state,
      settings: this.#settings,
      ...(error !== undefined && { error }),
    };
  }

  get singleton(): boolean {
    return this.#entry.spec.singleton;
  }

  get failover(): 'auto' | 'manual' {
    return this.#entry.spec.failover;
  }

  get stopping(): boolean {
    return this.#stopping !== undefined;
  }

  /** Starts it. Never rejects: what goes wrong is reported. */
  async start(): Promise<void> {
    const policy = (): RestartPolicy => (this.#entry.spec.restart ? this.#policy : once);
    try {
      const part = await this.#host.employ({
        name: `${this.#name}.${this.generation}`,
        get restart() {
          return policy();
        },
        // The first failure is one like all others: the part stays, and is restarted.
        start: async () => {
          try {
            await this.#raise();
          } catch (error) {
            if (this.#part !== undefined) throw error;
            this.#first = error ?? new Error('it failed');
          }
        },
        stop: (reason) => this.#lower(reason),
        giveUp: (error) => this.#failed(error, ': it is not started again'),
      });
      this.#part = part;
      if (this.#stopping !== undefined) {
        await part.stop(); // nobody else knows it
        return;
      }
      if (this.#first !== undefined) this.#fail(this.#first);
    } catch (error) {
      this.#failed(error); // the node closes
    }
  }

  /** The placement is another one: it may have to be told something. */
  update(entry: PlacementEntry): void {
    this.#entry = entry;
    if (this.#state === 'running' && this.#stopping === undefined) this.#catchUp();
  }

  /** Ends it: takes no more messages, waits up to `timeout` milliseconds for those that run, and calls `onStop`. */
  stop(timeout: number): Promise<void> {
    this.#stopping ??= this.#stop(timeout);
    return this.#stopping;
  }

  /** Ends it at once: it may run elsewhere already. */
  kill(): void {
    this.#life.abort(new BusError('CLOSED', 'this instance may run elsewhere already'));
    void this.stop(0);
  }

  get #name(): string {
    return `${this.placement}.${this.instance}`;
  }

  async #stop(timeout: number): Promise<void> {
    const actor = this.#actor;
    // What is only being made need not be waited for.
    if (this.#state !== 'running') this.#life.abort(new BusError('CLOSED', 'this instance has been stopped'));
    try {
      await closeAll([
        () => this.#feed?.close(timeout),
        () => (this.#state === 'running' ? this.#inTime('onStop', () => actor?.onStop?.()) : undefined),
        () => this.#part?.stop(),
      ]);
    } catch (err) {
      this.#log.warn({ err: toError(err) }, 'it did not stop in order');
    }
    this.#actor = undefined;
    this.#life.abort(new BusError('CLOSED', 'this instance has been stopped'));
    this.#state = 'stopped';
  }

  /** A fresh object, ready for messages. */
  async #raise(): Promise<void> {
    this.#raising = true;
    this.#fault = undefined;
    this.#policy = handlers;
    try {
      await this.#make();
    } catch (error) {
      this.#lower('fault');
      throw error;
    } finally {
      this.#raising = false;
    }
  }

  async #make(): Promise<void> {
    const { spec } = this.#entry;
    if (this.#kind === undefined) throw new BusError('NOT_FOUND', `this node does not define the kind '${spec.kind}'`);
    if (this.#stopping !== undefined) return;
    const life = new AbortController();
    this.#life = life;
    const check = (): void => {
      if (life.signal.aborted) throw this.#fault ?? life.signal.reason;
    };
    const made = await this.#kind(this.#context());
    if (typeof made !== 'object' || made === null) {
      throw new BusError('OPTION_INVALID', `the kind '${spec.kind}' made ${describe(made)}, not an object`);
    }
    const actor = checkedActor(spec.kind, made);
    if (spec.pattern !== undefined && typeof actor.onMessage !== 'function') {
      throw new BusError(
        'OPTION_INVALID',
        `the kind '${spec.kind}' has no onMessage(), and '${this.placement}' a pattern`,
      );
    }
    await this.#inTime('onStart', () => actor.onStart?.());
    this.#settings = await this.#tellTo(actor);
    if (this.#stopping !== undefined) return;
    check();
    this.#actor = actor;
    if (spec.pattern !== undefined) {
      if (this.#feed === undefined) {
        const { instance, generation } = this;
        this.#feed = await this.#host.feed(this.#entry, { instance, generation }, this.#handle);
        if (this.#stopping !== undefined) await this.#feed.close(0);
        check();
      } else this.#feed.resume();
    }
    this.#error = undefined;
    this.#state = 'running';
    this.#host.report(this.report);
    this.#catchUp();
  }

  #lower(reason: 'fault' | 'end'): void {
    if (reason === 'end') return; // #stop() sees to it
    this.#actor = undefined;
    this.#feed?.pause();
    this.#life.abort(new BusError('ABORTED', 'this instance has failed'));
  }

  #context(): ActorContext {
    const { placement, instance, generation } = this;
    const { kind, args } = this.#entry.spec;
    const { node, decode, publish } = this.#host;
    const { signal } = this.#life;
    const { timeout } = this.#entry.spec.options;
    return {
      node,
      kind,
      placement,
      instance,
      generation,
      args: args === undefined ? undefined : decode(args),
      log: this.#log,
      signal,
      timeout: typeof timeout === 'number' ? timeout : defaultTimeout,
      publish: (topic, payload, options): Promise<Receipt> => {
        if (signal.aborted) return Promise.reject(new BusError('CLOSED', `'${placement}' does not run here any more`));
        return publish(topic, payload, options);
      },
      fail: (error) => {
        if (!signal.aborted) this.#fail(error);
      },
    };
  }

  readonly #handle: Handler = (message, context) => {
    const actor = this.#actor;
    if (actor === undefined) throw new NotBegun('ABORTED', `'${this.placement}' is being started again`);
    if (actor.onTell === undefined) return actor.onMessage?.(message, context);
    if (this.#telling !== undefined) return this.#telling.then(() => this.#handle(message, context));
    return this.#counted(actor, message, context);
  };

  /** Counts what runs, so that nothing does while the actor is told something. */
  #counted(actor: HandlerActor, message: Message, context: Context): unknown {
    this.#running++;
    const done = (): void => {
      this.#running--;
      if (this.#running === 0) this.#idle?.();
    };
    let result: unknown;
    try {
      result = actor.onMessage?.(message, context);
    } catch (error) {
      done();
      throw error;
    }
    if (isThenable(result)) void result.then(done, done);
    else done();
    return result;
  }

  /** Tells it what it has not been told yet. */
  #catchUp(): void {
    const actor = this.#actor;
    const version = this.#entry.settings?.version ?? 0;
    if (actor === undefined || version <= this.#settings || this.#telling !== undefined) return;
    const tell = async (): Promise<void> => {
      if (this.#running > 0) {
        const idle = deferred<void>();
        this.#idle = () => idle.resolve();
        await this.#inTime('a message', () => idle.promise).catch(() => undefined); // its attempt is over by now
        this.#idle = undefined;
      }
      if (this.#actor === actor) this.#settings = await this.#tellTo(actor);
    };
    this.#telling = tell()
      .then(
        () => this.#host.report(this.report),
        (error: unknown) => {
          if (this.#actor === actor) this.#fail(error);
        },
      )
      .finally(() => {
        this.#telling = undefined;
        this.#catchUp();
      });
  }

  /** @returns the version that it has been told. */
  async #tellTo(actor: HandlerActor): Promise<number> {
    const { settings } = this.#entry;
    if (settings === undefined) return 0;
    await this.#inTime('onTell', () => actor.onTell?.(this.#host.decode(settings.value)));
    return settings.version;
  }

  /** @throws {BusError} `TIMEOUT`, and what the call throws. */
  async #inTime(what: string, call: () => unknown): Promise<void> {
    const result = call();
    if (!isThenable(result)) return;
    if (await within(this.#host.clock, patience, result)) return;
    throw new BusError('TIMEOUT', `${what} of '${this.placement}' took longer than ${patience} ms`);
  }

  /** It is to be started again, if its placement allows that. */
  #fail(error: unknown): void {
    if (this.#stopping !== undefined) return;
    this.#lower('fault'); // at once: nothing is handled any more by what has failed
    this.#failed(error);
    this.#policy = error instanceof ProcessEnded && error.attempts > 0 ? always : handlers;
    if (this.#raising)
      this.#fault = error ?? new Error('it failed'); // which ends that
    else if (this.#part === undefined) this.#first ??= error;
    else this.#part.fault(error);
  }

  #failed(error: unknown, more = ''): void {
    const { name, message } = toError(error);
    this.#state = 'failed';
    this.#error = `${name}: ${message}${more}`.slice(0, 1000);
    this.#log.warn({ err: toError(error) }, 'a handler actor failed');
    if (this.#stopping === undefined) this.#host.report(this.report);
  }
}
