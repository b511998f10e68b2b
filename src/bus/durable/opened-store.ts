import { Admin } from '../../actors/admin.ts';
import { EventHub } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import { parseAddress } from '../../transport/address.ts';
import type { Leadership } from '../network/network-host.ts';
import { resolveLogger } from '../options/logger.ts';
import { type BusOptions, checkOptions, type Parts, type ResolvedOptions, resolveOptions } from '../options/options.ts';
import { openSyslog } from '../options/syslog.ts';
import { resolveSyslog } from '../options/syslog-options.ts';
import { identify } from './identity.ts';
import { leadershipOf } from './registry-records.ts';
import { FolderSource, MemorySource } from './store-source.ts';

/** A node's store, open, and who the node is by it. */
export interface OpenedStore {
  readonly options: ResolvedOptions;
  readonly admin: Admin;
  readonly events: EventHub;
  /** How often this node has been started; 0 without a store that lasts. */
  readonly starts: number;
  /** The term that an operator's last word on who leads has begun, as far as this node's store knows; else 0. */
  readonly term: number;
  /** Whether what is stored outlives the process. */
  readonly lasting: boolean;
  /** How many events `store.gap` there were, from the opening on. */
  gaps(): number;
  /** Called when the store has been opened again after a failure, before anything is written. */
  restored: () => void;
}

interface Log {
  readonly logger: Logger;
  readonly flush: () => void | Promise<void>;
}

/**
 * Checks the options, opens the store, and takes the node's identity from it.
 *
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `STORE_LOCKED`, `STORE_FULL`, `STORE_FAILED`, `STORE_CORRUPT`.
 */
export async function openStore(given: BusOptions = {}, parts: Parts = {}): Promise<OpenedStore> {
  const { clock } = checkOptions(given, parts);
  const { logger, syslog } = given;
  const log = syslog === undefined ? resolveLogger(logger) : await openSyslog(resolveSyslog(syslog), clock);
  try {
    return await opened(given, parts, log);
  } catch (error) {
    await log.flush();
    throw error;
  }
}

async function opened(given: BusOptions, parts: Parts, log: Log): Promise<OpenedStore> {
  const { clock, dataDir, node, fallback } = checkOptions(given, parts);
  const lasting = dataDir !== undefined || parts.source !== undefined;
  const events = new EventHub(log.logger);
  let gaps = 0;
  events.on('store.gap', () => gaps++);
  const lost = (reason: string): void =>
    events.emit({ type: 'store.gap', subscription: '', from: 0, to: 0, count: 0, reason });
  const source =
    parts.source ?? (dataDir === undefined ? new MemorySource() : new FolderSource(dataDir, clock, log.logger, lost));
  let store: OpenedStore | undefined;
  const admin = new Admin({ clock, log: log.logger, events, source, restored: () => store?.restored() });
  await admin.open();
  try {
    const identity = lasting
      ? await identify(admin.commits.store, node, fallback)
      : { node: node ?? fallback(), starts: 0 };
    const leadership = lasting ? await leadershipOf(admin.commits.store) : undefined;
    const options = succeeding(resolveOptions(given, parts, identity.node, log), leadership);
    events.logTo(options.logger);
    store = {
      options,
      admin,
      events,
      starts: identity.starts,
      term: leadership?.term ?? 0,
      lasting,
      restored: () => {},
      gaps: () => gaps,
    };
    return store;
  } catch (error) {
    await admin.close();
    throw error;
  }
}

/** An operator's word on who leads outweighs what a node is started with. */
function succeeding(options: ResolvedOptions, leadership: Leadership | undefined): ResolvedOptions {
  if (leadership === undefined || options.role === 'alone') return options;
  const { leads, address } = leadership;
  if (!leads) return { ...options, role: 'leaf', leader: parseAddress(address, 'leader') };
  return options.listen === undefined ? options : { ...options, role: 'leader' };
}
