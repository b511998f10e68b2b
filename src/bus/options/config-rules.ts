import { BusError, describe, type ErrorCode } from '../../core/errors.ts';

/** The part of JSON Schema (draft 2020-12) that the rules are told in. */
export interface JsonSchema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array';
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly dependentRequired?: Readonly<Record<string, readonly string[]>>;
  /** Of a map: what every member must be. */
  readonly additionalProperties?: false | JsonSchema;
  readonly propertyNames?: JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
}

/** Where a value stands: a file, and the JSON path in it. */
export class Place {
  readonly file: string;
  readonly path: string;

  constructor(file: string, path = '') {
    this.file = file;
    this.path = path;
  }

  /** A member of the object that stands here. */
  member(name: string): Place {
    return new Place(this.file, this.path === '' ? name : `${this.path}.${name}`);
  }

  /** An entry of the list that stands here. */
  entry(index: number): Place {
    return new Place(this.file, `${this.path}[${index}]`);
  }

  /** What is wrong here, with the place in front. */
  problem(text: string, code: ErrorCode = 'OPTION_INVALID', cause?: unknown): BusError {
    return new BusError(code, `${this.file}: ${this.path === '' ? '' : `${this.path}: `}${text}`, { cause });
  }
}

/** What a value must be, told twice from one source: to an editor as a schema, to the loader as a check. */
export interface Rule<T> {
  readonly schema: JsonSchema;
  /** The value itself. @throws {BusError} naming the place, the value and the way out. */
  check(value: unknown, place: Place): T;
}

/** The type of what a rule lets through. */
export type Checked<R> = R extends Rule<infer T> ? T : never;

/** What a text must look like. */
export interface TextShape {
  /** A regular expression that finds itself in every text that is right. */
  readonly pattern?: string;
  /** What the pattern asks for, for the error: `must …`. */
  readonly says?: string;
  readonly code?: ErrorCode;
  readonly default?: string;
  /** It may be a secret: never shown in an error. */
  readonly hidden?: boolean;
}

/** A text that is not empty. */
export function text(description: string, shape: TextShape = {}): Rule<string> {
  const { pattern, says = 'must be a text that is not empty', code, hidden = false } = shape;
  const regex = pattern === undefined ? undefined : new RegExp(pattern, 'u');
  return {
    schema: {
      description,
      ...defaultOf(shape),
      type: 'string',
      ...(pattern === undefined ? { minLength: 1 } : { pattern }),
    },
    check: (value, place) => {
      if (typeof value === 'string' && (regex === undefined ? value !== '' : regex.test(value))) return value;
      throw place.problem(`${hidden ? 'the value' : describe(value)} ${says}`, code);
    },
  };
}

/** A number; in this file they bear neither quotes nor units, so the description has to name the unit. */
export function number(description: string, facts: { default?: number; whole?: boolean } = {}): Rule<number> {
  const { whole = true } = facts;
  return {
    schema: { description, ...defaultOf(facts), type: whole ? 'integer' : 'number' },
    check: (value, place) => {
      if (typeof value === 'number' && (whole ? Number.isInteger(value) : Number.isFinite(value))) return value;
      const way = typeof value === 'string' ? ', without quotes and without a unit' : '';
      throw place.problem(`${describe(value)} must be a ${whole ? 'whole number' : 'number'}${way}`);
    },
  };
}

/** `true` or `false`. */
export function flag(description: string, facts: { default?: boolean } = {}): Rule<boolean> {
  return {
    schema: { description, ...defaultOf(facts), type: 'boolean' },
    check: (value, place) => {
      if (typeof value === 'boolean') return value;
      throw place.problem(`${describe(value)} must be true or false`);
    },
  };
}

/** One of a few values. */
export function choice<const T extends string | boolean>(
  description: string,
  values: readonly T[],
  facts: { default?: T } = {},
): Rule<T> {
  const list = values.map((value) => JSON.stringify(value)).join(' or ');
  return {
    schema: { description, ...defaultOf(facts), enum: values },
    check: (value, place) => {
      const found = values.find((known) => known === value);
      if (found !== undefined) return found;
      throw place.problem(`${describe(value)} must be ${list}`);
    },
  };
}

/** A list of any length. */
export function list<T>(description: string, items: Rule<T>): Rule<readonly T[]> {
  return {
    schema: { description, type: 'array', items: items.schema },
    check: (value, place) => {
      if (!Array.isArray(value)) throw place.problem(`${describe(value)} must be a list: [ … ]`);
      return value.map((entry, i) => items.check(entry, place.entry(i)));
    },
  };
}

/** The first rule for what `isFirst` accepts, else the second. */
export function either<A, B>(
  description: string,
  first: Rule<A>,
  second: Rule<B>,
  isFirst: (value: unknown) => boolean,
): Rule<A | B> {
  return {
    schema: { description, anyOf: [first.schema, second.schema] },
    check: (value, place) => (isFirst(value) ? first.check(value, place) : second.check(value, place)),
  };
}

function defaultOf({ default: value }: { readonly default?: unknown }): { readonly default?: unknown } {
  return value === undefined ? {} : { default: value };
}
