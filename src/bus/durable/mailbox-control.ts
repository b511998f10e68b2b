import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import { clearing, pruning } from '../../actors/sweep.ts';
import { checkFlag, checkKnown, checkNumber, checkObject } from '../../core/checks.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import { nearest } from '../../core/spelling.ts';
import { checkName } from '../../core/topic.ts';
import { compilePattern, type PatternInput, patternFromWire } from '../../routing/pattern.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import { mailboxStats } from '../consuming/durable-attachment.ts';
import type { PullSource } from '../consuming/receiving.ts';
import { askedPolicy, type PolicyRecord, policyRecord } from '../options/definition.ts';
import { resolveSubscription, type SubscriptionOptions } from '../options/subscription-options.ts';
import type { Durables } from './durables.ts';
import { LocalPull } from './local-pull.ts';
import type { HomeEntry, Mailboxes } from './mailboxes.ts';
import { type PeekedMessage, peek, positionPattern } from './peeking.ts';
import { frontRecord, RemotePull } from './remote-pull.ts';

/** A durable mailbox, wherever its home is. */
export interface MailboxInfo {
  /** `<service>/<name>`. */
  name: string;
  pattern: string;
  /** The node whose store holds it. */
  home: string;
  /** False when its home could not be asked: the numbers are missing then, as zeros. */
  reachable: boolean;
  policy: PolicyRecord;
  /** Messages that wait, those that are parked included. */
  waiting: number;
  bytes: number;
  /** Messages that wait for a time: delayed, or for their next attempt. */
  parked: number;
  running: number;
  /** Attached consumers, here and on other nodes. */
  consumers: number;
  /** How long the oldest of those that could be handed out has waited, in milliseconds; left out when there is none. */
  oldest?: number;
  /** Milliseconds since the epoch. */
  createdAt: number;
}

/** What a mailbox has counted since its home was started, beside what it holds. */
export interface MailboxStats extends MailboxInfo {
  handled: number;
  failed: number;
  dead: number;
  dropped: number;
  expired: number;
  filtered: number;
  refused: number;
  /** Not found where they should have been. */
  lost: number;
  /** Handled a second. */
  rate: number;
  /** Whether it hands out single messages only, because everything fails. */
  probing: boolean;
}

/** A durable subscription without a handler: what `subscribe()` takes of it, as far as it is the mailbox's. */
export type MailboxDefinition = Omit<
  SubscriptionOptions,
  'durable' | 'concurrency' | 'credit' | 'timeout' | 'schema' | 'group' | 'name'
> & {
  name: string;
  pattern: PatternInput;
};

/** What became of `add()`. */
export interface AddedMailbox {
  name: string;
  home: string;
  outcome: 'created' | 'existed' | 'changed';
}

/** Which messages `peek()` shows. */
export interface PeekOptions {
  /** How many at most, 1 to 1,000; fewer when they are large. @default 20 */
  limit?: number;
  /** Where to begin: the `position` of a message that was shown. @default with the oldest */
  from?: string;
}

/** What the control needs of the bus. */
export interface MailboxControlHost {
  readonly node: string;
  readonly durability: 'fsync' | 'os';
  readonly clock: Clock;
  readonly mailboxes: Mailboxes;
  readonly durables: Durables;
  /** What the cluster knows; nothing in a bus that stands alone. */
  entries(): Iterable<DurableEntry>;
  /** @throws {BusError} `CLOSED` when the bus has closed. */
  checkOpen(): void;
  /** Asks another node. @throws {BusError} */
  ask(node: string, method: string, params: unknown, timeout: number): Promise<unknown>;
}

/** How long another node may take to tell something, and to go over a whole mailbox, in milliseconds. */
const askTime = { look: 10_000, sweep: 300_000 };
const consumerOptions = ['concurrency', 'credit', 'timeout', 'schema'];
const mailboxOptions = [
  'pattern',
  'name',
  'retry',
  'outage',
  'limits',
  'latestOnly',
  'filters',
  'durability',
  'update',
];

/**
 * The durable mailboxes of the cluster, to be looked into and looked after: `bus.mailboxes`. A bare name is one of this
 * node's own service. Whatever it is that a mailbox is asked to remove, what is running is left alone.
 */
export class MailboxControl {
  readonly #host: MailboxControlHost;

  /** @internal */
  constructor(host: MailboxControlHost) {
    this.#host = host;
  }

  /** All that are known, by name. */
  async list(): Promise<MailboxInfo[]> {
    const { mailboxes, node, ask } = this.#host;
    this.#host.checkOpen();
    const away = new Map<string, DurableEntry[]>();
    for (const entry of this.#remote()) away.set(entry.home, [...(away.get(entry.home) ?? []), entry]);
    const asked = [...away].map(async ([home, entries]): Promise<MailboxInfo[]> => {
      const found = await ask(home, 'mailbox.list', {}, askTime.look).catch(() => undefined);
      const byName = new Map(((found ?? []) as MailboxInfo[]).map((info) => [info.name, info])); // its own list()
      return entries.map((entry) => byName.get(entry.name) ?? unknownInfo(entry));
    });
    const here = [...mailboxes].map((entry) => infoOf(entry, node));
    return [...here, ...(await Promise.all(asked)).flat()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws {BusError} `NOT_FOUND`, naming the nearest one that exists; as all that follow; `NODE_UNREACHABLE`. */
  async stats(name: string): Promise<MailboxStats> {
    const at = this.#find(name);
    if ('mailbox' in at) return statsOf(at, this.#host.node);
    return (await this.#ask(at, 'stats', {}, askTime.look)) as MailboxStats;
  }

  /** Messages that wait, without taking them: in their order, and then those that are parked, by the time they wait for. */
  async peek(name: string, options: PeekOptions = {}): Promise<PeekedMessage[]> {
    checkObject('peek()', options);
    checkKnown('peek()', options, ['limit', 'from']);
    const limit = checkNumber('peek(): limit', options.limit, 20, { min: 1, max: 1000 });
    const { from } = options;
    if (from !== undefined && (typeof from !== 'string' || !positionPattern.test(from))) {
      throw new BusError('OPTION_INVALID', `peek(): from ${describe(from)} must be the position of a message`);
    }
    const at = this.#find(name);
    if ('mailbox' in at) return peek(at.mailbox, limit, from ?? '');
    const params = { limit, ...(from === undefined ? {} : { from }) };
    return (await this.#ask(at, 'peek', params, askTime.look)) as PeekedMessage[];
  }

  /** Removes everything that is not running, on disk as well, counted as dropped, 'cleared'. @returns how many, when that is durable. */
  async clear(name: string): Promise<number> {
    const at = this.#find(name);
    if ('mailbox' in at) return at.mailbox.sweep(clearing());
    return Number(await this.#ask(at, 'clear', {}, askTime.sweep));
  }

  /** Removes what has outlived its `ttl` or `limits.age`, wherever it waits. @returns how many, when that is durable. */
  async prune(name: string): Promise<number> {
    const at = this.#find(name);
    if ('mailbox' in at) return at.mailbox.sweep(pruning(at.mailbox));
    return Number(await this.#ask(at, 'prune', {}, askTime.sweep));
  }

  /**
   * Declares a durable subscription without attaching to it.
   *
   * @throws {BusError} `NAME_TAKEN`, telling the difference, unless `update` is true; `STORE_REQUIRED`; and as `subscribe()`.
   */
  async add(definition: MailboxDefinition): Promise<AddedMailbox> {
    const what = 'mailboxes.add()';
    checkObject(what, definition);
    const later = Object.fromEntries(
      consumerOptions.map((name) => [name, "it is a consumer's: give it to subscribe()"]),
    );
    checkKnown(what, definition, mailboxOptions, later);
    const { pattern: input, ...rest } = definition;
    const pattern = compilePattern(input);
    const options = resolveSubscription({ ...rest, durable: true });
    if (options.filters.predicates.length > 0) {
      throw new BusError(
        'OPTION_INVALID',
        `${what}: a filter that is a function is a consumer's: give it to subscribe()`,
      );
    }
    const { durables, durability, node } = this.#host;
    this.#host.checkOpen();
    const name = durables.fullName(definition.name);
    const before = this.#known(name);
    const version = before === undefined ? undefined : versionOf(before);
    const declared = await durables.declare(name, pattern, askedPolicy(options, durability), options);
    const outcome = version === undefined ? 'created' : version === versionOf(declared) ? 'existed' : 'changed';
    return { name, home: 'mailbox' in declared ? node : declared.home, outcome };
  }

  /**
   * Removes a durable subscription. `lost`: its home will not return, so it is removed without it, and what publishers have
   * spooled for it becomes dead letters on their nodes.
   *
   * @throws {BusError} `OPTION_INVALID` when messages wait and `discard` is not true, or the home is no other node;
   *   `NO_LEADER` when `lost` and the leader is away.
   */
  async remove(name: string, options: { discard?: boolean; lost?: boolean } = {}): Promise<void> {
    checkObject('remove()', options);
    checkKnown('remove()', options, ['discard', 'lost']);
    const { discard = false, lost = false } = options;
    checkFlag('discard', discard);
    checkFlag('lost', lost);
    const at = this.#find(name);
    const full = nameOf(at);
    if (lost) {
      if ('mailbox' in at)
        throw new BusError(
          'OPTION_INVALID',
          `'${full}' is at home on this node: it is not lost, remove it without lost`,
        );
      await this.#host.durables.lose(full);
      return;
    }
    if ('mailbox' in at) await this.#host.durables.remove(full, discard);
    else await this.#host.ask(at.home, 'durable.remove', { name: full, discard }, askTime.sweep);
  }

  /** @internal Where messages are pulled from. */
  source(name: string): PullSource {
    const at = this.#find(name);
    if ('mailbox' in at) return new LocalPull(at.mailbox, this.#host.durables);
    const { durables, clock, ask } = this.#host;
    return new RemotePull(at, durables, clock, ask);
  }

  /** @internal Answers another node, about a mailbox of this one. */
  async answer(method: string, params: unknown): Promise<unknown> {
    const { name, limit, from } = (params ?? {}) as Readonly<Record<string, unknown>>;
    const { node, mailboxes } = this.#host;
    if (method === 'mailbox.list') return [...mailboxes].map((entry) => infoOf(entry, node));
    const verbs: Readonly<Record<string, (full: string) => Promise<unknown>>> = {
      'mailbox.stats': (full) => this.stats(full),
      'mailbox.peek': (full) => this.peek(full, { limit, from } as PeekOptions), // it checks them
      'mailbox.clear': (full) => this.clear(full),
      'mailbox.prune': (full) => this.prune(full),
      'mailbox.front': async (full) => frontRecord(await this.source(full).front()),
      'mailbox.supersede': (full) => this.source(full).supersede(),
    };
    const verb = Object.hasOwn(verbs, method) ? verbs[method] : undefined;
    if (verb === undefined) throw new BusError('PROTOCOL_ERROR', `node '${node}' knows no request ${describe(method)}`);
    if (typeof name !== 'string' || mailboxes.get(name) === undefined) {
      throw new BusError('NOT_FOUND', `there is no durable subscription ${describe(name)} on node '${node}'`);
    }
    return verb(name);
  }

  *#remote(): Generator<DurableEntry> {
    const { node, mailboxes } = this.#host;
    for (const entry of this.#host.entries()) {
      if (!entry.removed && entry.home !== node && mailboxes.get(entry.name) === undefined) yield entry;
    }
  }

  #known(full: string): HomeEntry | DurableEntry | undefined {
    const here = this.#host.mailboxes.get(full);
    if (here !== undefined) return here;
    for (const entry of this.#remote()) if (entry.name === full) return entry;
    return undefined;
  }

  #find(name: string): HomeEntry | DurableEntry {
    const { durables, mailboxes } = this.#host;
    this.#host.checkOpen();
    checkFullName(name);
    const full = durables.fullName(name);
    const found = this.#known(full);
    if (found !== undefined) return found;
    const names = [...mailboxes, ...this.#remote()].map(nameOf);
    const near = nearest(full, names);
    const hint = near === undefined ? 'declare it by subscribe() or mailboxes.add()' : `did you mean '${near}'?`;
    throw new BusError('NOT_FOUND', `there is no durable subscription '${full}'; ${hint}`);
  }

  #ask({ home, name }: DurableEntry, verb: string, params: object, timeout: number): Promise<unknown> {
    return this.#host.ask(home, `mailbox.${verb}`, { ...params, name }, timeout);
  }
}

function nameOf(at: HomeEntry | DurableEntry): string {
  return 'mailbox' in at ? at.definition.name : at.name;
}

function versionOf(at: HomeEntry | DurableEntry): number {
  return 'mailbox' in at ? at.definition.version : at.version;
}

function checkFullName(name: unknown): void {
  const [service, bare, ...rest] = typeof name === 'string' && name.includes('/') ? name.split('/') : ['default', name];
  if (rest.length > 0) throw new BusError('NAME_INVALID', `${describe(name)} is no <service>/<name>`);
  checkName('service', service);
  checkName('subscription', bare);
}

function infoOf({ definition, mailbox, route }: HomeEntry, home: string): MailboxInfo {
  const { name, policy, createdAt } = definition;
  const oldest = oldestOf(mailbox);
  return {
    name,
    pattern: route.pattern.text,
    home,
    reachable: true,
    policy: policyRecord(policy),
    waiting: mailbox.size - mailbox.running,
    bytes: mailbox.bytes,
    parked: mailbox.parked,
    running: mailbox.running,
    consumers: mailbox.consumers,
    ...(oldest === undefined ? {} : { oldest }),
    createdAt,
  };
}

function statsOf(entry: HomeEntry, home: string): MailboxStats {
  const { abandoned: _, ...stats } = mailboxStats(entry.mailbox);
  return { ...stats, lost: entry.mailbox.tally.lost, ...infoOf(entry, home) };
}

function oldestOf(mailbox: DurableMailbox): number | undefined {
  let oldest = Number.POSITIVE_INFINITY;
  for (const { storedAt } of mailbox.peek()) if (storedAt < oldest) oldest = storedAt;
  return oldest === Number.POSITIVE_INFINITY ? undefined : Math.max(0, mailbox.clock.now() - oldest);
}

function unknownInfo({ name, pattern, home, policy }: DurableEntry): MailboxInfo {
  return {
    name,
    pattern: patternFromWire(pattern).text,
    home,
    reachable: false,
    policy: policy as PolicyRecord, // a home has packed it
    ...{ waiting: 0, bytes: 0, parked: 0, running: 0, consumers: 0, createdAt: 0 },
  };
}
