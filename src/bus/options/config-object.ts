import { describe } from '../../core/errors.ts';
import { nearest } from '../../core/spelling.ts';
import type { Checked, Rule } from './config-rules.ts';

type Members = Readonly<Record<string, Rule<unknown>>>;
type Fields<M extends Members, R extends keyof M, O extends keyof M> = {
  readonly [K in R]: Checked<M[K]>;
} & { readonly [K in Exclude<keyof M, R | O>]?: Checked<M[K]> } & ([O] extends [never] ? unknown : OneOf<M, O>);
type OneOf<M extends Members, O extends keyof M> = {
  [K in O]: { readonly [P in K]: Checked<M[P]> } & { readonly [P in Exclude<O, K>]?: never };
}[O];

/** What an object must have beside members of the right kind. */
export interface ObjectFacts<R, O> {
  readonly required?: readonly R[];
  /** Exactly one of these has to be there. */
  readonly one?: readonly O[];
  /** Members that make sense only beside another one. */
  readonly beside?: Readonly<Record<string, string>>;
  /** Members that one might look for here, and where they belong. */
  readonly elsewhere?: Readonly<Record<string, string>>;
  /** The whole text for a value that is no object, instead of one that shows the value: it may be a secret. */
  readonly instead?: string;
}

/** An object that has these members and no others. */
export function object<M extends Members, R extends keyof M & string = never, O extends keyof M & string = never>(
  description: string,
  members: M,
  facts: ObjectFacts<R, O> = {},
): Rule<Fields<M, R, O>> {
  const { required = [], one = [], beside = {}, elsewhere = {}, instead } = facts;
  const properties = Object.fromEntries(Object.entries(members).map(([name, { schema }]) => [name, schema]));
  return {
    schema: {
      description,
      type: 'object',
      properties,
      ...(required.length === 0 ? {} : { required }),
      ...(one.length === 0 ? {} : { oneOf: one.map((name) => ({ required: [name] })) }),
      ...(Object.keys(beside).length === 0 ? {} : { dependentRequired: mapped(beside, (name) => [name]) }),
      additionalProperties: false,
    },
    check: (value, place) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw place.problem(instead ?? `${describe(value)} must be an object: { … }`);
      }
      const checked: Record<string, unknown> = {};
      for (const [name, member] of Object.entries(value)) {
        const rule = Object.hasOwn(members, name) ? members[name] : undefined;
        if (rule === undefined) throw place.problem(strangerText(name, Object.keys(members), elsewhere));
        checked[name] = rule.check(member, place.member(name));
      }
      const missing = required.find((name) => !Object.hasOwn(checked, name));
      if (missing !== undefined) throw place.problem(`'${missing}' is missing`);
      if (one.length > 0 && one.filter((name) => Object.hasOwn(checked, name)).length !== 1) {
        throw place.problem(`give exactly one of ${one.map((name) => `'${name}'`).join(' and ')}`);
      }
      for (const [name, other] of Object.entries(beside)) {
        if (!Object.hasOwn(checked, name) || Object.hasOwn(checked, other)) continue;
        throw place.problem(`'${name}' makes sense only beside '${other}'`);
      }
      return checked as Fields<M, R, O>; // every member has passed its rule
    },
  };
}

/** An object with members of any name that is right, all of one kind. */
export function map<T>(description: string, name: Rule<string>, member: Rule<T>): Rule<Readonly<Record<string, T>>> {
  const { description: _, ...names } = name.schema;
  return {
    schema: { description, type: 'object', propertyNames: names, additionalProperties: member.schema },
    check: (value, place) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw place.problem(`${describe(value)} must be an object: { … }`);
      }
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [name.check(key, place), member.check(each, place.member(key))]),
      );
    },
  };
}

function strangerText(name: string, known: readonly string[], elsewhere: Readonly<Record<string, string>>): string {
  const reason = Object.hasOwn(elsewhere, name) ? elsewhere[name] : undefined;
  if (reason !== undefined) return `there is no '${name}' here: ${reason}`;
  const near = nearest(name, known);
  return `there is no '${name}'${near === undefined ? `; it has ${known.join(', ')}` : `; did you mean '${near}'?`}`;
}

function mapped<A, B>(record: Readonly<Record<string, A>>, fn: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, fn(value)]));
}
