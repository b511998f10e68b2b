import type { Admin } from '../../actors/admin.ts';
import type { DeadLetters } from '../../actors/dead-letters.ts';
import type { Durability } from '../../actors/mailbox-policy.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, toError } from '../../core/errors.ts';
import type { EventHub } from '../../core/events.ts';
import type { Logger } from '../../core/log.ts';
import { type Recovered, recover } from '../../storage/recovery.ts';
import { prefixRange } from '../../storage/store.ts';
import { DurableOutbox } from './durable-outbox.ts';
import type { DurableOutboxHost } from './durable-row.ts';
import { Spool, type SpoolHost, type SpoolRecord, unpackSpool } from './spool.ts';

/** What the spools of a node need of the bus. */
export interface SpoolsHost {
  readonly node: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventHub;
  readonly admin: Admin;
  readonly durability: Durability;
  readonly deadLetters: DeadLetters;
}

interface Found {
  readonly record: SpoolRecord;
  readonly recovered: Recovered;
}

/** A spool as `status()` shows it. */
export interface SpoolStatus {
  /** The mailbox's full name, and its home. */
  subscription: string;
  home: string;
  messages: number;
  bytes: number;
}

/** What is written on this node for durable mailboxes whose home is away. */
export class Spools {
  readonly #host: SpoolsHost;
  /** Left by earlier lives of this node, by the mailbox's id, the oldest first. */
  readonly #found = new Map<string, Found[]>();
  readonly #open = new Map<Spool, SpoolRecord>();

  constructor(host: SpoolsHost) {
    this.#host = host;
  }

  /** Reads what earlier lives have left. */
  async open(): Promise<void> {
    const { admin, clock, log } = this.#host;
    const { store } = admin.commits;
    const records: SpoolRecord[] = [];
    for await (const [key, value] of store.scan(prefixRange('ob/'))) {
      try {
        records.push(unpackSpool(key, value));
      } catch (error) {
        log.error({ err: toError(error), key }, 'a spool cannot be opened');
      }
    }
    records.sort((a, b) => a.start - b.start || (a.place ?? 0) - (b.place ?? 0));
    for (const record of records) {
      const recovered = await recover(store, `${record.mailbox}.${record.origin}`, clock.now(), false);
      const list = this.#found.get(record.mailbox) ?? [];
      this.#found.set(record.mailbox, list);
      list.push({ record, recovered });
    }
  }

  /** Makes the outboxes that go on with what earlier lives have left for a mailbox. */
  earlier(mailbox: string): ((host: DurableOutboxHost<DurableOutbox>) => DurableOutbox)[] {
    const found = this.#found.get(mailbox) ?? [];
    this.#found.delete(mailbox);
    return found.map(({ record, recovered }) => (host) => {
      const { home: target, origin, place = 0 } = record;
      const outbox = new DurableOutbox(
        { target, mailbox, source: this.#host.node, origin, place },
        host,
        recovered.state.head,
      );
      const spool = this.#make(record, outbox, recovered);
      outbox.resume(spool);
      for (const gap of recovered.gaps) spool.gap(gap);
      spool.journal.start();
      if (spool.size === 0) this.#host.clock.immediate(() => outbox.checkEmpty());
      return outbox;
    });
  }

  /** A mailbox is removed: what earlier lives have left for it goes, or becomes dead letters when its home is lost. */
  abandon(mailbox: string, lost: boolean): void {
    const { clock, events, node } = this.#host;
    for (const { record } of this.#found.get(mailbox) ?? []) {
      const host: DurableOutboxHost<DurableOutbox> = {
        clock,
        stored: true,
        path: () => undefined,
        expired: () => {},
        dropped: (count, reason) =>
          events.emit({ type: 'message.dropped', subscription: record.name, node, count, reason }),
        emptied: () => {},
        stalled: () => {},
        broken: () => {},
      };
      for (const make of this.earlier(mailbox)) make(host).abandon(lost);
    }
  }

  /** Begins to write an outbox to the store. */
  begin(record: SpoolRecord, outbox: DurableOutbox): Spool {
    return this.#make(record, outbox, outbox.next - outbox.unconfirmedInWindow);
  }

  status(): SpoolStatus[] {
    const open = [...this.#open].map(([spool, { name, home }]) => ({
      subscription: name,
      home,
      messages: spool.size,
      bytes: spool.bytes,
    }));
    const found = [...this.#found.values()].flat().map(({ record, recovered }) => ({
      subscription: record.name,
      home: record.home,
      messages: recovered.waiting,
      bytes: recovered.bytes,
    }));
    return [...open, ...found].filter(({ messages }) => messages > 0);
  }

  /** Lets go of everything; what is on disk stays. */
  close(): void {
    for (const spool of this.#open.keys()) {
      spool.journal.close();
      this.#host.admin.leave(spool.journal);
    }
    this.#open.clear();
  }

  #make(record: SpoolRecord, outbox: DurableOutbox, from: number | Recovered): Spool {
    const { admin, clock, log, events, durability, deadLetters } = this.#host;
    const host: SpoolHost = {
      clock,
      commits: admin.commits,
      durability,
      arrived: (entry) => outbox.arrived(entry),
      failed: (error) => outbox.failed(error),
      gap: ({ from: first, to, reason }) => {
        const count = first === 0 ? 0 : to - first + 1;
        events.emit({ type: 'store.gap', subscription: record.name, from: first, to, count, reason });
      },
      unreadable: (err) => log.error({ err, subscription: record.name }, 'a spool cannot be read'),
      grave: (message) =>
        deadLetters.record(
          { message, subscription: record.name, attempt: 0, history: undefined },
          'unreachable',
          new BusError('NODE_UNREACHABLE', `the home '${record.home}' of '${record.name}' will not take it`),
        ),
      whenGraves: (fn) => void deadLetters.whenRoom(fn),
      removed: (journal) => {
        admin.leave(journal);
        this.#open.delete(spool);
      },
    };
    const spool: Spool = new Spool(record, host, from);
    admin.join(spool.journal);
    this.#open.set(spool, record);
    return spool;
  }
}
