import { types } from 'node:util';
import { BusError, describe } from '../core/errors.ts';
import { type CharSet, foldedWords, words } from './charset.ts';
import { buildMachine, type Machine, maxSize, sizeOf } from './machine.ts';
import { parse, SyntaxProblem } from './parser.ts';
import { literalPrefix, type Shape, shapeOf } from './shape.ts';
import { Simulation } from './simulation.ts';
import { type Tree, whole } from './tree.ts';
import { parseWildcard } from './wildcard.ts';

/**
 * What can be subscribed to: a string is the source of a regular expression that must match the whole topic, by code
 * points; a RegExp is searched in the topic as JavaScript would (flags `i`, `s`, `u`); a Pattern comes from
 * {@link wildcard} or {@link compilePattern}.
 */
export type PatternInput = string | RegExp | Pattern;

/** How a pattern was given, which decides how its source is read. */
export type PatternKind = 'string' | 'regexp' | 'wildcard';

/** A pattern as plain data, to be sent to another node. */
export interface WirePattern {
  readonly kind: PatternKind;
  readonly source: string;
  readonly flags: string;
}

const kinds: readonly unknown[] = ['string', 'regexp', 'wildcard'] satisfies PatternKind[];
const knownFlags = 'isu';
// Bounds the work of the parser; far more than maxSize lets through but for literal alternatives.
const maxSource = 16_384;

/**
 * A compiled pattern over topics. Matching takes time linear in the topic, whatever the pattern: the slowest
 * that was found takes 0.4 ms for a topic of 255 bytes. Immutable; make one by {@link compilePattern} or {@link wildcard}.
 */
export class Pattern {
  readonly kind: PatternKind;
  /** A regular expression, or the text of a wildcard. */
  readonly source: string;
  /** Sorted: any of `i`, `s`, `u`; empty but for a RegExp. */
  readonly flags: string;
  /** For people: as it was written. */
  readonly text: string;
  /** The same for patterns of equal kind, source and flags, and for no others. */
  readonly key: string;
  /** Whether its literal prefix starts with `$`: it matches such topics alone, which belong to the bus. */
  readonly internal: boolean;
  /** @internal What the index files it under. */
  readonly shape: Shape;
  /** @internal The machine that decides what `shape.rest` leaves open. */
  readonly machine: Machine | undefined;
  #simulation: Simulation | undefined;

  /** @internal Throws PATTERN_INVALID. */
  constructor(kind: PatternKind, source: string, flags: string) {
    this.kind = kind;
    this.source = source;
    this.flags = flags;
    this.text = kind === 'regexp' ? `/${source}/${flags}` : source;
    this.key = `${kind}/${flags}/${source}`;
    const tree = this.#parse();
    const branches = tree.type === 'alternate' ? tree.branches : [tree];
    if (branches.some((branch) => sizeOf(branch) > maxSize)) throw this.#tooLarge(sizeOf(tree));
    this.internal = literalPrefix(tree).startsWith('$');
    this.shape = shapeOf(tree);
    if (this.shape.rest === undefined) return;
    if (sizeOf(tree) > maxSize) throw this.#tooLarge(sizeOf(tree));
    this.machine = buildMachine(tree, this.#words);
    if (this.machine === undefined) throw invalid(`${describe(this.text)} is too large: it repeats too long a list`);
  }

  /** Whether a topic matches. The topic must be a valid one: control characters may be taken for any other. */
  test(topic: string): boolean {
    if (this.internal !== topic.startsWith('$')) return false;
    const { literals, prefixes, suffixes, rest } = this.shape;
    if (rest === undefined) {
      return (
        prefixes.some((prefix) => topic.startsWith(prefix)) ||
        suffixes.some((suffix) => topic.endsWith(suffix)) ||
        literals.includes(topic)
      );
    }
    const near =
      rest.side === 'prefix'
        ? rest.affixes.some((text) => topic.startsWith(text))
        : rest.affixes.some((text) => topic.endsWith(text));
    if (!near) return false;
    // A pattern without a machine has no rest.
    this.#simulation ??= new Simulation(this.machine as Machine);
    return this.#simulation.test(topic);
  }

  /** @internal A machine of all that it matches; undefined when that would be too large. */
  wholeMachine(): Machine | undefined {
    if (this.machine !== undefined) return this.machine;
    const tree = this.#parse();
    return sizeOf(tree) > maxSize ? undefined : buildMachine(tree, this.#words);
  }

  /** Plain data from which {@link patternFromWire} makes an equal pattern. */
  toWire(): WirePattern {
    return { kind: this.kind, source: this.source, flags: this.flags };
  }

  toString(): string {
    return this.text;
  }

  get #words(): CharSet {
    return this.flags.includes('i') && this.flags.includes('u') ? foldedWords : words;
  }

  #parse(): Tree {
    const { kind, source, flags } = this;
    if (source.length === 0) throw invalid('is empty: it would match no topic');
    if (source.length > maxSource) {
      throw invalid(`${describe(source)} is too large: ${source.length} characters, at most ${maxSource} are allowed`);
    }
    if (kind === 'wildcard') return parseWildcard(source);
    const unicode = kind === 'string' || flags.includes('u');
    try {
      const tree = parse(source, { unicode, ignoreCase: flags.includes('i'), dotAll: flags.includes('s') });
      return whole(tree, kind === 'regexp');
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      throw invalid(`${describe(this.text)} has ${error.message} at position ${error.position} of its source`, error);
    }
  }

  #tooLarge(size: number): BusError {
    return invalid(
      `${describe(this.text)} is too large: size ${size} with its counts written out, at most ${maxSize} is allowed`,
    );
  }
}

/**
 * Compiles what a user gave. Throws `PATTERN_INVALID`, naming the construct and its position, for what linear time
 * cannot do (lookaround, backreferences), for what is no regular expression and for what is too large.
 */
export function compilePattern(input: PatternInput): Pattern {
  if (input instanceof Pattern) return input;
  if (typeof input === 'string') return new Pattern('string', input, '');
  if (types.isRegExp(input)) {
    const stranger = [...input.flags].find((flag) => !knownFlags.includes(flag));
    if (stranger !== undefined) {
      throw invalid(`${describe(String(input))} has the flag '${stranger}'; only i, s and u have a meaning here`);
    }
    return new Pattern('regexp', input.source, input.flags);
  }
  throw invalid(`is ${describe(input)}, not a string, a RegExp or a wildcard()`);
}

/**
 * A pattern in the manner of AMQP: words separated by dots, `*` stands for exactly one word, `#` for zero or more.
 * Throws `PATTERN_INVALID` for what is no text or too large.
 *
 * @example bus.subscribe(wildcard('orders.*.created'), handler)
 */
export function wildcard(text: string): Pattern {
  if (typeof text !== 'string') throw invalid(`is ${describe(text)}, not a wildcard text`);
  return new Pattern('wildcard', text, '');
}

/**
 * The pattern that another node sent. It matches the same here, but for characters that are new in one node's version
 * of Unicode (with the `i` flag or `\p{}`). Throws `PATTERN_INVALID` for whatever {@link Pattern.toWire} did not make.
 */
export function patternFromWire(data: unknown): Pattern {
  if (typeof data !== 'object' || data === null) throw invalid(`is ${describe(data)}, not a pattern from another node`);
  const { kind, source, flags } = data as Partial<Record<keyof WirePattern, unknown>>;
  if (!kinds.includes(kind)) throw invalid(`is of the kind ${describe(kind)}, which is not known`);
  if (typeof source !== 'string') throw invalid(`has ${describe(source)} for a source`);
  if (typeof flags !== 'string' || !(kind === 'regexp' ? /^i?s?u?$/ : /^$/).test(flags)) {
    throw invalid(`has ${describe(flags)} for flags`);
  }
  return new Pattern(kind as PatternKind, source, flags);
}

function invalid(problem: string, cause?: unknown): BusError {
  return new BusError('PATTERN_INVALID', `pattern ${problem}`, { cause });
}
