import type { Admin } from '../../actors/admin.ts';
import type { DeadLetters, Replay } from '../../actors/dead-letters.ts';
import { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { MailboxPolicy } from '../../actors/mailbox-policy.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, toError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import { hexOf } from '../../core/hex.ts';
import type { Logger } from '../../core/log.ts';
import { type Pattern, patternFromWire } from '../../routing/pattern.ts';
import type { Router } from '../../routing/router.ts';
import { RecentIds } from '../../storage/ids.ts';
import { emptyState, packState } from '../../storage/journal-state.ts';
import { recover, stateKey } from '../../storage/recovery.ts';
import { prefixRange } from '../../storage/store.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import {
  type Definition,
  definitionKey,
  type PolicyRecord,
  packDefinition,
  policyOf,
  unpackDefinition,
} from '../options/definition.ts';
import { DurableRoute } from '../routes/durable-route.ts';
import type { Route } from '../routes/route.ts';
import { nextVersion } from './durable-cluster.ts';

/** What the durable mailboxes of a node need of the bus. */
export interface MailboxesHost {
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly admin: Admin;
  readonly deadLetters: DeadLetters;
  readonly router: Router<Route>;
}

/** A durable mailbox of this node. */
export interface HomeEntry {
  definition: Definition;
  readonly mailbox: DurableMailbox;
  route: DurableRoute;
}

/** The durable mailboxes whose home is this node. */
export class Mailboxes {
  readonly #host: MailboxesHost;
  readonly #byName = new Map<string, HomeEntry>();
  readonly #byId = new Map<string, HomeEntry>();
  readonly #adopting = new Map<string, Promise<void>>();

  constructor(host: MailboxesHost) {
    this.#host = host;
  }

  [Symbol.iterator](): Iterator<HomeEntry> {
    return this.#byName.values();
  }

  get(name: string): HomeEntry | undefined {
    return this.#byName.get(name);
  }

  byId(id: string): HomeEntry | undefined {
    return this.#byId.get(id);
  }

  /** Takes dead letters back into a mailbox; undefined when there is none of that name. */
  replayTo(name: string): Replay | undefined {
    const mailbox = this.#byName.get(name)?.mailbox;
    if (mailbox === undefined) return undefined;
    return (message) => {
      if (mailbox.closed) return 'closed';
      if (!mailbox.fits(message.size)) return 'full';
      mailbox.force(message, undefined);
      return 'accepted';
    };
  }

  /** Opens what the store holds. A mailbox that cannot be opened does not keep the others from it. */
  async open(): Promise<void> {
    const { commits } = this.#host.admin;
    const definitions: Definition[] = [];
    for await (const [key, value] of commits.store.scan(prefixRange('box/'))) {
      try {
        definitions.push(unpackDefinition(key, value));
      } catch (error) {
        this.#host.log.error({ err: toError(error), key }, 'a mailbox cannot be opened');
      }
    }
    for (const definition of definitions) await this.#open(definition);
  }

  /** Makes a mailbox. Resolves when that is on disk. */
  async create(name: string, pattern: Pattern, policy: MailboxPolicy, version: number): Promise<HomeEntry> {
    const { clock } = this.#host;
    const id = hexOf(clock.randomBytes(8));
    const definition: Definition = { id, name, version, pattern: pattern.toWire(), policy, createdAt: clock.now() };
    return this.#make(definition, pattern);
  }

  async #make(definition: Definition, pattern: Pattern): Promise<HomeEntry> {
    const { clock, admin } = this.#host;
    const { id } = definition;
    await admin.commits.write(
      [
        { type: 'put', key: definitionKey(id), value: packDefinition(definition) },
        { type: 'put', key: stateKey(id), value: packState(emptyState) },
      ],
      true,
    );
    const recovered = { state: emptyState, waiting: 0, bytes: 0, ids: new RecentIds(clock.now()), stubs: [], gaps: [] };
    return this.#add(definition, pattern, recovered);
  }

  /** Makes a mailbox that the cluster knows to be here, with the id that it has: what others have spooled for it comes. */
  adopt(entry: DurableEntry): Promise<void> {
    const adopting = this.#adopting.get(entry.id) ?? this.#adopt(entry).finally(() => this.#adopting.delete(entry.id));
    this.#adopting.set(entry.id, adopting);
    return adopting;
  }

  async #adopt(entry: DurableEntry): Promise<void> {
    const { clock } = this.#host;
    const { id, name, version, pattern, policy } = entry;
    if (this.#byName.has(name)) return;
    const definition: Definition = {
      id,
      name,
      version,
      pattern,
      policy: policyOf(policy as PolicyRecord),
      createdAt: clock.now(),
    };
    await this.#make(definition, patternFromWire(pattern));
  }

  /** Changes pattern and policy of a mailbox; what it holds stays. */
  async update(entry: HomeEntry, pattern: Pattern, policy: MailboxPolicy): Promise<void> {
    const { admin, router } = this.#host;
    const version = nextVersion(entry.definition.version);
    const definition = { ...entry.definition, version, pattern: pattern.toWire(), policy };
    const value = packDefinition(definition);
    await admin.commits.write([{ type: 'put', key: definitionKey(definition.id), value }], true);
    router.remove(entry.route.pattern, entry.route);
    entry.definition = definition;
    entry.mailbox.setPolicy(policy);
    entry.route = new DurableRoute(entry.mailbox, pattern);
    router.add(pattern, entry.route);
  }

  /** Removes a mailbox with everything in it. */
  async remove(entry: HomeEntry): Promise<void> {
    const { admin, router, events, node } = this.#host;
    const { mailbox, route, definition } = entry;
    const { id, name } = definition;
    router.remove(route.pattern, route);
    this.#byName.delete(name);
    this.#byId.delete(id);
    mailbox.abolish();
    await admin.commits.flushed();
    admin.leave(mailbox.journal);
    await admin.commits.write([{ type: 'del', key: definitionKey(id) }], true);
    await this.#erase([`sg/${id}/`, `pk/${id}/`, `pl/${id}/`, stateKey(id)]);
    events.emit({ type: 'subscription.removed', subscription: name, node });
  }

  /** Waits until all is written, and lets go. */
  close(): void {
    for (const { mailbox, route } of this.#byName.values()) {
      this.#host.router.remove(route.pattern, route);
      mailbox.close();
    }
  }

  async #erase(prefixes: readonly string[]): Promise<void> {
    const { commits } = this.#host.admin;
    for (const prefix of prefixes) {
      let keys: string[] = [];
      const erase = async (): Promise<void> => {
        await commits.write(
          keys.map((key) => ({ type: 'del' as const, key })),
          false,
        );
        keys = [];
      };
      for await (const [key] of commits.store.scan(prefixRange(prefix))) if (keys.push(key) >= 1000) await erase();
      await erase();
    }
  }

  async #open(definition: Definition): Promise<void> {
    const { admin, clock, log } = this.#host;
    const { id, name } = definition;
    try {
      const pattern = patternFromWire(definition.pattern);
      const recovered = await recover(admin.commits.store, id, clock.now(), true);
      const { mailbox } = await this.#add(definition, pattern, recovered);
      for (const gap of recovered.gaps) mailbox.gap(gap);
      await mailbox.open();
    } catch (error) {
      // A pattern that a later build no longer takes; anything else would leave the mailbox there without its backlog.
      if (!(error instanceof BusError) || error.code !== 'PATTERN_INVALID') throw error;
      log.error({ err: error, subscription: name }, 'a mailbox cannot be opened');
    }
  }

  async #add(
    definition: Definition,
    pattern: Pattern,
    recovered: Awaited<ReturnType<typeof recover>>,
  ): Promise<HomeEntry> {
    const { node, clock, log, events, admin, deadLetters, router } = this.#host;
    const { id, name, policy } = definition;
    const mailbox = new DurableMailbox(
      {
        id,
        name,
        node,
        policy,
        clock,
        log: log.child({ actor: `admin/${name}`, subscription: name }),
        events,
        commits: admin.commits,
        deadLetters,
      },
      recovered,
    );
    admin.join(mailbox.journal);
    const entry = { definition, mailbox, route: new DurableRoute(mailbox, pattern) };
    this.#byName.set(name, entry);
    this.#byId.set(id, entry);
    router.add(pattern, entry.route);
    events.emit({ type: 'subscription.added', subscription: name, node, pattern: pattern.text });
    return entry;
  }
}
