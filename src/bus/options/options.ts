import { hostname } from 'node:os';
import type { StoreSource } from '../../actors/admin.ts';
import type { Durability } from '../../actors/mailbox-policy.ts';
import { checkChoice, checkFlag, checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { checkName } from '../../core/topic.ts';
import type { Address } from '../../transport/address.ts';
import { SocketTransport } from '../../transport/sockets.ts';
import type { Transport } from '../../transport/transport.ts';
import type { Capabilities } from '../../wire/placement-entry.ts';
import { Access, type AccessRule } from './access.ts';
import { type NodeRole, resolveAddresses } from './addresses.ts';
import { checkCapabilities } from './capabilities.ts';
import { type BusLimits, resolveLimits } from './limits.ts';
import { resolveLogger } from './logger.ts';
import { checkShared } from './shared-options.ts';
import { resolveSyslog, type SyslogOptions } from './syslog-options.ts';
import { checkBearer, resolveTls, type TlsOptions } from './tls-options.ts';

/** What `createBus()` takes. Every member may be left out; the result is a bus within this process. */
export interface BusOptions {
  /**
   * A file such as `mailvan.config.json`, with options, which those given here override, and durable subscriptions, all of
   * which exist when the bus is open. @default none
   */
  config?: string;
  /**
   * This node's name in the cluster: `[A-Za-z0-9_.-]{1,128}`. @default host name, process id and a random suffix; with `tls`
   * the first name in the certificate
   */
  node?: string;
  /** Nodes link only within a cluster of the same name. @default 'default' */
  cluster?: string;
  /**
   * Whose durable subscriptions a bare name means: `'billing'` makes `'invoices'` `'billing/invoices'`, so that two services
   * never share a mailbox by accident. @default 'default'
   */
  service?: string;
  /**
   * The folder of this node's store; one process at a time. It fixes the node's name and identity. Left out: nothing is
   * kept beyond the process, and durable subscriptions live at the leader.
   */
  dataDir?: string;
  /**
   * When a message counts as stored: `'fsync'` when the disk has it, which survives a power failure; `'os'` when the
   * operating system has it, which survives the end of the process. @default 'fsync'
   */
  durability?: Durability;
  /** `true`: this node leads. An address such as `'tcp://10.0.8.1:1900'`: the leader to join. Left out: stand-alone. */
  leader?: true | string;
  /**
   * Where it listens: `tcp://host:port`, `tls://host:port` (port 0 chooses a free one) or `unix:path`. A node that listens
   * beside the leader can be promoted to lead.
   * @default 'tcp://127.0.0.1:1900' for a leader; 'tls://127.0.0.1:1900' with `tls`
   */
  listen?: string;
  /**
   * Instead of `leader`, `listen` and `dataDir`: a folder. The processes of this machine and of one user that name the same one
   * form a bus by themselves; one of them serves it, and when that ends another one does. Made with mode 0700 when it is
   * missing. @default none
   */
  shared?: string;
  /** Shared by all nodes, at least 16 bytes. It proves who belongs to the cluster; it does not hide what is sent. */
  secret?: string | Uint8Array;
  /**
   * This node's certificate and whose certificates it trusts, for `tls://` addresses, which it then has to use for all but
   * Unix sockets. @default none: no TLS
   */
  tls?: TlsOptions;
  /**
   * Secrets of single nodes, by name: a node that stands here has to prove itself with its own one, which it has as its `secret`;
   * all others with the common one, and not at all when there is none. To be given where they link to. @default {}
   */
  secrets?: Readonly<Record<string, string | Uint8Array>>;
  /**
   * What other nodes may publish, subscribe to, spawn and ask for. This node holds those to it whose links, messages and requests
   * come here: give it to the leader, to whoever may lead after it, and to every node with subscriptions. A node that no rule matches
   * may do nothing. @default none: everybody may do everything
   */
  access?: readonly AccessRule[];
  /** Allows listening beyond loopback without a secret or TLS. @default false */
  insecure?: boolean;
  /**
   * The node that listens at the address given as `leader` is to lead from now on, if this is its name and it has lost its
   * leader: the leader will not return, or not soon. See `bus.promote()`. @default nobody
   */
  promote?: string;
  /** How long to try to join the leader, in milliseconds. @default 10_000 */
  joinTimeout?: number;
  /**
   * What this node can do, for placements that ask for it: `{ writer: true, region: 'eu', slots: 4 }`. Names as those of
   * nodes; values are booleans, numbers or texts. @default {}
   */
  capabilities?: Capabilities;
  liveness?: Partial<LivenessOptions>;
  redial?: Partial<RedialOptions>;
  limits?: Partial<BusLimits>;
  /** A pino logger, or anything with its methods. @default warnings and worse, as JSON on stderr */
  logger?: Logger;
  /**
   * Sends the log to a server for syslog instead: an address such as `'udp://127.0.0.1:514'`, or that with a level and a facility.
   * Needs the package pino-syslog. What is logged until `close()` resolves is sent before, if the server takes it within 2 s.
   * @default none
   */
  syslog?: string | SyslogOptions;
}

/** When a silent link is doubted and given up, in milliseconds. */
export interface LivenessOptions {
  /** A link that has sent nothing for so long sends a ping. @default 1_000 */
  ping: number;
  /** A link that has brought nothing for so long is reset, and its node is suspect. @default 3_000 */
  suspect: number;
  /** A node that has not been heard for so long is down. @default 15_000 */
  down: number;
}

/** The waits between attempts to reach the leader, in milliseconds; each is varied by 20 %. */
export interface RedialOptions {
  /** @default 100 */
  delay: number;
  /** @default 2_000 */
  maxDelay: number;
  /** How long one attempt to connect may take. @default 2_000 */
  timeout: number;
}

/** The options with every default filled in. */
export interface ResolvedOptions {
  readonly node: string;
  readonly cluster: string;
  readonly service: string;
  /** Whether a service was named. */
  readonly ownService: boolean;
  readonly dataDir: string | undefined;
  /** `'member'`: its leader, wherever that runs, is a shared folder; `'home'`: it is the folder's own bus. */
  readonly sharing: 'none' | 'member' | 'home';
  readonly durability: Durability;
  readonly role: NodeRole;
  readonly leader: Address | undefined;
  readonly listen: Address | undefined;
  readonly secret: Uint8Array | undefined;
  readonly secrets: ReadonlyMap<string, Uint8Array> | undefined;
  readonly access: Access | undefined;
  readonly promote: string | undefined;
  readonly joinTimeout: number;
  readonly capabilities: Capabilities;
  readonly liveness: Readonly<LivenessOptions>;
  readonly redial: Readonly<RedialOptions>;
  readonly limits: Readonly<BusLimits>;
  readonly logger: Logger;
  /** Writes out what the default logger, or the one for syslog, still holds. */
  flush(): void | Promise<void>;
  readonly clock: Clock;
  readonly transport: Transport;
}

/** What tests and the simulation put in the place of the real parts. */
export interface Parts {
  clock?: Clock;
  transport?: Transport;
  /** Stands in for the store in `dataDir`, which lasts as long as somebody holds on to it. */
  source?: StoreSource;
  /** It is the own bus of a shared folder. @default false */
  folder?: boolean;
}

const known = [
  'config',
  'node',
  'cluster',
  'service',
  'dataDir',
  'durability',
  'leader',
  'listen',
  'shared',
  'secret',
  'secrets',
  'access',
  'tls',
  'insecure',
  'joinTimeout',
  'promote',
  'capabilities',
  'liveness',
  'redial',
  'limits',
  'logger',
  'syslog',
] as const satisfies readonly (keyof BusOptions)[];

const day = 86_400_000;

/** What must be known before the store is opened. */
export interface StoreOptions {
  readonly node: string | undefined;
  /** Makes a name up for a node that was given none, and whose store knows none. */
  readonly fallback: () => string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly dataDir: string | undefined;
}

/** Checks what the user gave, without opening anything. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
export function checkOptions(options: BusOptions = {}, parts: Parts = {}): StoreOptions {
  const { clock, logger, dataDir, node } = resolveOptions(options, parts);
  return { node: options.node, fallback: () => node, clock, logger, dataDir };
}

/**
 * Checks what the user gave and fills in the defaults.
 *
 * @param named the name that the store gives this node. @default the one that was given, or one made up
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`.
 */
export function resolveOptions(
  options: BusOptions = {},
  parts: Parts = {},
  named?: string,
  given?: { logger: Logger; flush: () => void | Promise<void> },
): ResolvedOptions {
  const what = 'createBus()';
  checkObject(what, options);
  checkKnown(what, options, known);
  const clock = parts.clock ?? systemClock;
  const tls = resolveTls(options.tls, clock);
  const node = named ?? (options.node === undefined ? (tls?.names[0] ?? defaultNode(clock)) : options.node);
  const log = given ?? resolveLogger(options.logger);
  checkName('node', node);
  const { cluster = 'default', service = 'default', insecure = false, dataDir } = options;
  checkFlag('insecure', insecure);
  if (options.syslog !== undefined) {
    resolveSyslog(options.syslog);
    if (options.logger !== undefined)
      throw new BusError('OPTION_INVALID', "'logger' and 'syslog' both say where the log goes: give one of them");
  }
  checkName('cluster', cluster);
  checkName('service', service);
  if (dataDir !== undefined && (typeof dataDir !== 'string' || dataDir === '')) {
    throw new BusError('OPTION_INVALID', `dataDir ${describe(dataDir)} must be the path of a folder`);
  }
  const shared = checkShared(options as Readonly<Record<string, unknown>>);
  checkBearer(node, tls);
  const { role, leader, listen } = resolveAddresses(options, tls, shared);
  return {
    node,
    cluster,
    service,
    ownService: options.service !== undefined,
    dataDir,
    sharing: shared !== undefined ? 'member' : parts.folder === true ? 'home' : 'none',
    durability: checkChoice('durability', options.durability, 'fsync', ['fsync', 'os'] as const),
    role,
    leader,
    listen,
    secret: resolveSecret('secret', options.secret),
    secrets: resolveSecrets(options),
    access: resolveAccess(options, role),
    promote: resolvePromote(options, role),
    joinTimeout: checkNumber('joinTimeout', options.joinTimeout, 10_000, { min: 1, max: day }),
    capabilities: checkCapabilities('capabilities', options.capabilities ?? {}),
    liveness: resolveLiveness(options.liveness),
    redial: resolveRedial(options.redial),
    limits: resolveLimits(options.limits, dataDir !== undefined),
    logger: log.logger.child({ node }),
    flush: log.flush,
    clock,
    transport: parts.transport ?? new SocketTransport({ clock, credentials: tls?.credentials }),
  };
}

/** A name for a node that was given none. */
export function defaultNode(clock: Clock): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9_.-]/g, '-')
    .slice(0, 64);
  const suffix = Math.floor(clock.random() * 36 ** 4).toString(36);
  return `${host || 'node'}-${process.pid}-${suffix.padStart(4, '0')}`;
}

function resolvePromote({ promote }: BusOptions, role: NodeRole): string | undefined {
  if (promote === undefined) return undefined;
  checkName('promote', promote);
  if (role === 'leaf') return promote;
  throw new BusError('OPTION_INVALID', "'promote' goes only with the address of the node that is to lead, as 'leader'");
}

function resolveSecrets({ secrets, listen, leader }: BusOptions): ReadonlyMap<string, Uint8Array> | undefined {
  if (secrets === undefined) return undefined;
  if (typeof secrets !== 'object' || secrets === null || Array.isArray(secrets)) {
    throw new BusError('OPTION_INVALID', "secrets must be an object: { 'node': its secret }"); // without the value
  }
  if (listen === undefined && leader !== true) {
    throw new BusError('OPTION_INVALID', "'secrets' are those of nodes that link to this one, and it does not listen");
  }
  const resolved = new Map<string, Uint8Array>();
  for (const [node, secret] of Object.entries(secrets)) {
    checkName("a node in 'secrets'", node);
    const bytes = resolveSecret(`the secret of '${node}'`, secret);
    if (bytes === undefined) throw new BusError('OPTION_INVALID', `secrets has none for '${node}'`);
    resolved.set(node, bytes);
  }
  return resolved;
}

function resolveAccess({ access }: BusOptions, role: NodeRole): Access | undefined {
  if (access === undefined) return undefined;
  const compiled = new Access(access);
  if (role !== 'alone') return compiled;
  throw new BusError('OPTION_INVALID', "'access' is about other nodes: a bus that stands alone has none");
}

function resolveSecret(what: string, secret: unknown): Uint8Array | undefined {
  if (secret === undefined) return undefined;
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array)) {
    throw new BusError('OPTION_INVALID', `${what} must be a string or a Uint8Array`);
  }
  const bytes = typeof secret === 'string' ? new TextEncoder().encode(secret) : secret.slice();
  // The value itself is never part of an error: errors end up in logs.
  if (bytes.length < 16) throw new BusError('OPTION_INVALID', `${what} has ${bytes.length} bytes; give at least 16`);
  return bytes;
}

function resolveLiveness(given: Partial<LivenessOptions> = {}): LivenessOptions {
  checkObject('liveness', given);
  checkKnown('liveness', given, ['ping', 'suspect', 'down']);
  const ping = checkNumber('liveness.ping', given.ping, 1000, { min: 10, max: day });
  const suspect = checkNumber('liveness.suspect', given.suspect, 3000, { min: 20, max: day });
  const down = checkNumber('liveness.down', given.down, 15_000, { min: 30, max: day });
  if (ping * 2 > suspect || suspect > down) {
    throw new BusError(
      'OPTION_INVALID',
      `liveness: ping ${ping}, suspect ${suspect} and down ${down} must fulfil 2 * ping <= suspect <= down, or one late ping resets a link`,
    );
  }
  return { ping, suspect, down };
}

function resolveRedial(given: Partial<RedialOptions> = {}): RedialOptions {
  checkObject('redial', given);
  checkKnown('redial', given, ['delay', 'maxDelay', 'timeout']);
  const delay = checkNumber('redial.delay', given.delay, 100, { min: 1, max: day });
  return {
    delay,
    maxDelay: checkNumber('redial.maxDelay', given.maxDelay, Math.max(2000, delay), { min: delay, max: day }),
    timeout: checkNumber('redial.timeout', given.timeout, 2000, { min: 1, max: day }),
  };
}
