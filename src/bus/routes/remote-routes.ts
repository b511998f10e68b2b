import type { Member, RegistryListener } from '../../cluster/registry.ts';
import { BusError, toError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import { within } from '../../core/within.ts';
import { type Pattern, patternFromWire } from '../../routing/pattern.ts';
import type { Router } from '../../routing/router.ts';
import type { DurableEntry, SubscriptionEntry } from '../../wire/frame.ts';
import type { DurableOutbox } from '../streams/durable-outbox.ts';
import type { DurableOutboxHost } from '../streams/durable-row.ts';
import { type DurableRemoteHost, DurableRemoteRoute } from './durable-remote-route.ts';
import type { Groups } from './groups.ts';
import { type RemoteHost, RemoteRoute } from './remote-route.ts';
import type { Route } from './route.ts';

/** What the remote routes need of their surroundings. */
export interface RemoteRoutesHost extends RemoteHost {
  readonly events: EventHub;
  readonly log: Logger;
  readonly router: Router<Route>;
  readonly groups: Groups;
  /** A node has gone for good. */
  gone(node: string, incarnation: string): void;
  /** A node can be reached, for the first time or again. */
  relinked(node: string): void;
  /** What the ways to durable mailboxes need. */
  readonly durable: DurableRemoteHost;
  /** What earlier lives of this node have left for a mailbox. */
  earlier(mailbox: string): ((host: DurableOutboxHost<DurableOutbox>) => DurableOutbox)[];
  /** A mailbox is removed for which earlier lives of this node have left messages. */
  abandoned(entry: DurableEntry): void;
  /** A durable subscription is new, or another one, or removed. */
  registered(entry: DurableEntry, before: DurableEntry | undefined): void;
}

/** Keeps the router in step with what other nodes have registered. */
export class RemoteRoutes implements RegistryListener {
  readonly #host: RemoteRoutesHost;
  readonly #byNode = new Map<string, Map<string, RemoteRoute>>();
  readonly #durable = new Map<string, DurableRemoteRoute>();

  constructor(host: RemoteRoutesHost) {
    this.#host = host;
  }

  *[Symbol.iterator](): Generator<RemoteRoute | DurableRemoteRoute> {
    for (const routes of this.#byNode.values()) yield* routes.values();
    yield* this.#durable.values();
  }

  /** The routes to one node may have a new link. */
  relink(node: string): void {
    for (const route of this.#byNode.get(node)?.values() ?? []) route.relink();
    for (const route of this.#durable.values()) if (route.node === node) route.relink();
    this.#host.relinked(node);
  }

  /** What waits for durable mailboxes that cannot be reached goes into the local store. */
  away(): void {
    for (const route of this.#durable.values()) if (!route.reachable) route.away();
  }

  /** What waits for nodes that cannot be reached is given up. @param node only what waits for this one. */
  giveUp(node?: string): void {
    for (const route of this) if ((node === undefined || route.node === node) && !route.reachable) route.giveUp();
  }

  /** @returns whether those that `which` names had nothing unconfirmed within `timeout` milliseconds. */
  async flushed(timeout: number, which: (route: RemoteRoute | DurableRemoteRoute) => boolean): Promise<boolean> {
    const waiting = [...this].filter((route) => route.unconfirmed > 0 && which(route));
    if (waiting.length === 0) return true;
    return within(this.#host.durable.clock, timeout, Promise.all(waiting.map((route) => route.flushed())));
  }

  durable(entry: DurableEntry, before: DurableEntry | undefined): void {
    const { name, id, home, removed } = entry;
    const known = this.#durable.get(name);
    if (known !== undefined && (removed || known.entry.id !== id || known.node !== home)) {
      this.#durable.delete(name);
      this.#host.router.remove(known.pattern, known);
      known.abandon(entry.lost === true);
    } else if (known !== undefined) {
      // The mailbox is the same one: what is under way to it, or in the local store for it, goes on.
      const pattern = changed(known.entry, entry) ? this.#patternOf(entry, home) : known.pattern;
      if (pattern !== undefined && pattern !== known.pattern) {
        this.#host.router.remove(known.pattern, known);
        this.#host.router.add(pattern, known);
      }
      known.change(entry, pattern ?? known.pattern);
    } else if (removed) {
      this.#host.abandoned(entry);
    }
    if (!removed && home !== this.#host.node && !this.#durable.has(name)) {
      const pattern = this.#patternOf(entry, home);
      if (pattern !== undefined) {
        const route = new DurableRemoteRoute(this.#host.durable, entry, pattern, this.#host.earlier(id));
        this.#durable.set(name, route);
        this.#host.router.add(pattern, route);
      }
    }
    if (home !== this.#host.node) {
      if (removed && before?.removed === false) {
        this.#host.events.emit({ type: 'subscription.removed', subscription: name, node: home });
      } else if (!removed && before?.removed !== false) {
        const { source } = entry.pattern;
        this.#host.events.emit({ type: 'subscription.added', subscription: name, node: home, pattern: source });
      }
    }
    this.#host.registered(entry, before);
  }

  #patternOf({ name, pattern }: Pick<SubscriptionEntry, 'name' | 'pattern'>, node: string): Pattern | undefined {
    try {
      return patternFromWire(pattern);
    } catch (error) {
      const err = error instanceof BusError ? error : toError(error);
      this.#host.log.warn({ node, subscription: name, err }, 'a pattern of another node cannot be used here');
      return undefined;
    }
  }

  joined({ node, incarnation, state }: Member): void {
    if (node === this.#host.node) return;
    this.#host.events.emit({ type: 'node.joined', node, incarnation });
    if (state === 'suspect') this.#suspect(node, incarnation);
    else this.relink(node);
  }

  changed({ node, incarnation, state }: Member): void {
    if (node === this.#host.node) return;
    if (state === 'suspect') {
      this.#suspect(node, incarnation);
    } else {
      this.#host.events.emit({ type: 'node.joined', node, incarnation });
      this.relink(node);
    }
  }

  gone({ node, incarnation }: Member, how: 'down' | 'left'): void {
    if (node === this.#host.node) return;
    this.#byNode.delete(node);
    this.away();
    this.#host.gone(node, incarnation);
    this.#host.events.emit({ type: how === 'down' ? 'node.down' : 'node.left', node, incarnation });
  }

  added(member: Member, entry: SubscriptionEntry): void {
    const { node } = member;
    if (node === this.#host.node) return;
    const pattern = this.#patternOf(entry, node);
    if (pattern === undefined) return;
    const route = new RemoteRoute(this.#host, member, entry, pattern);
    const routes = this.#byNode.get(node) ?? new Map<string, RemoteRoute>();
    this.#byNode.set(node, routes);
    routes.set(entry.id, route);
    this.#host.groups.add(route);
    this.#host.events.emit({ type: 'subscription.added', subscription: entry.name, node, pattern: route.pattern.text });
  }

  removed({ node }: Member, entry: SubscriptionEntry): void {
    const route = this.#byNode.get(node)?.get(entry.id);
    if (route === undefined) return;
    this.#byNode.get(node)?.delete(entry.id);
    this.#host.groups.remove(route);
    route.close();
    this.#host.events.emit({ type: 'subscription.removed', subscription: entry.name, node });
  }

  #suspect(node: string, incarnation: string): void {
    this.away();
    this.#host.events.emit({ type: 'node.suspect', node, incarnation, reason: 'its link to the leader has gone' });
  }
}

/** Whether a durable subscription routes otherwise than before. */
function changed(old: DurableEntry, now: DurableEntry): boolean {
  const { kind, source, flags } = old.pattern;
  return kind !== now.pattern.kind || source !== now.pattern.source || flags !== now.pattern.flags;
}
