import type { Clock } from '../../core/clock.ts';
import { BusError, describe } from '../../core/errors.ts';
import type { AccessAction, EventHub } from '../../core/events.ts';
import { oneLine } from '../../core/line.ts';
import { Mentions } from '../../core/mentions.ts';
import { type Pattern, patternFromWire } from '../../routing/pattern.ts';
import type { DurableEntry, SubscriptionEntry } from '../../wire/frame.ts';
import type { PlacementEntry } from '../../wire/placement-entry.ts';
import type { Access } from '../options/access.ts';
import type { RefusalCounts } from './refusals.ts';
import { RefusedNumbers } from './refused-numbers.ts';

/** Of how many things it is remembered when they were told; what is beyond that is counted only. */
const mostTold = 1024;
const longestWhat = 255;
/** Of how many relayed streams it is remembered what was refused of them. */
const mostRelayed = 1024;

/** What a member tells its leader. */
interface Told {
  readonly add: readonly SubscriptionEntry[];
  readonly durables: readonly DurableEntry[];
  readonly placements: readonly PlacementEntry[];
}

/** What the leader knows. */
interface Known {
  durable(name: string): DurableEntry | undefined;
  placement(name: string): PlacementEntry | undefined;
}

/** Holds what other nodes do against the rules: counts what is refused, and tells of it. */
export class Gate {
  readonly #access: Access;
  readonly #clock: Clock;
  readonly #events: EventHub;
  readonly #counts: RefusalCounts;
  readonly #told = new Mentions(mostTold);
  readonly #relayed = new Map<string, RefusedNumbers>();

  constructor(access: Access, clock: Clock, events: EventHub, counts: RefusalCounts) {
    this.#access = access;
    this.#clock = clock;
    this.#events = events;
    this.#counts = counts;
  }

  /** Whether a node may publish to a topic. What it may not is counted. */
  publishes(node: string, topic: string): boolean {
    if (this.#access.allows(node, 'publish', topic)) return true;
    this.#count(node, 'publish', topic);
    return false;
  }

  /** Whether a node may subscribe to all that a pattern matches. What it may not is counted. */
  subscribes(node: string, pattern: Pattern): boolean {
    if (this.#access.subscribes(node, pattern)) return true;
    this.#count(node, 'subscribe', pattern.text);
    return false;
  }

  /** @throws {BusError} `DENIED`. */
  check(node: string, action: Exclude<AccessAction, 'subscribe'>, what: string): void {
    if (this.#access.allows(node, action, action === 'manage' ? undefined : what)) return;
    this.#count(node, action, what);
    throw denied(node, action, what);
  }

  /** @throws {BusError} `DENIED`. */
  checkSubscribe(node: string, pattern: Pattern): void {
    if (!this.subscribes(node, pattern)) throw denied(node, 'subscribe', pattern.text);
  }

  /** Whether a node may ask for what belongs to nobody in particular. What it may not is counted. */
  manages(node: string, what: string): boolean {
    if (this.#access.allows(node, 'manage')) return true;
    this.#count(node, 'manage', what);
    return false;
  }

  /**
   * On the leader: what counts of what a member tells: its own subscriptions, as far as it may have them. What it has to tell of
   * mailboxes of other homes and of placements is news to a leader that has lost them, and believed only of one that may manage.
   *
   * @returns also the ids of the subscriptions that do not count.
   */
  admit(node: string, told: Told, known: Known): Told & { readonly denied: readonly string[] } {
    const denied: string[] = [];
    const judged = (id: string, fits: boolean): boolean => {
      if (!fits) denied.push(id);
      return fits;
    };
    return {
      add: told.add.filter(({ id, pattern }) => judged(id, this.subscribes(node, patternFromWire(pattern)))),
      durables: told.durables.filter((entry) => judged(entry.id, this.#admits(node, entry, known.durable(entry.name)))),
      placements: told.placements.filter(({ name, version }) => {
        const before = known.placement(name);
        return (before !== undefined && before.version >= version) || this.manages(node, `placement ${name}`);
      }),
      denied,
    };
  }

  #admits(node: string, entry: DurableEntry, before: DurableEntry | undefined): boolean {
    const { id, name, version, home, removed, pattern } = entry;
    if (before !== undefined) {
      if (before.version > version) return true; // it is old, and changes nothing
      if (before.version === version && before.id === id && before.removed === removed) return true;
    }
    const own = home === node && (before === undefined || before.removed || before.home === node);
    if (!own) return this.manages(node, `durable ${name}`);
    return removed || this.subscribes(node, patternFromWire(pattern));
  }

  /** What was refused of a relayed stream, over any of its links. @param begin whether to remember that from now on. */
  relayed(stream: string, begin = false): RefusedNumbers | undefined {
    let numbers = this.#relayed.get(stream);
    if (numbers !== undefined || !begin) return numbers;
    for (const oldest of this.#relayed.keys()) {
      if (this.#relayed.size < mostRelayed) break;
      this.#relayed.delete(oldest);
    }
    numbers = new RefusedNumbers();
    this.#relayed.set(stream, numbers);
    return numbers;
  }

  #count(node: string, action: AccessAction, text: string): void {
    this.#counts.denied++;
    const what = oneLine(text).slice(0, longestWhat);
    const suppressed = this.#told.add(`${action} ${node} ${what}`, this.#clock.monotonic());
    if (suppressed === undefined) return; // it is counted all the same
    this.#events.emit({ type: 'access.denied', node, action, what, count: 1 + suppressed });
  }
}

function denied(node: string, action: AccessAction, what: string): BusError {
  const verb = { publish: 'publish to', subscribe: 'subscribe to', spawn: 'spawn', manage: 'ask for' }[action];
  return new BusError('DENIED', `node '${node}' may not ${verb} ${describe(what)}: the rules (access) do not allow it`);
}
