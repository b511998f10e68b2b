import { createHash } from 'node:crypto';
import type { DeadLetter, DeadLetterGroup, StoredLetter } from './dead-letter.ts';

/** So many characters of a message tell errors apart. */
const longest = 1000;
/** How many groups are told apart; further ones are counted together. */
const mostGroups = 10_000;
const mostTopics = 5;

/** The fingerprint of the group that further ones are counted in. */
export const others = 'others';

/** What differs between errors of one kind, in the order in which it is replaced. */
const variable: readonly RegExp[] = [
  // An apostrophe within a word opens nothing.
  /(?<!\w)'[^']*'(?!\w)|(?<!\w)"[^"]*"(?!\w)|(?<!\w)`[^`]*`(?!\w)/g,
  /\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/gi,
  /\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b/gi,
  /\d+(?:[.,:]\d+)*/g,
];

/**
 * The message of an error without what differs from one to the next: of its first 1,000 characters, quoted parts, UUIDs,
 * hexadecimal numbers (after `0x`, or 8 digits and more) and numbers become `#`, in this order; runs of space become one.
 *
 * | message                                         | kind                        |
 * |-------------------------------------------------|-----------------------------|
 * | `no order 4711 for 'Ann'`                       | `no order # for #`          |
 * | `timeout after 1.5 s at 10.0.8.1:5432`          | `timeout after # s at #`    |
 * | `can't find 9f86d081884c7d65`                   | `can't find #`              |
 */
export function kindOf(message: string): string {
  let text = message.slice(0, longest);
  for (const pattern of variable) text = text.replace(pattern, '#');
  return text.replace(/\s+/g, ' ').trim();
}

/**
 * What letters of one group have in common: the first 16 hexadecimal digits of the SHA-256 of the subscription, the name of
 * the last error and the kind of its message, a zero byte between them.
 */
export function fingerprintOf({ subscription, lastError }: Pick<DeadLetter, 'subscription' | 'lastError'>): string {
  const text = [subscription, lastError.name, kindOf(lastError.message)].join('\0');
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** Counts letters by their fingerprints, in memory that has a bound. */
export class Grouping {
  readonly #groups = new Map<string, { -readonly [K in keyof DeadLetterGroup]: DeadLetterGroup[K] }>();

  add(letter: StoredLetter): void {
    const { id, topic, deadAt, lastError } = letter;
    const error = { ...lastError, message: lastError.message.slice(0, longest) };
    const sample = { id, topic, error };
    let fingerprint = fingerprintOf(letter);
    let group = this.#groups.get(fingerprint);
    const full = group === undefined && this.#groups.size >= mostGroups;
    if (full) {
      fingerprint = others;
      group = this.#groups.get(others);
    }
    if (group === undefined) {
      this.#groups.set(fingerprint, {
        fingerprint,
        subscription: full ? '' : letter.subscription,
        error: full ? { name: '', message: '' } : { name: lastError.name, message: kindOf(lastError.message) },
        count: 1,
        first: deadAt,
        last: deadAt,
        topics: [topic],
        sample,
      });
      return;
    }
    group.count++;
    group.first = Math.min(group.first, deadAt);
    group.last = Math.max(group.last, deadAt);
    group.sample = sample; // they come by time
    if (group.topics.length < mostTopics && !group.topics.includes(topic)) group.topics = [...group.topics, topic];
  }

  /** The largest first; of two that are as large, the one that grew last. */
  largest(limit: number): DeadLetterGroup[] {
    return [...this.#groups.values()].sort((a, b) => b.count - a.count || b.last - a.last).slice(0, limit);
  }
}
