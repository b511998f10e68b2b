import type { OutageOption } from '../../actors/brake.ts';
import type { Fence } from '../../actors/fences.ts';
import { type Filter, FilterChain } from '../../actors/filters.ts';
import type { MailboxLimits, Overflow } from '../../actors/mailbox.ts';
import type { Durability, LatestOnly } from '../../actors/mailbox-policy.ts';
import { checkChoice, checkFlag, checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import { defaultOutage, type OutagePolicy } from '../../core/outage.ts';
import { defaultRetry, type RetryPolicy } from '../../core/retry.ts';
import { checkSchema, type StandardSchema } from '../../core/schema.ts';
import { checkName } from '../../core/topic.ts';

/** What `subscribe()` and `consume()` take beside pattern and handler. */
export interface SubscriptionOptions<T = unknown> {
  /** Unique within the node: `[A-Za-z0-9_.-]{1,128}`. @default 'sub-1', 'sub-2', ... */
  name?: string;
  /**
   * Keeps its messages in a store, across restarts, for all consumers of the same name anywhere in the cluster. Needs a
   * `name`, and a `dataDir` here or at the leader. @default false
   */
  durable?: boolean;
  /** When a stored message counts as stored. @default the bus' `durability` */
  durability?: Durability;
  /** Changes the options of a durable mailbox that exists already to these, instead of `NAME_TAKEN`. @default false */
  update?: boolean;
  /** How failed messages are tried again. */
  retry?: Partial<RetryPolicy>;
  /**
   * When failures are taken for an outage of what the handler needs: from then on one message at a time is tried, and what
   * fails spends no attempt, until one succeeds. `false`: never; nor with `retry: { attempts: 1 }`, which means once only.
   */
  outage?: Partial<OutagePolicy> | false;
  /** How much the mailbox holds, and what happens when it is full. */
  limits?: Partial<MailboxLimits>;
  /** Keeps only the newest message: of the whole subscription, or of each topic. @default false */
  latestOnly?: boolean | 'topic';
  /** A message has to pass all of them: `maxSize()`, `minPeriod()`, and functions that see the message. @default none */
  filters?: readonly Filter[];
  /**
   * Shares its messages with all subscriptions in memory that have this group and this pattern, on any node of the service's: one
   * of them gets each, those of the publisher's node first. Durable ones share by their name. @default none
   */
  group?: string;
  /** How many messages are handled at a time. @default 1 */
  concurrency?: number;
  /**
   * Of a durable subscription: how many deliveries this consumer may hold whose settlement is not stored; after a crash as
   * many may come twice. @default `concurrency` over a link; the larger of 512 and twice that on the mailbox's home
   */
  credit?: number;
  /** How long an attempt may take, in milliseconds. @default 30_000 */
  timeout?: number;
  /**
   * Any validator that implements Standard Schema: the handler gets what it makes of each payload; what does not fit becomes a
   * dead letter at once, with the reason `invalid`. A subscription by a `topic()` has that one's. @default none
   */
  schema?: StandardSchema<unknown, T>;
}

/** The options with every default filled in. */
export interface ResolvedSubscription {
  readonly name: string | undefined;
  readonly durable: boolean;
  readonly durability: Durability | undefined;
  readonly update: boolean;
  readonly latestOnly: LatestOnly;
  readonly filters: FilterChain;
  readonly credit: number | undefined;
  /** Which options of the mailbox were given. */
  readonly given: ReadonlySet<string>;
  readonly retry: Readonly<RetryPolicy>;
  readonly outage: OutageOption;
  readonly limits: Readonly<MailboxLimits>;
  readonly concurrency: number;
  readonly timeout: number;
  readonly schema: StandardSchema | undefined;
  readonly group: string | undefined;
  /** Of an instance of a placement: whose place it takes at the mailbox. */
  readonly fence?: Fence;
}

const known = [
  'name',
  'durable',
  'durability',
  'update',
  'retry',
  'outage',
  'limits',
  'latestOnly',
  'filters',
  'concurrency',
  'credit',
  'timeout',
  'schema',
  'group',
];
const overflows: readonly Overflow[] = ['block', 'reject', 'drop-oldest', 'drop-newest'];
const durabilities: readonly Durability[] = ['fsync', 'os'];
const day = 86_400_000;
/** Ages, in milliseconds: up to ten years. */
const longest = { min: 1, max: 3650 * day };

/** Checks what the user gave and fills in the defaults. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
export function resolveSubscription(options: SubscriptionOptions = {}): ResolvedSubscription {
  checkObject('subscription options', options);
  checkKnown('subscription options', options, known);
  const { durable = false, update = false } = options;
  checkFlag('durable', durable);
  checkFlag('update', update);
  if (options.name !== undefined) checkFullName(options.name, durable);
  else if (durable)
    throw new BusError('OPTION_INVALID', 'a durable subscription needs a name: it is found again by it');
  if (!durable) {
    for (const name of ['durability', 'update', 'credit'] as const) {
      if (options[name] !== undefined) throw new BusError('OPTION_INVALID', `'${name}' goes only with durable: true`);
    }
  }
  if (options.group !== undefined) {
    if (durable)
      throw new BusError('OPTION_INVALID', "'group' does not go with durable: true: who says its name shares it");
    checkName('group', options.group);
  }
  if (options.schema !== undefined) checkSchema('subscription options', options.schema);
  return {
    name: options.name,
    durable,
    durability:
      options.durability === undefined
        ? undefined
        : checkChoice('durability', options.durability, 'fsync', durabilities),
    update,
    latestOnly: checkChoice('latestOnly', options.latestOnly, false, [false, true, 'topic'] as const),
    filters: new FilterChain(options.filters),
    credit:
      options.credit === undefined ? undefined : checkNumber('credit', options.credit, 1, { min: 1, max: 1_000_000 }),
    given: new Set(Object.keys(options).filter((name) => options[name as keyof SubscriptionOptions] !== undefined)),
    retry: resolveRetry(options.retry),
    outage: resolveOutage(options.outage),
    limits: resolveLimits(options.limits, durable),
    concurrency: checkNumber('concurrency', options.concurrency, 1, { min: 1, max: 1_000_000 }),
    timeout: checkNumber('timeout', options.timeout, 30_000, { min: 1, max: day }),
    schema: options.schema,
    group: options.group,
  };
}

function resolveRetry(given: Partial<RetryPolicy> = {}): RetryPolicy {
  checkObject('retry', given);
  checkKnown('retry', given, Object.keys(defaultRetry));
  const delay = checkNumber('retry.delay', given.delay, defaultRetry.delay, { min: 0, max: day, integer: false });
  return {
    attempts: checkNumber('retry.attempts', given.attempts, defaultRetry.attempts, { min: 1, max: 1_000_000 }),
    delay,
    factor: checkNumber('retry.factor', given.factor, defaultRetry.factor, { min: 1, max: 1000, integer: false }),
    maxDelay: checkNumber('retry.maxDelay', given.maxDelay, Math.max(defaultRetry.maxDelay, delay), {
      min: delay,
      max: 30 * day,
      integer: false,
    }),
    jitter: checkNumber('retry.jitter', given.jitter, defaultRetry.jitter, { min: 0, max: 1, integer: false }),
  };
}

function resolveOutage(given: Partial<OutagePolicy> | false = {}): OutageOption {
  if (given === false) return false;
  if (typeof given !== 'object' || given === null)
    throw new BusError(
      'OPTION_INVALID',
      `outage ${describe(given)} must be false, or an object such as { failures: 10 }`,
    );
  checkKnown('outage', given, Object.keys(defaultOutage));
  const { failures, messages, grace } = defaultOutage;
  return {
    failures: checkNumber('outage.failures', given.failures, failures, { min: 1, max: 1_000_000 }),
    messages: checkNumber('outage.messages', given.messages, messages, { min: 1, max: 1000 }),
    grace: checkNumber('outage.grace', given.grace, grace, { min: 0, max: 3650 * day }),
  };
}

/** How much a mailbox holds, unless it is told otherwise: in memory, and on disk. */
const defaultLimits = {
  memory: { messages: 10_000, bytes: 16 * 1024 * 1024, overflow: 'block' },
  disk: { messages: 1_000_000, bytes: 2 * 1024 ** 3, overflow: 'reject' },
} as const;

function resolveLimits(given: Partial<MailboxLimits> = {}, durable = false): MailboxLimits {
  checkObject('limits', given);
  checkKnown('limits', given, ['messages', 'bytes', 'age', 'overflow', 'deadLetters']);
  const { messages, bytes, overflow } = durable ? defaultLimits.disk : defaultLimits.memory;
  const { deadLetters = false, age } = given;
  checkFlag('limits.deadLetters', deadLetters);
  return {
    messages: checkNumber('limits.messages', given.messages, messages, { min: 1, max: 100_000_000 }),
    bytes: checkNumber('limits.bytes', given.bytes, bytes, { min: 1, max: Number.MAX_SAFE_INTEGER }),
    age: age === Number.POSITIVE_INFINITY ? age : checkNumber('limits.age', age, Number.POSITIVE_INFINITY, longest),
    overflow: checkChoice('limits.overflow', given.overflow, overflow, overflows),
    deadLetters,
  };
}

/** A name within one's own service, or of a durable subscription of another: `<service>/<name>`. */
export function checkFullName(name: unknown, durable: boolean): void {
  const cut = durable && typeof name === 'string' ? name.indexOf('/') : -1;
  if (cut < 0) {
    checkName('subscription', name);
    return;
  }
  checkName('service', (name as string).slice(0, cut));
  checkName('subscription', (name as string).slice(cut + 1));
}
