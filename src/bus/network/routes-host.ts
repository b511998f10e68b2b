import { originOf } from '../../core/incarnation.ts';
import type { RemoteRoutesHost } from '../routes/remote-routes.ts';
import type { Link } from '../streams/link.ts';
import type { NetworkHost } from './network-host.ts';

/** What the routes to other nodes need of the network. */
export interface Ways {
  path(node: string): Link | undefined;
  /** There is something to send to a node. */
  wanted(node: string): void;
  freshNumber(): number;
  usedNumbers(below: number): void;
  /** A life of a node is over. */
  retire(node: string, origin: string): void;
  /** A durable subscription is new, or another one, or removed. */
  durableChanged(name: string): void;
}

/** Everything that the routes to other nodes need. */
export function routesHost(host: NetworkHost, ways: Ways): RemoteRoutesHost {
  const { options, incarnation, events, log, router, groups, admin, spools } = host;
  const { clock, node } = options;
  const origin = originOf(incarnation);
  return {
    node,
    origin,
    events,
    log,
    router,
    groups,
    path: (target) => ways.path(target),
    wanted: (target) => ways.wanted(target),
    freshNumber: () => ways.freshNumber(),
    usedNumbers: (below) => ways.usedNumbers(below),
    dropped: (subscription, target, count, reason) =>
      events.emit({ type: 'message.dropped', subscription, node: target, count, reason }),
    gone: (target, life) => {
      ways.retire(target, originOf(life));
      host.gone(target, life);
    },
    relinked: (target) => host.relinked(target),
    durable: {
      node,
      origin,
      start: host.starts,
      clock,
      events,
      stored: host.stored,
      patient: options.sharing === 'member',
      get storeError() {
        return admin.commits.error;
      },
      whenStoreOpen: (fn) => admin.commits.whenOpen(fn),
      path: (target) => ways.path(target),
      wanted: (target) => ways.wanted(target),
      begun: new Map(),
      spool: (record, outbox) => spools.begin(record, outbox),
    },
    earlier: (mailbox) => spools.earlier(mailbox),
    abandoned: ({ id, lost = false }) => spools.abandon(id, lost),
    registered: (entry, before) => {
      ways.durableChanged(entry.name);
      host.registered(entry, before);
    },
  };
}
