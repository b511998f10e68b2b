import type { Member, RegistryListener } from '../cluster/registry.ts';
import { BusError, toError } from '../core/errors.ts';
import type { EventHub } from '../core/events.ts';
import type { Logger } from '../core/log.ts';
import { patternFromWire } from '../routing/pattern.ts';
import type { Router } from '../routing/router.ts';
import type { SubscriptionEntry } from '../wire/frame.ts';
import { type RemoteHost, RemoteRoute } from './remote-route.ts';
import type { Route } from './route.ts';

/** What the remote routes need of their surroundings. */
export interface RemoteRoutesHost extends RemoteHost {
  readonly events: EventHub;
  readonly log: Logger;
  readonly router: Router<Route>;
  /** A node has gone for good. */
  gone(node: string, incarnation: string): void;
}

/** Keeps the router in step with what other nodes have registered. */
export class RemoteRoutes implements RegistryListener {
  readonly #host: RemoteRoutesHost;
  readonly #byNode = new Map<string, Map<string, RemoteRoute>>();

  constructor(host: RemoteRoutesHost) {
    this.#host = host;
  }

  *[Symbol.iterator](): Generator<RemoteRoute> {
    for (const routes of this.#byNode.values()) yield* routes.values();
  }

  /** The routes to one node may have a new link. */
  relink(node: string): void {
    for (const route of this.#byNode.get(node)?.values() ?? []) route.relink();
  }

  joined({ node, incarnation, state }: Member): void {
    if (node === this.#host.node) return;
    this.#host.events.emit({ type: 'node.joined', node, incarnation });
    if (state === 'suspect') this.#suspect(node, incarnation);
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
    this.#host.gone(node, incarnation);
    this.#host.events.emit({ type: how === 'down' ? 'node.down' : 'node.left', node, incarnation });
  }

  added(member: Member, entry: SubscriptionEntry): void {
    const { node } = member;
    if (node === this.#host.node) return;
    let route: RemoteRoute;
    try {
      route = new RemoteRoute(this.#host, member, entry, patternFromWire(entry.pattern));
    } catch (error) {
      const err = error instanceof BusError ? error : toError(error);
      this.#host.log.warn({ node, subscription: entry.name, err }, 'a pattern of another node cannot be used here');
      return;
    }
    const routes = this.#byNode.get(node) ?? new Map<string, RemoteRoute>();
    this.#byNode.set(node, routes);
    routes.set(entry.id, route);
    this.#host.router.add(route.pattern, route);
    this.#host.events.emit({ type: 'subscription.added', subscription: entry.name, node, pattern: route.pattern.text });
  }

  removed({ node }: Member, entry: SubscriptionEntry): void {
    const route = this.#byNode.get(node)?.get(entry.id);
    if (route === undefined) return;
    this.#byNode.get(node)?.delete(entry.id);
    this.#host.router.remove(route.pattern, route);
    route.close();
    this.#host.events.emit({ type: 'subscription.removed', subscription: entry.name, node });
  }

  #suspect(node: string, incarnation: string): void {
    this.#host.events.emit({ type: 'node.suspect', node, incarnation, reason: 'its link to the leader has gone' });
  }
}
