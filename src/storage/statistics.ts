import { toError } from '../core/errors.ts';
import { JournalAudit, type JournalStatistics, type Problem } from './journal-audit.ts';
import { recordKind, unpackRecord } from './record.ts';
import type { KeyRange, Store } from './store.ts';

/** What a store holds. */
export interface StoreStatistics {
  /** Whose it is, and how often that node has been started. */
  readonly node?: string;
  readonly starts?: number;
  /** By name. */
  readonly mailboxes: readonly JournalStatistics[];
  /** What waits for mailboxes of other nodes. */
  readonly spools: readonly JournalStatistics[];
  readonly deadLetters: { readonly count: number; readonly bytes: number; readonly oldest?: number };
  /** How many records there are, and the bytes of their keys and values. */
  readonly records: number;
  readonly bytes: number;
  /** What is no problem, and worth telling. */
  readonly notes: readonly string[];
}

/** Every key but those that begin with eight of the last code point, which nobody uses. */
export const everything: KeyRange = { gte: '', lt: '\u{10ffff}'.repeat(8) };

/** The id of the journal that a key below `sg/`, `st/`, `pk/` or `pl/` belongs to. */
export function journalOf(key: string): string {
  return key.split('/')[1] ?? '';
}

/**
 * Reads every record of a store and counts what there is.
 *
 * @param report hears of what is wrong: records that cannot be read, that are missing, or that contradict each other.
 */
export async function statisticsOf(store: Store, report: (problem: Problem) => void): Promise<StoreStatistics> {
  const reader = new Reader(store, report);
  for await (const [key, value] of store.scan(everything)) await reader.read(key, value);
  return reader.end();
}

class Reader {
  readonly #store: Store;
  readonly #report: (problem: Problem) => void;
  readonly #audits = new Map<string, JournalAudit>();
  readonly #spools = new Set<string>();
  readonly #notes: string[] = [];
  readonly #strange = new Map<string, number>();
  #node: { node?: unknown; starts?: unknown } | undefined;
  #dead = { count: 0, bytes: 0 };
  #oldestDead = Number.POSITIVE_INFINITY;
  #summary: { count?: unknown; bytes?: unknown } | undefined;
  #records = 0;
  #bytes = 0;

  constructor(store: Store, report: (problem: Problem) => void) {
    this.#store = store;
    this.#report = report;
  }

  async read(key: string, value: Uint8Array): Promise<void> {
    this.#records++;
    this.#bytes += Buffer.byteLength(key) + value.length;
    const cut = key.indexOf('/') + 1;
    const [kind, rest] = [key.slice(0, cut), key.slice(cut)];
    switch (cut === 0 ? key : kind) {
      case 'box/':
        return this.#claim(key, value, recordKind.mailbox, rest, ({ id }) => id === rest);
      case 'ob/':
        this.#spools.add(rest);
        return this.#claim(key, value, recordKind.spool, rest, (each) => `${each.mailbox}.${each.origin}` === rest);
      case 'sg/':
        return (await this.#audit(journalOf(key))).segment(key, value);
      case 'pk/':
      case 'pl/':
        return (await this.#audit(journalOf(key))).parked(key, value);
      case 'st/':
        await this.#audit(rest); // which reads it
        return;
      case 'dead/':
        return this.#deadLetter(key, value, rest);
      case 'dl':
        this.#summary = this.#fields('dead letters', key, value, recordKind.dead);
        return;
      case 'node':
        this.#node = this.#fields('node', key, value, recordKind.node);
        return;
      case 'plc/':
      case 'reg/': {
        const of = kind === 'reg/' ? recordKind.registry : recordKind.placement;
        const entry = this.#fields('registry', key, value, of);
        if (entry !== undefined && entry.name !== rest)
          this.#wrong('registry', key, 'is of another name than its key says');
        return;
      }
      case 'lead':
        this.#fields('node', key, value, recordKind.leadership);
        return;
      case 'probe':
        return;
      default:
        this.#strange.set(kind, (this.#strange.get(kind) ?? 0) + 1);
    }
  }

  end(): StoreStatistics {
    const all = [...this.#audits.values()].map((audit) => audit.end(this.#notes)).filter((each) => each !== undefined);
    all.sort((a, b) => (a.name < b.name ? -1 : 1));
    const { count, bytes } = this.#dead;
    const said = this.#summary;
    if (said === undefined ? count > 0 : said.count !== count || said.bytes !== bytes) {
      const says = said === undefined ? 'nothing' : `${String(said.count)} (${String(said.bytes)} bytes)`;
      this.#wrong('dead letters', 'dl', `says that there are ${says}, there are ${count} (${bytes} bytes)`);
    }
    if (this.#node === undefined && all.length + count > 0) {
      this.#wrong(
        'node',
        'node',
        'is missing or damaged: whose store it is, and how often it was started, is not known',
      );
    }
    for (const [kind, found] of this.#strange)
      this.#notes.push(`${found} records of a kind that this build does not know: '${kind}'`);
    const { node, starts } = this.#node ?? {};
    return {
      ...(typeof node === 'string' && typeof starts === 'number' ? { node, starts } : {}),
      mailboxes: all.filter(({ id }) => !this.#spools.has(id)),
      spools: all.filter(({ id }) => this.#spools.has(id)),
      deadLetters: {
        count,
        bytes,
        ...(this.#oldestDead === Number.POSITIVE_INFINITY ? {} : { oldest: this.#oldestDead }),
      },
      records: this.#records,
      bytes: this.#bytes,
      notes: this.#notes,
    };
  }

  /** Somebody's journal. */
  async #claim(
    key: string,
    value: Uint8Array,
    kind: number,
    id: string,
    fits: (fields: Record<string, unknown>) => boolean,
  ): Promise<void> {
    const audit = await this.#audit(id);
    audit.claimed = true; // even when it cannot be read: the key says so
    const fields = this.#fields(id, key, value, kind);
    if (fields === undefined) return;
    if (typeof fields.name === 'string') audit.name = fields.name;
    if (!fits(fields)) this.#wrong(audit.name, key, 'is of another mailbox than its key says');
  }

  async #audit(id: string): Promise<JournalAudit> {
    const known = this.#audits.get(id);
    if (known !== undefined) return known;
    const audit = new JournalAudit(id, this.#report);
    this.#audits.set(id, audit);
    await audit.load(this.#store);
    return audit;
  }

  #deadLetter(key: string, value: Uint8Array, id: string): void {
    this.#dead.count++;
    this.#dead.bytes += value.length;
    const fields = this.#fields('dead letters', key, value, recordKind.dead);
    if (fields === undefined) return;
    if (fields.id !== id) this.#wrong('dead letters', key, 'is another letter than its key says');
    if (typeof fields.deadAt === 'number') this.#oldestDead = Math.min(this.#oldestDead, fields.deadAt);
  }

  #fields(where: string, key: string, value: Uint8Array, kind: number): Record<string, unknown> | undefined {
    try {
      return unpackRecord(kind, key, value);
    } catch (error) {
      this.#wrong(where, key, toError(error).message);
      return undefined;
    }
  }

  #wrong(where: string, key: string, problem: string): void {
    this.#report({ where, key, problem });
  }
}
