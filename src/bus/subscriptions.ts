import { checkedHandler } from '../actors/checked-handler.ts';
import type { DeadLetters, Replay } from '../actors/dead-letters.ts';
import type { Fence } from '../actors/fences.ts';
import type { Nursery } from '../actors/nursery.ts';
import { handlers } from '../actors/restart.ts';
import { Subscriber } from '../actors/subscriber.ts';
import type { Handler, SubscriptionStats } from '../actors/subscriber-options.ts';
import type { Part } from '../actors/supervisor.ts';
import type { Clock } from '../core/clock.ts';
import { BusError, describe } from '../core/errors.ts';
import type { EventHub } from '../core/events.ts';
import { hexOf } from '../core/hex.ts';
import type { SubscriptionState } from '../core/lifecycle.ts';
import type { Logger } from '../core/log.ts';
import type { StandardSchema } from '../core/schema.ts';
import { compilePattern, type PatternInput } from '../routing/pattern.ts';
import { Topic } from '../routing/typed-topic.ts';
import type { SubscriptionEntry } from '../wire/frame.ts';
import { Subscription } from './consuming/subscription.ts';
import type { Durables } from './durable/durables.ts';
import { resolveSubscription, type SubscriptionOptions } from './options/subscription-options.ts';
import type { Groups } from './routes/groups.ts';
import { LocalRoute } from './routes/local-route.ts';
import type { Publisher } from './routes/publisher.ts';

/** What the subscriptions of a node need of the bus. */
export interface SubscriptionsHost {
  readonly node: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly groups: Groups;
  readonly service: string;
  readonly deadLetters: DeadLetters;
  readonly durables: Durables;
  readonly publisher: Publisher;
  nursery(): Nursery;
  /** How many there may be. */
  readonly most: number;
  /** Tells the cluster; resolves when it knows. */
  announce(add: readonly SubscriptionEntry[], remove: readonly string[]): Promise<void>;
}

/** A subscription as `status()` shows it. */
export interface SubscriptionStatus extends SubscriptionStats {
  name: string;
  pattern: string;
  /** `<service>/<group>`; of the instances of a placement `$spawn/<placement>`. */
  group?: string;
  state: SubscriptionState;
  concurrency: number;
  overflow: string;
}

interface Entry {
  readonly subscriber: Subscriber;
  readonly route: LocalRoute;
  readonly handle: Subscription;
  /** Resolves when its actor runs. */
  part: Promise<Part> | undefined;
  closing: Promise<void> | undefined;
}

/** The subscriptions of this node. */
export class Subscriptions {
  readonly #host: SubscriptionsHost;
  readonly #byName = new Map<string, Entry>();
  readonly #byMailbox = new Map<string, Subscriber>();
  #unnamed = 0;
  #closing = false;

  constructor(host: SubscriptionsHost) {
    this.#host = host;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  get size(): number {
    return this.#byName.size;
  }

  /** The subscriber of a mailbox of this node. */
  byMailbox(id: string): Subscriber | undefined {
    return this.#byMailbox.get(id);
  }

  /** Takes dead letters back into a subscription's mailbox. */
  replayTo(name: string): Replay | undefined {
    const entry = this.#byName.get(name);
    return entry === undefined ? undefined : (message) => entry.subscriber.replay(message);
  }

  /**
   * @param suggested the name when none is given and it is free; `fence` whose place it takes at a durable mailbox; `group` the
   *   full name of a group that is not the user's.
   * @throws {BusError} `PATTERN_INVALID`, `OPTION_INVALID`, `NAME_INVALID`, `NAME_TAKEN`, `DENIED`.
   */
  async create(
    input: PatternInput | Topic,
    given: Handler | null,
    options?: SubscriptionOptions,
    { suggested, fence, group }: { suggested?: string; fence?: Fence; group?: string | undefined } = {},
  ): Promise<Subscription> {
    const pattern = input instanceof Topic ? input.pattern : compilePattern(input);
    const resolved = resolveSubscription(options);
    const handler = checked(input, resolved.schema, given);
    if (resolved.durable && (handler === null || typeof handler === 'function')) {
      return this.#host.durables.create(pattern, handler, fence === undefined ? resolved : { ...resolved, fence });
    }
    if (typeof handler !== 'function') {
      throw new BusError(
        'OPTION_INVALID',
        `the handler of ${describe(pattern.text)} is ${describe(handler)}, not a function`,
      );
    }
    const { name: asked, group: own, ...rest } = resolved;
    const name = asked ?? this.#freeName(suggested);
    if (this.#byName.has(name)) {
      throw new BusError(
        'NAME_TAKEN',
        `this node has a subscription '${name}' already: close it, or choose another name`,
      );
    }
    const { node, incarnation, clock, events, deadLetters, publisher, most } = this.#host;
    if (this.#byName.size >= most) {
      throw new BusError(
        'OPTION_INVALID',
        `node '${node}' has ${most} subscriptions, the most that a cluster takes of it`,
      );
    }
    const mailboxId = hexOf(clock.randomBytes(8));
    const subscriber = new Subscriber({
      ...rest,
      name,
      node,
      mailboxId,
      incarnation,
      handler,
      clock,
      log: this.#host.log.child({ actor: `subs/${name}`, subscription: name }),
      events,
      deadLetters,
      prepare: (topic, payload, staged) => publisher.prepare(topic, payload, staged),
      publishStaged: (messages) => publisher.publishStaged(messages),
    });
    const handle = new Subscription(subscriber, pattern, (timeout) => this.#end(name, timeout));
    // As a durable name it belongs to the service, so that two services do not share their messages by accident.
    const shared = own === undefined ? group : `${this.#host.service}/${own}`;
    const route = new LocalRoute(subscriber, pattern, shared);
    const entry: Entry = {
      subscriber,
      route,
      handle,
      part: undefined,
      closing: undefined,
    };
    this.#byName.set(name, entry);
    let part: Part;
    try {
      entry.part = this.#host.nursery().add({
        name,
        restart: handlers,
        turn: () => subscriber.turn(),
        giveUp: (error) => subscriber.quarantine(error),
      });
      part = await entry.part;
    } catch (error) {
      this.#byName.delete(name);
      throw error;
    }
    if (this.#closing) entry.closing ??= this.#close(name, entry, 0);
    if (entry.closing !== undefined) {
      await entry.closing;
      throw new BusError('CLOSED', `subscription '${name}' was closed as it was made`);
    }
    this.#byMailbox.set(mailboxId, subscriber);
    subscriber.attach(part);
    this.#host.groups.add(route);
    events.emit({ type: 'subscription.added', subscription: name, node, pattern: pattern.text });
    const told = {
      id: mailboxId,
      name,
      pattern: pattern.toWire(),
      ...(shared && { group: shared }),
      retry: rest.retry,
    };
    try {
      await this.#host.announce([told], []);
    } catch (error) {
      await this.#end(name, 0);
      throw error;
    }
    return handle;
  }

  /** Removes a subscription by its name. @throws {BusError} `NOT_FOUND`. */
  async remove(name: string, timeout: number): Promise<void> {
    if (!this.#byName.has(name)) {
      throw new BusError('NOT_FOUND', `node '${this.#host.node}' has no subscription ${describe(name)}`);
    }
    await this.#end(name, timeout);
  }

  /** Resolves when no subscription has anything waiting or running. @throws {BusError} `TIMEOUT`. */
  async drain(timeout: number): Promise<void> {
    await Promise.all([...this.#byName.values()].map(({ subscriber }) => subscriber.drain(timeout)));
  }

  /** Whether anything waits or runs. */
  get busy(): boolean {
    return [...this.#byName.values()].some(({ subscriber }) => {
      const { waiting, running } = subscriber.stats();
      return waiting > 0 || running > 0;
    });
  }

  /** Stops taking messages and waits for running handlers, in all subscriptions at a time. */
  async close(timeout: number): Promise<void> {
    this.#closing = true;
    for (const { route } of this.#byName.values()) this.#host.groups.remove(route);
    await Promise.all([...this.#byName.values()].map(({ subscriber }) => subscriber.close(timeout)));
  }

  status(): SubscriptionStatus[] {
    return [...this.#byName.values()].map(({ subscriber, route }) => ({
      name: subscriber.name,
      pattern: route.pattern.text,
      ...(route.group !== undefined && { group: route.group }),
      state: subscriber.state,
      concurrency: subscriber.options.concurrency,
      overflow: subscriber.options.limits.overflow,
      ...subscriber.stats(),
    }));
  }

  async #end(name: string, timeout: number): Promise<void> {
    const entry = this.#byName.get(name);
    if (entry === undefined) return;
    if (entry.closing === undefined) entry.closing = this.#close(name, entry, timeout);
    else void entry.subscriber.close(timeout); // the shorter time counts
    await entry.closing;
  }

  async #close(name: string, { subscriber, route, part }: Entry, timeout: number): Promise<void> {
    const { groups, events, node } = this.#host;
    groups.remove(route);
    const told = this.#host.announce([], [subscriber.mailboxId]);
    await subscriber.close(timeout);
    await (await part?.catch(() => undefined))?.stop();
    this.#byMailbox.delete(subscriber.mailboxId);
    this.#byName.delete(name);
    // After the cluster knows: who hears of it may close the bus, and with it the way to tell.
    await told;
    events.emit({ type: 'subscription.removed', subscription: name, node });
  }

  #freeName(suggested: string | undefined): string {
    if (suggested !== undefined && !this.#byName.has(suggested)) return suggested;
    const stem = suggested ?? 'sub';
    let name: string;
    do name = `${stem}-${++this.#unnamed}`;
    while (this.#byName.has(name));
    return name;
  }
}

/** A handler that applies the schema of its topic, or of its options. @throws {BusError} `OPTION_INVALID`. */
function checked(
  input: PatternInput | Topic,
  asked: StandardSchema | undefined,
  handler: Handler | null,
): Handler | null {
  const schema = input instanceof Topic ? input.schema : asked;
  if (schema === undefined) return handler;
  if (schema !== (asked ?? schema)) {
    throw new BusError('OPTION_INVALID', `topic '${input}' has a schema: leave the option 'schema' out`);
  }
  if (typeof handler === 'function') return checkedHandler(schema, handler);
  if (asked !== undefined && handler === null) {
    throw new BusError('OPTION_INVALID', "'schema' goes only with a handler: what only collects looks into no payload");
  }
  return handler;
}
