import { isThenable } from './async.ts';
import { BusError, describe, SchemaError, type SchemaIssue, toError } from './errors.ts';

/**
 * A validator by the interface that many libraries share, version 1 of https://standardschema.dev: zod from 3.24, valibot
 * from 1, arktype from 2, and others.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    /** Whose it is. */
    readonly vendor: string;
    /** Judges a value. What does not fit is told by `issues`, not thrown. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** For the compiler only. */
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a validator says of a value: what it has made of it, or why it does not fit. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly ValidatorIssue[] };

/** One thing that a validator does not like. */
export interface ValidatorIssue {
  readonly message: string;
  /** Where: the keys from the root, plain or within an object. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema takes. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input'];
/** What it makes of that. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output'];

/** What a schema has made of a value that fits. */
export interface Fit {
  readonly value: unknown;
}

/** Of a payload that does not fit so many issues are told. */
const mostIssues = 20;
/** How long the path and the text of an issue may be, in characters. */
const longestText = 200;

/** Refuses what is no schema. @throws {BusError} `OPTION_INVALID`. */
export function checkSchema(what: string, schema: unknown): asserts schema is StandardSchema {
  const standard =
    (typeof schema === 'object' && schema !== null) || typeof schema === 'function'
      ? (schema as Partial<StandardSchema>)['~standard']
      : undefined;
  if (standard?.version === 1 && typeof standard.validate === 'function') return;
  const found = standard === undefined ? describe(schema) : `one of version ${describe(standard.version)}`;
  throw new BusError(
    'OPTION_INVALID',
    `${what}: the schema is ${found}, not a Standard Schema of version 1 (zod from 3.24, valibot from 1, arktype from 2, ...)`,
  );
}

/**
 * What a schema makes of a value; a promise when its validator takes its time.
 *
 * @throws {SchemaError} when the value does not fit; anything else comes from the validator.
 */
export function validated(schema: StandardSchema, value: unknown): Fit | Promise<Fit> {
  const result = schema['~standard'].validate(value);
  return isThenable(result) ? Promise.resolve(result).then(fitOf) : fitOf(result);
}

function fitOf(result: SchemaResult<unknown>): Fit {
  if (result.issues === undefined) return result;
  const issues = result.issues.slice(0, mostIssues).map(issueOf);
  const shown = issues.map(({ path, message }) => `${path}: ${message}`).join('; ');
  const rest = result.issues.length - issues.length;
  throw new SchemaError(`it does not fit its schema: ${shown}${rest > 0 ? `; and ${rest} more` : ''}`, issues);
}

function issueOf({ message, path = [] }: ValidatorIssue): SchemaIssue {
  const steps = path.map((step) => stepOf(typeof step === 'object' ? step.key : step));
  return { path: cut(`payload${steps.join('')}`), message: cut(String(message)) };
}

function stepOf(key: PropertyKey): string {
  if (typeof key === 'number') return `[${key}]`;
  if (typeof key === 'symbol') return `[${String(key)}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function cut(text: string): string {
  return text.length > longestText ? `${text.slice(0, longestText - 3)}...` : text;
}

/** What a publisher is told. */
export function refusedBy(topic: string, error: unknown): BusError {
  if (error instanceof SchemaError) {
    const { message, issues } = error;
    return new BusError('PAYLOAD_INVALID', `the payload for '${topic}': ${message}`, { issues });
  }
  const text = `the payload for '${topic}' could not be checked: its validator failed: ${toError(error).message}`;
  return new BusError('PAYLOAD_INVALID', text, { cause: error });
}
