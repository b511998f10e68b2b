import {
  type DeadLetter,
  type DeadLetterBox,
  type DeadLetterChanges,
  type DeadLetterChoice,
  type DeadLetterFilter,
  type DeadLetterGroup,
  letterOf,
  type StoredLetter,
} from '../../actors/dead-letter.ts';
import { checkChoice, LetterFilter } from '../../actors/dead-letter-filter.ts';
import type { DeadLetters } from '../../actors/dead-letters.ts';
import { BusError, describe } from '../../core/errors.ts';
import { compilePattern, patternFromWire, type WirePattern } from '../../routing/pattern.ts';

/** How long another node may take to tell something, and to go over all its letters, in milliseconds. */
const askTime = { look: 10_000, sweep: 300_000 };
/** A reply has room for so many letters: one more at most, so that it always fits into a frame. */
const page = { letters: 1000, bytes: 1024 * 1024 };

/** A filter as it travels. */
interface WireFilter extends Omit<DeadLetterFilter, 'topic' | 'since' | 'until'> {
  readonly topic?: WirePattern;
  readonly since?: number;
  readonly until?: number;
}

/** The dead letters of another node, asked by control requests `dlq.*`: what its own box does. */
export class RemoteDeadLetters implements DeadLetterBox {
  readonly #ask: (method: string, params: unknown, timeout: number) => Promise<unknown>;

  constructor(ask: (method: string, params: unknown, timeout: number) => Promise<unknown>) {
    this.#ask = ask;
  }

  async list(filter: DeadLetterFilter = {}): Promise<DeadLetter[]> {
    const { limit = 1000 } = new LetterFilter(filter);
    const found: DeadLetter[] = [];
    for (let { after } = filter, more = true; more && found.length < limit; ) {
      const part = { ...filter, limit: limit - found.length, ...(after === undefined ? {} : { after }) };
      const reply = await this.#ask('dlq.list', wireFilter(part), askTime.look);
      const { letters, rest } = reply as { letters: StoredLetter[]; rest: boolean }; // answerDeadLetters() made it
      found.push(...letters.map(letterOf));
      after = letters.at(-1)?.id;
      more = rest;
    }
    return found;
  }

  async groups(filter: DeadLetterFilter = {}): Promise<DeadLetterGroup[]> {
    new LetterFilter(filter);
    return (await this.#ask('dlq.groups', wireFilter(filter), askTime.sweep)) as DeadLetterGroup[];
  }

  async get(id: string): Promise<DeadLetter> {
    return letterOf((await this.#ask('dlq.get', { id }, askTime.look)) as StoredLetter);
  }

  async replay(what: DeadLetterChoice): Promise<number> {
    return Number(await this.#ask('dlq.replay', wireChoice(what), askTime.sweep));
  }

  async edit(id: string, changes: DeadLetterChanges): Promise<void> {
    await this.#ask('dlq.edit', { id, changes }, askTime.look);
  }

  async drop(what: DeadLetterChoice): Promise<number> {
    return Number(await this.#ask('dlq.drop', wireChoice(what), askTime.sweep));
  }
}

/** Answers a request of another node about the dead letters of this one. */
export async function answerDeadLetters(letters: DeadLetters, method: string, params: unknown): Promise<unknown> {
  const given = (params ?? {}) as Readonly<Record<string, unknown>>;
  const id = String(given.id);
  switch (method) {
    case 'dlq.list':
      return listed(letters, new LetterFilter(filterFromWire(given)));
    case 'dlq.groups':
      return letters.groups(filterFromWire(given));
    case 'dlq.get':
      return letters.stored(id);
    case 'dlq.replay':
      return letters.replay(choiceFromWire(given));
    case 'dlq.drop':
      return letters.drop(choiceFromWire(given));
    case 'dlq.edit':
      await letters.edit(id, given.changes as DeadLetterChanges); // it checks them
      return undefined;
    default:
      throw new BusError('PROTOCOL_ERROR', `there is no request ${describe(method)}`);
  }
}

/** As many as fit into a reply, and whether there may be more. */
async function listed(letters: DeadLetters, filter: LetterFilter): Promise<{ letters: StoredLetter[]; rest: boolean }> {
  const found: StoredLetter[] = [];
  let bytes = 0;
  for await (const { stored, length } of letters.matching(filter)) {
    found.push(stored);
    bytes += length;
    if (found.length >= page.letters || bytes >= page.bytes) return { letters: found, rest: true };
  }
  return { letters: found, rest: false };
}

function wireFilter({ topic, since, until, ...rest }: DeadLetterFilter): WireFilter {
  return {
    ...rest,
    ...(topic === undefined ? {} : { topic: compilePattern(topic).toWire() }),
    ...(since === undefined ? {} : { since: Number(since) }),
    ...(until === undefined ? {} : { until: Number(until) }),
  };
}

function filterFromWire(given: Readonly<Record<string, unknown>>): DeadLetterFilter {
  const { topic, ...rest } = given;
  return { ...rest, ...(topic === undefined ? {} : { topic: patternFromWire(topic) }) }; // LetterFilter checks the rest
}

function wireChoice(what: DeadLetterChoice): object {
  const choice = checkChoice('replay() and drop()', what);
  return 'ids' in choice ? choice : { filter: wireFilter((what as { filter: DeadLetterFilter }).filter) };
}

function choiceFromWire({ ids, filter }: Readonly<Record<string, unknown>>): DeadLetterChoice {
  if (filter === undefined) return ids as readonly string[]; // it is checked by who gets it
  return { filter: filterFromWire(filter as Readonly<Record<string, unknown>>) };
}
