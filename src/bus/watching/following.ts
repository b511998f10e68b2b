import { deferred } from '../../core/async.ts';
import { checkKnown, checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, describe, toError } from '../../core/errors.ts';
import { type EventHub, type EventType, eventTypes } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import { checkName } from '../../core/topic.ts';
import { type EventBatch, isShared, longestWait, type ToldEvent, told } from './event-feed.ts';

/** An event, and who tells of it. */
export interface FollowedEvent {
  readonly node: string;
  /** Milliseconds since the epoch, by that node's clock. */
  readonly at: number;
  readonly event: ToldEvent;
  /** At least so many events of this node came before it and were not fetched in time. */
  readonly missed: number;
}

/** What `follow()` takes. */
export interface FollowOptions {
  /** Which events. @default all */
  types?: readonly EventType[];
  /** Only this node, with everything that it tells of the others. @default every node */
  node?: string;
  /** Called when a node cannot be asked, once until it can be again. @default it is logged */
  problem?: (node: string, error: BusError) => void;
}

/** Called with each event. What it throws is logged; a promise is waited for before the same node is asked for more. */
export type FollowListener = (event: FollowedEvent) => unknown;

/** What following needs of the bus. */
export interface FollowingHost {
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  /** The other nodes that are known now. */
  others(): Iterable<string>;
  /** Whether this bus is closing or has closed. */
  over(): boolean;
  /** Asks another node. @throws {BusError} */
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown>;
}

/** How long to wait before a node that did not answer is asked again, in milliseconds. */
const pause = 1000;
/** How long a node may take to answer beyond what it was told to wait, in milliseconds. */
const patience = 10_000;

/**
 * Hears the events of other nodes, by asking each again and again: an answer comes when there is something to tell. What the
 * whole cluster knows (members, leaders, subscriptions, actors) is told once, as this node hears of it.
 */
export class Following {
  readonly #host: FollowingHost;
  readonly #listener: FollowListener;
  readonly #options: FollowOptions;
  readonly #types: ReadonlySet<EventType>;
  readonly #own: string;
  /** Who is asked, and what ends the present wait for them: an answer may be lost with a link in between. */
  readonly #asked = new Map<string, () => void>();
  readonly #unlisten: () => void;
  #isEnded = false;

  private constructor(host: FollowingHost, listener: FollowListener, options: FollowOptions) {
    this.#host = host;
    this.#listener = listener;
    this.#options = options;
    this.#types = new Set(options.types ?? eventTypes);
    this.#own = host.node;
    this.#unlisten = host.events.on('*', (event) => {
      if (event.type === 'node.joined' || event.type === 'node.suspect') this.#changed(event.node, event.type);
      if (options.node !== undefined && options.node !== this.#own) return;
      if (this.#types.has(event.type))
        void this.#tell({ node: this.#own, at: host.clock.now(), event: told(event), missed: 0 });
    });
  }

  /**
   * Resolves when every node that answers is followed. @returns what ends it.
   *
   * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`; with `node` also why that one cannot be asked.
   */
  static async begin(host: FollowingHost, listener: FollowListener, options: FollowOptions): Promise<() => void> {
    checkFollow(listener, options);
    const following = new Following(host, listener, options);
    const { node } = options;
    const nodes = node === undefined ? [...host.others()] : node === host.node ? [] : [node];
    const begun = await Promise.all(nodes.map((each) => following.#ask(each)));
    const failed = node === undefined ? undefined : begun.find((error) => error !== undefined);
    if (failed === undefined) return () => following.#end();
    following.#end();
    throw failed;
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#unlisten();
    for (const again of this.#asked.values()) again();
  }

  #changed(node: string, how: 'node.joined' | 'node.suspect'): void {
    const { node: only } = this.#options;
    if (node === this.#own || (only !== undefined && only !== node)) return;
    const again = this.#asked.get(node);
    if (again !== undefined) again();
    else if (how === 'node.joined') void this.#ask(node);
  }

  /** Begins to ask a node. @returns why that does not work at first. */
  #ask(node: string): Promise<BusError | undefined> {
    if (this.#asked.has(node)) return Promise.resolve(undefined);
    this.#asked.set(node, () => {});
    const begun = deferred<BusError | undefined>();
    void this.#loop(node, begun.resolve).finally(() => {
      this.#asked.delete(node);
      begun.resolve(undefined);
    });
    return begun.promise;
  }

  /** Asks as long as it is a member. */
  async #loop(node: string, begun: (error?: BusError) => void): Promise<void> {
    const types = [...this.#types].filter((type) => this.#options.node !== undefined || !isShared(type));
    if (types.length === 0) return;
    let last: EventBatch | undefined;
    let missed = 0;
    let failing = false;
    while (!this.#isEnded && (this.#options.node !== undefined || this.#isMember(node))) {
      const from = last === undefined ? {} : { life: last.life, after: last.after, wait: longestWait };
      try {
        const asked = this.#host.ask(node, 'events', { ...from, types }, patience + longestWait);
        const again = deferred<void>();
        this.#asked.set(node, again.resolve);
        const batch = (await Promise.race([asked, again.promise])) as EventBatch | undefined; // the other node's own answer
        if (batch === undefined) {
          asked.catch(() => {}); // nobody waits for it any more
          continue;
        }
        failing = false;
        if (last !== undefined) missed += batch.missed;
        last = batch;
        begun();
        for (const { at, event } of batch.events) {
          await this.#tell({ node, at, event, missed });
          missed = 0;
        }
      } catch (thrown) {
        const error = thrown instanceof BusError ? thrown : new BusError('INTERNAL', toError(thrown).message);
        if (this.#isEnded || this.#host.over() || !this.#isMember(node)) return begun(error);
        if (!failing) this.#problem(node, error);
        failing = true;
        begun(error);
        if (error.code === 'PROTOCOL_ERROR') return; // an earlier build, which cannot be followed
        await this.#wait(node);
      }
    }
  }

  #isMember(node: string): boolean {
    for (const other of this.#host.others()) if (other === node) return true;
    return false;
  }

  async #wait(node: string): Promise<void> {
    const over = deferred<void>();
    this.#asked.set(node, over.resolve);
    const timer = this.#host.clock.timer(pause, over.resolve).unref();
    await over.promise;
    timer.cancel();
  }

  #problem(node: string, error: BusError): void {
    const { log } = this.#host;
    const { problem } = this.#options;
    if (problem === undefined) log.warn({ about: { node }, err: error }, 'the events of a node cannot be followed');
    else void this.#safely(() => problem(node, error));
  }

  async #tell(event: FollowedEvent): Promise<void> {
    if (!this.#isEnded) await this.#safely(() => this.#listener(event));
  }

  async #safely(fn: () => unknown): Promise<void> {
    try {
      await fn();
    } catch (error) {
      this.#host.log.error({ err: toError(error) }, 'who follows events threw');
    }
  }
}

function checkFollow(listener: unknown, options: FollowOptions): void {
  const what = 'follow()';
  if (typeof listener !== 'function')
    throw new BusError('OPTION_INVALID', `${what}: the listener is ${describe(listener)}, not a function`);
  checkObject(what, options);
  checkKnown(what, options, ['types', 'node', 'problem']);
  const { types = [], node, problem } = options;
  if (node !== undefined) checkName('node', node);
  if (problem !== undefined && typeof problem !== 'function')
    throw new BusError('OPTION_INVALID', `${what}: problem is ${describe(problem)}, not a function`);
  const wrong = Array.isArray(types) ? types.find((type) => !eventTypes.includes(type)) : types;
  if (!Array.isArray(types) || wrong !== undefined)
    throw new BusError(
      'OPTION_INVALID',
      `${what}: there is no event ${describe(wrong)}; there are ${eventTypes.join(', ')}`,
    );
}
