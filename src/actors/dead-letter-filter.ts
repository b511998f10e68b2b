import { BusError, describe } from '../core/errors.ts';
import type { DeadReason } from '../core/retry.ts';
import { compilePattern, type Pattern } from '../routing/pattern.ts';
import { type KeyRange, prefixRange } from '../storage/store.ts';
import type { DeadLetterChoice, DeadLetterFilter, StoredLetter } from './dead-letter.ts';
import { fingerprintOf } from './dead-letter-groups.ts';

/** What the keys of dead letters begin with. */
export const letterPrefix = 'dead/';

/** The part of an id that tells the time. */
export function timeOf(ms: number): string {
  return Math.min(36 ** 9 - 1, Math.max(0, Math.ceil(ms)))
    .toString(36)
    .padStart(9, '0');
}

const filterKeys = ['subscription', 'topic', 'error', 'reason', 'since', 'until', 'after', 'limit'] as const;
const fingerprint = /^[0-9a-f]{16}$/;
const reasons: Readonly<Record<DeadReason, true>> = {
  attempts: true,
  permanent: true,
  payload: true,
  invalid: true,
  crash: true,
  expired: true,
  age: true,
  'drop-oldest': true,
  unreachable: true,
};

/** A filter that has been checked. */
export class LetterFilter {
  readonly limit: number | undefined;
  readonly #given: DeadLetterFilter;
  readonly #pattern: Pattern | undefined;
  readonly #error: string | undefined;

  /** @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  constructor(given: DeadLetterFilter) {
    check(given);
    this.#given = { ...given };
    this.limit = given.limit;
    this.#pattern = given.topic === undefined ? undefined : compilePattern(given.topic);
    this.#error = given.error?.toLowerCase();
  }

  /** Where the letters are that can match. */
  get range(): KeyRange {
    const { since, after } = this.#given;
    const { gte, lt } = prefixRange(letterPrefix);
    const from = since === undefined ? gte : letterPrefix + timeOf(Number(since));
    const behind = after === undefined ? gte : `${letterPrefix}${after}\0`;
    if (from > behind) return { gte: from, lt };
    return { gte: behind, lt };
  }

  matches(letter: StoredLetter): boolean {
    const { subscription, reason, since, until } = this.#given;
    if (subscription !== undefined && !isNamed(letter.subscription, subscription)) return false;
    if (reason !== undefined && letter.reason !== reason) return false;
    if (since !== undefined && letter.deadAt < Number(since)) return false;
    if (until !== undefined && letter.deadAt >= Number(until)) return false;
    if (this.#pattern?.test(letter.topic) === false) return false;
    return this.#error === undefined || this.#failedWith(this.#error, letter);
  }

  #failedWith(error: string, letter: StoredLetter): boolean {
    const { firstError, lastError } = letter;
    for (const { name, message } of [lastError, firstError]) {
      if (name.toLowerCase().includes(error) || message.toLowerCase().includes(error)) return true;
    }
    return fingerprint.test(error) && fingerprintOf(letter) === error;
  }
}

function check(filter: DeadLetterFilter): void {
  if (typeof filter !== 'object' || filter === null)
    throw new BusError('OPTION_INVALID', `a filter is an object, not ${describe(filter)}`);
  for (const key of Object.keys(filter)) {
    if ((filterKeys as readonly string[]).includes(key)) continue;
    const names = filterKeys.map((name) => `'${name}'`).join(', ');
    throw new BusError('OPTION_INVALID', `filter: there is no '${key}'; it has ${names}`);
  }
  const { reason, limit } = filter;
  const rules: readonly [name: keyof DeadLetterFilter, fits: boolean, rule: string][] = [
    ['subscription', isText(filter.subscription), 'a name'],
    ['error', isText(filter.error), 'a text'],
    ['after', isText(filter.after), 'the id of a dead letter'],
    ['reason', reason === undefined || Object.hasOwn(reasons, reason), `one of ${Object.keys(reasons).join(', ')}`],
    ['limit', limit === undefined || (Number.isSafeInteger(limit) && limit >= 0), 'a whole number from 0'],
    ['since', isTime(filter.since), 'a Date or milliseconds since 1970'],
    ['until', isTime(filter.until), 'a Date or milliseconds since 1970'],
  ];
  for (const [name, fits, rule] of rules) {
    if (!fits) throw new BusError('OPTION_INVALID', `filter: ${name} ${describe(filter[name])} must be ${rule}`);
  }
}

/** A durable subscription is meant by its bare name as well. */
function isNamed(full: string, name: string): boolean {
  return full === name || (!name.includes('/') && full.endsWith(`/${name}`));
}

function isText(value: unknown): boolean {
  return value === undefined || typeof value === 'string';
}

function isTime(value: unknown): boolean {
  if (value === undefined) return true;
  return (typeof value === 'number' || value instanceof Date) && !Number.isNaN(Number(value));
}

/** A choice that has been checked. @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
export function checkChoice(what: string, choice: DeadLetterChoice): { ids: string[] } | { filter: LetterFilter } {
  if (Array.isArray(choice) && choice.every((id) => typeof id === 'string')) return { ids: [...new Set(choice)] };
  if (typeof choice === 'object' && choice !== null && Object.keys(choice).join() === 'filter') {
    return { filter: new LetterFilter((choice as { filter: DeadLetterFilter }).filter) };
  }
  throw new BusError(
    'OPTION_INVALID',
    `${what} takes a list of the ids of dead letters, or { filter }, not ${describe(choice)}`,
  );
}
