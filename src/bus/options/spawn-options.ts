import { checkChoice, checkFlag, checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import { hexOf } from '../../core/hex.ts';
import { checkName } from '../../core/topic.ts';
import { compilePattern, type PatternInput } from '../../routing/pattern.ts';
import { encodePayload } from '../../wire/codec.ts';
import { type Condition, largestData, mostInstances, type PlacementSpec } from '../../wire/placement-entry.ts';
import { checkWhere } from './capabilities.ts';
import { type ResolvedSubscription, resolveSubscription, type SubscriptionOptions } from './subscription-options.ts';

/** What `spawn()` takes beside the kind. */
export interface SpawnOptions
  extends Pick<
    SubscriptionOptions,
    | 'durable'
    | 'durability'
    | 'update'
    | 'retry'
    | 'outage'
    | 'limits'
    | 'latestOnly'
    | 'concurrency'
    | 'credit'
    | 'timeout'
  > {
  /** Unique in the cluster; of a durable one also its subscription's. @default the kind's, and a random suffix */
  name?: string;
  /** Which topics it gets. @default none: it takes no messages */
  pattern?: PatternInput;
  /** What a node must be able to do: a value that a capability has to be, or `{ gte, lte, in, exists }`. @default anything */
  where?: Readonly<Record<string, Condition>>;
  /** How many of it run: one of them gets each message. Of a durable one they share its mailbox; otherwise they are a group. @default 1 */
  instances?: number;
  /** At most one instance for each node (`'node'`), or for each value of the capability of that name. @default no such rule */
  spread?: string;
  /** The only nodes on which it may run. @default any */
  pinned?: string | readonly string[];
  /** Never two of it at a time, not even for a moment, as far as its settlements count. @default false */
  singleton?: boolean;
  /**
   * Of a singleton, when its node is down: `'auto'` starts it elsewhere once the old one must have stopped itself;
   * `'manual'` waits for `placements.rebalance({ lost: true })`. @default 'auto'
   */
  failover?: 'auto' | 'manual';
  /** Whether an instance that fails is started again, at most 10 times in 10 seconds. @default true */
  restart?: boolean;
  /** Handed to every instance: at most 64 KiB, encoded. @default nothing */
  args?: unknown;
  /** Keeps it although not all instances fit anywhere now: they start as soon as they do. @default false */
  pending?: boolean;
  /** How long to wait until every instance has started, in milliseconds. @default 30_000 */
  wait?: number;
}

const ofMailbox = ['durability', 'update', 'retry', 'outage', 'limits', 'latestOnly'] as const;
const ofConsumer = ['concurrency', 'credit', 'timeout'] as const;
const known = [
  'name',
  'pattern',
  'where',
  'instances',
  'spread',
  'pinned',
  'singleton',
  'failover',
  'restart',
  'args',
  'pending',
  'wait',
  'durable',
  ...ofMailbox,
  ...ofConsumer,
];

/** The options with every default filled in. */
export interface ResolvedSpawn {
  readonly name: string;
  /** Whether the name was made up, so that nobody else can have it. */
  readonly unnamed: boolean;
  readonly spec: PlacementSpec;
  readonly pending: boolean;
  readonly wait: number;
  /** Of a durable one: its subscription. */
  readonly subscription: ResolvedSubscription | undefined;
}

/**
 * Checks what the user gave and fills in the defaults.
 *
 * @param fullName the full name of a durable subscription.
 * @param draw so many bytes from the dice.
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`, `PATTERN_INVALID`, `PAYLOAD_INVALID`.
 */
export function resolveSpawn(
  kind: string,
  options: SpawnOptions,
  fullName: (name: string) => string,
  draw: (length: number) => Uint8Array,
): ResolvedSpawn {
  checkName('kind', kind);
  checkObject('spawn()', options);
  checkKnown('spawn()', options, known);
  const { name = `${kind.slice(0, 100)}-${hexOf(draw(6))}`, pattern, durable = false, spread } = options;
  const { singleton = false, restart = true, pending = false } = options;
  checkName('placement', name);
  for (const [what, flag] of Object.entries({ durable, singleton, restart, pending })) checkFlag(what, flag);
  const instances = checkNumber('instances', options.instances, 1, { min: 1, max: mostInstances });
  if (spread !== undefined) checkName('spread', spread);
  if (singleton && instances > 1)
    throw new BusError('OPTION_INVALID', `a singleton runs once: instances ${instances} does not go with it`);
  if (options.failover !== undefined && !singleton)
    throw new BusError('OPTION_INVALID', "'failover' goes only with singleton: true");
  if (pattern === undefined) {
    for (const what of ['durable', ...ofMailbox, ...ofConsumer] as const) {
      if (options[what] !== undefined) throw new BusError('OPTION_INVALID', `'${what}' goes only with a pattern`);
    }
  }
  const given = Object.fromEntries([...ofMailbox, ...ofConsumer].map((what) => [what, options[what]]));
  const subscription = resolveSubscription({ ...given, ...(durable ? { durable, name } : {}) });
  return {
    name,
    unnamed: options.name === undefined,
    pending,
    wait: checkNumber('wait', options.wait, 30_000, { min: 1, max: 86_400_000 }),
    subscription: durable ? subscription : undefined,
    spec: {
      kind,
      ...(pattern !== undefined && { pattern: compilePattern(pattern).toWire() }),
      where: checkWhere(options.where),
      instances,
      ...(spread !== undefined && { spread }),
      ...(options.pinned !== undefined && { pinned: checkPinned(options.pinned) }),
      singleton,
      failover: checkChoice('failover', options.failover, 'auto', ['auto', 'manual'] as const),
      restart,
      ...(durable && { durable: fullName(name) }),
      options: optionsOf(options, durable),
      ...(options.args !== undefined && { args: dataOf('args', options.args) }),
    },
  };
}

/** What every instance subscribes with; of a durable one, its mailbox has the rest already. */
function optionsOf(options: SpawnOptions, durable: boolean): Record<string, unknown> {
  const names = durable ? ofConsumer : [...ofMailbox, ...ofConsumer];
  return Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
}

function checkPinned(given: unknown): string[] {
  const nodes: unknown[] = Array.isArray(given) ? given : [given];
  if (nodes.length === 0 || nodes.length > 1000)
    throw new BusError('OPTION_INVALID', `pinned: ${describe(given)} must name 1 to 1,000 nodes`);
  for (const node of nodes) checkName('pinned', node);
  return [...new Set(nodes as string[])].sort();
}

/** What travels to instances, encoded. @throws {BusError} `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`. */
export function dataOf(what: string, value: unknown): Uint8Array {
  const bytes = Uint8Array.from(encodePayload(value));
  if (bytes.length <= largestData) return bytes;
  throw new BusError('PAYLOAD_TOO_LARGE', `${what}: ${bytes.length} bytes encoded; at most ${largestData} are allowed`);
}
