import { type ParseArgsConfig, parseArgs } from 'node:util';
import type { ArgDef, ArgsDef } from 'citty';
import { nearest } from '../core/spelling.ts';
import { misuse } from './failure.ts';

type OptionsConfig = NonNullable<ParseArgsConfig['options']>;

/** What was given on the command line, before anything is made of it. */
export interface GivenArguments {
  readonly positionals: readonly string[];
  /** Every value of an option that may be repeated, in order. */
  values(name: string): string[];
}

/**
 * Reads the arguments of a command and refuses what it does not know: citty itself lets everything pass.
 *
 * @param command its name, for the texts.
 * @throws {Failure} with exit code 2, naming the nearest option that exists.
 */
export function readArguments(command: string, raw: readonly string[], definitions: ArgsDef): GivenArguments {
  const help = `'mailvan ${command} --help' lists what it takes`;
  const { options, names, positionals: slots } = optionsOf(definitions);
  const { tokens } = parseArgs({ args: [...raw], options, strict: false, allowPositionals: true, tokens: true });
  const positionals: string[] = [];
  const values = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const definition = definitions[token.name];
    if (definition === undefined || definition.type === 'positional') {
      const near = nearest(token.name, names);
      throw misuse(`there is no option ${token.rawName}${near === undefined ? '' : `; did you mean --${near}?`}`, help);
    }
    if (definition.type === 'boolean') {
      if (token.value !== undefined) throw misuse(`${token.rawName} takes no value`, help);
      continue;
    }
    const { value, rawName, inlineValue } = token;
    if (value === undefined) throw misuse(`${rawName} needs a value`, help);
    if (!inlineValue && /^-./.test(value)) {
      throw misuse(
        `${rawName} needs a value, and ${value} looks like an option`,
        `if it is the value: --${token.name}=${value}`,
      );
    }
    values.set(token.name, [...(values.get(token.name) ?? []), value]);
  }
  checkPositionals(positionals, slots, help);
  return { positionals, values: (name) => values.get(name) ?? [] };
}

function optionsOf(definitions: ArgsDef): {
  options: OptionsConfig;
  names: string[];
  positionals: [string, ArgDef][];
} {
  const options: OptionsConfig = {};
  const positionals: [string, ArgDef][] = [];
  for (const [name, definition] of Object.entries(definitions)) {
    if (definition.type === 'positional') {
      positionals.push([name, definition]);
      continue;
    }
    const short = 'alias' in definition && typeof definition.alias === 'string' ? { short: definition.alias } : {};
    options[name] = { type: definition.type === 'boolean' ? 'boolean' : 'string', ...short };
  }
  return { options, names: Object.keys(options), positionals };
}

function checkPositionals(given: readonly string[], slots: readonly [string, ArgDef][], help: string): void {
  const missing = slots.find(([, { required }], i) => required !== false && given[i] === undefined);
  if (missing !== undefined) throw misuse(`<${missing[0]}> is missing`, help);
  const repeats = slots.at(-1)?.[0].endsWith('...') === true; // as usage texts write it
  if (given.length > slots.length && !repeats) {
    const hint = `quote what belongs together, as in "two words"; ${help}`;
    throw misuse(`${JSON.stringify(given[slots.length])} is one argument too many`, hint);
  }
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500`, `500ms`, `10s`, `2m` or `1h` in milliseconds. @throws {Failure} with exit code 2. */
export function readDuration(option: string, text: string): number {
  const [, digits, unit] = /^(\d{1,9}(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const ms = Math.round(Number(digits) * (units[unit ?? 'ms'] ?? 1));
  if (digits !== undefined && ms >= 1 && ms <= 86_400_000) return ms;
  throw misuse(`${option} ${JSON.stringify(text)} is no time from 1ms to 24h; write 500ms, 10s or 2m`);
}

/** A whole number. @throws {Failure} with exit code 2. */
export function readCount(option: string, text: string, min: number): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= min && count <= 1_000_000_000) return count;
  throw misuse(`${option} ${JSON.stringify(text)} must be a whole number, ${min} or more`);
}
