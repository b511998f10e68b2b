import type { OutageOption } from '../../actors/brake.ts';
import type { DeclarativeFilter } from '../../actors/filters.ts';
import { sameFilters } from '../../actors/filters.ts';
import type { Overflow } from '../../actors/mailbox.ts';
import type { Durability, LatestOnly, MailboxPolicy } from '../../actors/mailbox-policy.ts';
import { BusError } from '../../core/errors.ts';
import { defaultOutage } from '../../core/outage.ts';
import type { RetryPolicy } from '../../core/retry.ts';
import { packRecord, recordKind, unpackRecord } from '../../storage/record.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { ResolvedSubscription } from './subscription-options.ts';

/** A pattern as it is stored and sent. */
export type WirePattern = DurableEntry['pattern'];

/** A durable mailbox as it is stored on its home. */
export interface Definition {
  /** New at each creation. */
  readonly id: string;
  /** `<service>/<name>`. */
  readonly name: string;
  /** Counts what the cluster has been told of this name. */
  readonly version: number;
  readonly pattern: WirePattern;
  readonly policy: MailboxPolicy;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** A policy as plain data: what is infinite is left out. */
export interface PolicyRecord {
  readonly retry: RetryPolicy;
  /** Earlier builds know none. */
  readonly outage?: OutageOption;
  readonly limits: {
    readonly messages: number;
    readonly bytes: number;
    readonly age?: number;
    readonly overflow: Overflow;
    readonly deadLetters: boolean;
  };
  readonly latestOnly: LatestOnly;
  readonly filters: readonly DeclarativeFilter[];
  readonly durability: Durability;
}

export function policyRecord({ retry, outage, limits, latestOnly, filters, durability }: MailboxPolicy): PolicyRecord {
  const { age, ...rest } = limits;
  return {
    retry: { ...retry },
    outage: outage === false ? false : { ...outage },
    limits: { ...rest, ...(age === Number.POSITIVE_INFINITY ? {} : { age }) },
    latestOnly,
    filters: [...filters],
    durability,
  };
}

export function policyOf(record: PolicyRecord): MailboxPolicy {
  return {
    ...record,
    outage: record.outage ?? defaultOutage,
    limits: { age: Number.POSITIVE_INFINITY, ...record.limits },
  };
}

/** The policy that a subscription's options ask for. */
export function askedPolicy(options: ResolvedSubscription, durability: Durability): MailboxPolicy {
  const { retry, outage, limits, latestOnly, filters } = options;
  return {
    retry,
    outage,
    limits,
    latestOnly,
    filters: filters.declarative,
    durability: options.durability ?? durability,
  };
}

/** The key of a mailbox's definition. */
export function definitionKey(id: string): string {
  return `box/${id}`;
}

export function packDefinition({ id, name, version, pattern, policy, createdAt }: Definition): Uint8Array {
  return packRecord(recordKind.mailbox, { id, name, version, pattern, policy: policyRecord(policy), createdAt });
}

/** @throws {BusError} `STORE_CORRUPT`. */
export function unpackDefinition(key: string, value: Uint8Array): Definition {
  const record = unpackRecord(recordKind.mailbox, key, value) as unknown as Omit<Definition, 'policy'> & {
    readonly policy: PolicyRecord;
  }; // its checksum is right
  return { ...record, policy: policyOf(record.policy) };
}

/**
 * Where a declaration differs from a mailbox that exists, in words.
 *
 * @param given which options were given: what was left out does not differ.
 */
export function differences(
  existing: { readonly pattern: WirePattern; readonly policy: MailboxPolicy },
  asked: { readonly pattern: WirePattern; readonly policy: MailboxPolicy },
  given: ReadonlySet<string>,
): string[] {
  const found: string[] = [];
  const compare = (what: string, old: unknown, now: unknown): void => {
    if (old !== now) found.push(`${what} is ${String(old)}, asked for was ${String(now)}`);
  };
  for (const part of ['kind', 'source', 'flags'] as const) {
    compare(part === 'source' ? 'the pattern' : `the pattern's ${part}`, existing.pattern[part], asked.pattern[part]);
  }
  const { policy: old } = existing;
  const { policy: now } = asked;
  if (given.has('retry')) {
    for (const name of Object.keys(now.retry) as (keyof RetryPolicy)[]) {
      compare(`retry.${name}`, old.retry[name], now.retry[name]);
    }
  }
  if (given.has('outage')) compare('outage', outageText(old.outage), outageText(now.outage));
  if (given.has('limits')) {
    for (const name of Object.keys(now.limits) as (keyof MailboxPolicy['limits'])[]) {
      compare(`limits.${name}`, old.limits[name], now.limits[name]);
    }
  }
  if (given.has('latestOnly')) compare('latestOnly', old.latestOnly, now.latestOnly);
  if (given.has('durability')) compare('durability', old.durability, now.durability);
  if (given.has('filters') && !sameFilters(old.filters, now.filters)) {
    compare('filters', JSON.stringify(old.filters), JSON.stringify(now.filters));
  }
  return found;
}

function outageText(outage: OutageOption): string {
  if (outage === false) return 'false';
  const { failures, messages, grace } = outage;
  return JSON.stringify({ failures, messages, grace });
}

/** What a declaration that differs is told. */
export function nameTaken(name: string, found: readonly string[]): BusError {
  return new BusError(
    'NAME_TAKEN',
    `durable subscription '${name}' exists with other options: ${found.join('; ')}. Take another name, or say update: true`,
  );
}

/** @param leads whether it was asked for on the leader of a cluster. */
export function storeRequired(name: string, leads: boolean): BusError {
  const where = leads ? 'the leader has no store' : 'this bus has no store';
  return new BusError('STORE_REQUIRED', `durable subscription '${name}': ${where}: give it a dataDir`);
}
