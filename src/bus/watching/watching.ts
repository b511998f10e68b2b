import type { PlacementTable } from '../../cluster/placement-table.ts';
import type { Member, Registry, RegistryListener } from '../../cluster/registry.ts';
import { checkKnown, checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, describe, toError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { checkName } from '../../core/topic.ts';
import { checkFullName } from '../options/subscription-options.ts';
import { type InstanceInfo, infoOf } from '../placement/placement.ts';

/** What can be watched: exactly one of these. */
export type WatchTarget =
  | { readonly node: string }
  | { readonly placement: string }
  /** By its name; of a durable one `<service>/<name>`, a bare name is one's own service's. */
  | { readonly subscription: string };

/** What has become of what is watched. */
export type WatchEvent =
  | {
      readonly node: string;
      /** `absent`: not heard of. A node that is started anew is `down` (or `left`) and then `alive`. */
      readonly state: 'alive' | 'suspect' | 'down' | 'left' | 'absent';
      readonly incarnation?: string;
    }
  | {
      readonly placement: string;
      /** `pending`: some of its instances do not run yet, or fit nowhere. `gone`: it was stopped, or never was. */
      readonly state: 'running' | 'pending' | 'failed' | 'gone';
      readonly instances: readonly InstanceInfo[];
    }
  | {
      readonly subscription: string;
      readonly state: 'present' | 'absent';
      /** Where it is: the home of a durable one, every node of one in memory. */
      readonly nodes: readonly string[];
    };

/** Called with the state at the beginning, and whenever it is another one. What it throws is logged. */
export type WatchListener = (event: WatchEvent) => unknown;

/** What watching needs of the bus. */
export interface WatchingHost {
  readonly node: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly table: PlacementTable;
  /** Who is in the cluster; none where this bus stands alone. */
  registry(): Pick<Registry, 'get' | 'members' | 'durable'> | undefined;
  /** The full name of a durable subscription. */
  fullName(name: string): string;
  /** Whether this node has a subscription in memory, or is the home of a durable one. */
  subscribed(name: string): boolean;
}

interface Watch {
  readonly look: () => WatchEvent;
  readonly listener: WatchListener;
  last: string | undefined;
}

/** How many nodes that have gone are remembered. */
const mostGone = 10_000;

/**
 * Tells who watches. Each watch compares what is with what it told last, so it does not depend on having seen what lay in
 * between: a restart of the leader hides nothing that is still so afterwards.
 */
export class Watching implements Pick<RegistryListener, 'joined' | 'changed' | 'gone'> {
  readonly #host: WatchingHost;
  readonly #nodes = new Map<string, Set<Watch>>();
  readonly #placements = new Map<string, Set<Watch>>();
  readonly #subscriptions = new Map<string, Set<Watch>>();
  readonly #gone = new Map<string, { how: 'down' | 'left'; incarnation: string }>();

  constructor(host: WatchingHost) {
    this.#host = host;
    host.table.onChange(({ name }) => this.#look(this.#placements.get(name)));
  }

  /** @returns a function that ends it. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
  watch(target: WatchTarget, listener: WatchListener): () => void {
    checkObject('watch()', target);
    checkKnown('watch()', target, ['node', 'placement', 'subscription']);
    if (typeof listener !== 'function')
      throw new BusError('OPTION_INVALID', `watch(): the listener is ${describe(listener)}, not a function`);
    const { node, placement, subscription } = target as Partial<Record<'node' | 'placement' | 'subscription', string>>;
    if ([node, placement, subscription].filter((each) => each !== undefined).length !== 1)
      throw new BusError('OPTION_INVALID', 'watch() takes one of { node }, { placement } and { subscription }');
    if (node !== undefined) {
      checkName('node', node);
      return this.#add(this.#nodes, node, { look: () => this.#node(node), listener, last: undefined });
    }
    if (placement !== undefined) {
      checkName('placement', placement);
      return this.#add(this.#placements, placement, {
        look: () => this.#placement(placement),
        listener,
        last: undefined,
      });
    }
    const name = subscription as string; // it is the one that is left
    checkFullName(name, true);
    return this.#add(this.#subscriptions, name, { look: () => this.#subscription(name), listener, last: undefined });
  }

  /** A subscription of that name has come or gone somewhere. */
  subscriptionChanged(name: string): void {
    if (this.#subscriptions.size === 0) return;
    this.#look(this.#subscriptions.get(name));
    const cut = name.indexOf('/');
    if (cut >= 0) this.#look(this.#subscriptions.get(name.slice(cut + 1)));
  }

  joined({ node }: Member): void {
    this.#gone.delete(node);
    this.#look(this.#nodes.get(node));
  }

  changed({ node }: Member): void {
    this.#look(this.#nodes.get(node));
  }

  gone({ node, incarnation }: Member, how: 'down' | 'left'): void {
    if (this.#gone.size >= mostGone) this.#gone.delete(this.#gone.keys().next().value as string); // it is not empty
    this.#gone.set(node, { how, incarnation });
    this.#look(this.#nodes.get(node));
  }

  #add(watches: Map<string, Set<Watch>>, name: string, watch: Watch): () => void {
    const all = watches.get(name) ?? new Set();
    watches.set(name, all.add(watch));
    // After whoever watches holds what ends it.
    this.#host.clock.immediate(() => {
      if (all.has(watch)) this.#look([watch]);
    });
    return () => {
      all.delete(watch);
      if (all.size === 0 && watches.get(name) === all) watches.delete(name);
    };
  }

  #look(watches: Iterable<Watch> | undefined): void {
    if (watches === undefined) return;
    for (const watch of [...watches]) {
      const event = watch.look();
      const text = JSON.stringify(event);
      if (text === watch.last) continue;
      watch.last = text;
      const failed = (err: unknown): void => this.#host.log.error({ err: toError(err) }, 'who watches something threw');
      try {
        Promise.resolve(watch.listener(event)).catch(failed);
      } catch (error) {
        failed(error);
      }
    }
  }

  #node(node: string): WatchEvent {
    const { node: own, incarnation, registry } = this.#host;
    if (node === own) return { node, state: 'alive', incarnation };
    const member = registry()?.get(node);
    if (member !== undefined) return { node, state: member.state, incarnation: member.incarnation };
    const gone = this.#gone.get(node);
    return gone === undefined ? { node, state: 'absent' } : { node, state: gone.how, incarnation: gone.incarnation };
  }

  #placement(placement: string): WatchEvent {
    const entry = this.#host.table.get(placement);
    if (entry === undefined) return { placement, state: 'gone', instances: [] };
    const { instances, wanted } = infoOf(entry);
    const running = instances.filter(({ state }) => state === 'running').length;
    const failed = instances.some(({ state }) => state === 'failed');
    return { placement, state: failed ? 'failed' : running === wanted ? 'running' : 'pending', instances };
  }

  #subscription(subscription: string): WatchEvent {
    const { node: own, registry, fullName, subscribed } = this.#host;
    const nodes = new Set<string>();
    const home = registry()?.durable(fullName(subscription))?.home;
    if (home !== undefined) nodes.add(home);
    if (subscribed(subscription)) nodes.add(own);
    for (const { node, subscriptions } of registry()?.members ?? []) {
      if (node !== own && [...subscriptions.values()].some(({ name }) => name === subscription)) nodes.add(node);
    }
    return { subscription, state: nodes.size > 0 ? 'present' : 'absent', nodes: [...nodes].sort() };
  }
}
