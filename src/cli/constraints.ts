import type { Capabilities, CapabilityValue, Condition } from '../wire/placement-entry.ts';
import { misuse } from './failure.ts';

const name = '[A-Za-z0-9_.-]+';
const forms =
  "write k=v, k=a|b, 'k>=n', 'k<=n', k (it has it) or '!k' (it has it not); text that looks like another value as k='\"5\"'";

/**
 * `true`, `false`, a number, or else a text; a text in double quotes is one whatever it looks like.
 *
 * @throws {Failure} with exit code 2.
 */
export function readValue(option: string, text: string): CapabilityValue {
  if (text === 'true' || text === 'false') return text === 'true';
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string; // it starts with a quote
  } catch {
    throw misuse(
      `${option} ${text} is no text: the closing quote is missing, or what is in it is not written as in JSON`,
    );
  }
}

/** `a=1,b=eu`, any number of times, as capabilities. @throws {Failure} with exit code 2. */
export function capabilitiesOf(given: readonly string[]): Capabilities {
  const option = '--capabilities';
  const found = new Map<string, CapabilityValue>();
  for (const part of given.flatMap((text) => text.split(','))) {
    const [, key, value] = new RegExp(`^(${name})=(.+)$`, 's').exec(part.trim()) ?? [];
    if (key === undefined || value === undefined) {
      throw misuse(
        `${option} ${JSON.stringify(part)} is no capability`,
        'write name=value, with commas between them: region=eu,gpu=2,writer=true',
      );
    }
    if (found.has(key)) throw misuse(`${option} gives '${key}' twice`);
    found.set(key, readValue(option, value));
  }
  return Object.fromEntries(found);
}

/** Each `--where`, as the conditions of a placement. @throws {Failure} with exit code 2. */
export function whereOf(given: readonly string[]): Record<string, Condition> {
  const found = new Map<string, Condition>();
  for (const text of given) {
    const [key, condition] = conditionOf(text);
    const before = found.get(key);
    if (before === undefined) found.set(key, condition);
    else if (isBound(before) && isBound(condition) && Object.keys(condition).every((bound) => !(bound in before)))
      found.set(key, { ...before, ...condition });
    else throw misuse(`--where says two things of '${key}'`, 'only k>=n and k<=n go together');
  }
  return Object.fromEntries(found);
}

function conditionOf(text: string): [string, Condition] {
  const [, not, only] = new RegExp(`^(!?)(${name})$`).exec(text) ?? [];
  if (only !== undefined) return [only, { exists: not === '' }];
  const [, key, sign, value] = new RegExp(`^(${name})(>=|<=|=)(.+)$`, 's').exec(text) ?? [];
  if (key === undefined || value === undefined) throw misuse(`--where ${JSON.stringify(text)} is no condition`, forms);
  if (sign === '=') {
    if (!value.includes('|')) return [key, readValue('--where', value)];
    return [key, { in: value.split('|').map((each) => readValue('--where', each)) }];
  }
  const bound = readValue('--where', value);
  if (typeof bound !== 'number') throw misuse(`--where ${JSON.stringify(text)} compares with a number`, forms);
  return [key, sign === '>=' ? { gte: bound } : { lte: bound }];
}

function isBound(condition: Condition): condition is { gte?: number; lte?: number } {
  return typeof condition === 'object' && ('gte' in condition || 'lte' in condition);
}
