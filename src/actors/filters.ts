import { types } from 'node:util';
import { BusError, describe } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import { nearest } from '../core/spelling.ts';

/** A filter that is plain data: it is stored with its mailbox and judged there, before a message takes any room. */
export type DeclarativeFilter = { readonly maxSize: number } | { readonly minPeriod: number };

/** What is asked of each message by the consumer, before its handler sees it. Synchronous, and without side effects. */
export type Predicate = (message: Message) => boolean;

/** What a subscription admits: plain data for its mailbox, or a function for its consumer. */
export type Filter = DeclarativeFilter | Predicate;

const year = 31_536_000_000;
const bounds: Readonly<Record<string, { readonly max: number; readonly unit: string }>> = {
  maxSize: { max: Number.MAX_SAFE_INTEGER, unit: 'bytes' },
  minPeriod: { max: year, unit: 'milliseconds' },
};
const known = Object.keys(bounds);

/**
 * Admits messages of at most so many bytes, by the estimate that mailboxes count with.
 *
 * @throws {BusError} `OPTION_INVALID` unless it is a whole number, 1 or more.
 */
export function maxSize(bytes: number): { readonly maxSize: number } {
  return { maxSize: checkBound('maxSize()', 'maxSize', bytes) };
}

/**
 * Admits a message when at least so many milliseconds have passed since the last one that was admitted.
 *
 * @throws {BusError} `OPTION_INVALID` unless it is a whole number from 1 to a year.
 */
export function minPeriod(ms: number): { readonly minPeriod: number } {
  return { minPeriod: checkBound('minPeriod()', 'minPeriod', ms) };
}

/** The filters of one subscription, checked once; a message must pass them all. Immutable. */
export class FilterChain {
  /** Those that are plain data, in the order in which they were given: to be stored with the mailbox. */
  readonly declarative: readonly DeclarativeFilter[];
  /** Those that are functions, in the order in which they were given. */
  readonly predicates: readonly Predicate[];

  /** @throws {BusError} `OPTION_INVALID`, naming the place in the list. */
  constructor(filters: readonly Filter[] = []) {
    if (!Array.isArray(filters)) {
      throw new BusError('OPTION_INVALID', `filters must be a list such as [maxSize(65536)], not ${describe(filters)}`);
    }
    const declarative: DeclarativeFilter[] = [];
    const predicates: Predicate[] = [];
    for (const [i, filter] of filters.entries() as Iterable<[number, Filter]>) {
      if (typeof filter === 'function') predicates.push(checkPredicate(`filters[${i}]`, filter));
      else declarative.push(checkDeclarative(`filters[${i}]`, filter));
    }
    this.declarative = Object.freeze(declarative);
    this.predicates = Object.freeze(predicates);
  }

  /**
   * Whether the mailbox takes a message.
   *
   * @param size its estimated size, in bytes.
   * @param now the time, in milliseconds.
   * @param last when the last message was admitted, by the same clock. The mailbox keeps it, so that it survives a
   *   restart; a clock that was set back since then admits, or one correction could close a mailbox for years.
   */
  admits(size: number, now: number, last: number | undefined): boolean {
    for (const filter of this.declarative) {
      if ('maxSize' in filter) {
        if (size > filter.maxSize) return false;
      } else if (last !== undefined && now >= last && now - last < filter.minPeriod) return false;
    }
    return true;
  }

  /** Whether the consumer wants a message. What a predicate throws is thrown on: the caller knows where to log it. */
  passes(message: Message): boolean {
    for (const predicate of this.predicates) if (!predicate(message)) return false;
    return true;
  }
}

/** Whether two lists admit the same: the same filters in the same order. */
export function sameFilters(a: readonly DeclarativeFilter[], b: readonly DeclarativeFilter[]): boolean {
  return a.length === b.length && a.every((filter, i) => same(filter, b[i]));
}

function same(a: DeclarativeFilter, b: DeclarativeFilter | undefined): boolean {
  if (b === undefined) return false;
  if ('maxSize' in a) return 'maxSize' in b && a.maxSize === b.maxSize;
  return 'minPeriod' in b && a.minPeriod === b.minPeriod;
}

function checkPredicate(what: string, predicate: Predicate): Predicate {
  // Its promise would always count as true.
  if (!types.isAsyncFunction(predicate)) return predicate;
  throw new BusError('OPTION_INVALID', `${what} is an async function; a filter answers at once, by true or false`);
}

/** A copy, so that what the caller does to its own object later changes nothing. */
function checkDeclarative(what: string, filter: unknown): DeclarativeFilter {
  const way = 'write maxSize(bytes), minPeriod(ms) or a function of the message';
  if (typeof filter !== 'object' || filter === null || Array.isArray(filter)) {
    throw new BusError('OPTION_INVALID', `${what} is ${describe(filter)}; ${way}`);
  }
  const [[name, value] = [], ...more] = Object.entries(filter).filter((member) => member[1] !== undefined);
  if (name === undefined || more.length > 0) {
    throw new BusError('OPTION_INVALID', `${what} has ${more.length === 0 ? 'no member' : 'several members'}; ${way}`);
  }
  if (!known.includes(name)) {
    const near = nearest(name, known);
    const hint = near === undefined ? way : `did you mean '${near}'?`;
    throw new BusError('OPTION_INVALID', `${what}: there is no filter '${name}'; ${hint}`);
  }
  const bound = checkBound(`${what}.${name}`, name, value);
  return Object.freeze(name === 'maxSize' ? { maxSize: bound } : { minPeriod: bound });
}

function checkBound(what: string, name: string, value: unknown): number {
  const { max = 0, unit = '' } = bounds[name] ?? {};
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= max) return value;
  throw new BusError('OPTION_INVALID', `${what} ${describe(value)} must be a whole number of ${unit} from 1 to ${max}`);
}
