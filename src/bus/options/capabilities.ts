import { nodeCapability } from '../../cluster/placement.ts';
import { checkFlag, checkKnown, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import { checkName } from '../../core/topic.ts';
import type { Capabilities, CapabilityValue, Condition } from '../../wire/placement-entry.ts';

/** How many capabilities a node may have, and how many conditions a placement. */
const most = 64;
const longestText = 256;

/** Checks what a node says that it can do. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
export function checkCapabilities(what: string, given: unknown): Capabilities {
  checkObject(what, given);
  const entries = Object.entries(given as object).filter(([, value]) => value !== undefined);
  if (entries.length > most)
    throw new BusError('OPTION_INVALID', `${what}: ${entries.length}; at most ${most} are allowed`);
  for (const [name, value] of entries) {
    checkName('capability', name);
    if (name === nodeCapability) {
      throw new BusError(
        'OPTION_INVALID',
        `${what}: '${nodeCapability}' is the node's own name, which it has by itself`,
      );
    }
    checkValue(`${what}.${name}`, value);
  }
  return Object.fromEntries(entries) as Capabilities; // each has been checked
}

/** Checks what a placement wants of a node. @throws {BusError} `OPTION_INVALID`, `NAME_INVALID`. */
export function checkWhere(given: unknown = {}): Record<string, Condition> {
  checkObject('where', given);
  const entries = Object.entries(given as object).filter(([, value]) => value !== undefined);
  if (entries.length > most)
    throw new BusError('OPTION_INVALID', `where: ${entries.length} conditions; at most ${most} are allowed`);
  const checked: Record<string, Condition> = {};
  for (const [name, condition] of entries) {
    checkName('capability', name);
    checked[name] = checkCondition(`where.${name}`, condition);
  }
  return checked;
}

function checkCondition(what: string, condition: unknown): Condition {
  if (typeof condition !== 'object' || condition === null) return checkValue(what, condition);
  if (Array.isArray(condition)) {
    throw new BusError('OPTION_INVALID', `${what} is an array: write { in: [...] } when it may be one of several`);
  }
  checkKnown(what, condition, ['gte', 'lte', 'in', 'exists']);
  const { gte, lte, in: choices, exists } = condition as Record<string, unknown>;
  for (const [name, bound] of [
    ['gte', gte],
    ['lte', lte],
  ] as const) {
    if (bound !== undefined && !Number.isFinite(bound))
      throw new BusError('OPTION_INVALID', `${what}.${name} ${describe(bound)} must be a number`);
  }
  if (exists !== undefined) checkFlag(`${what}.exists`, exists);
  if (choices !== undefined) {
    if (!Array.isArray(choices) || choices.length === 0 || choices.length > most)
      throw new BusError('OPTION_INVALID', `${what}.in ${describe(choices)} must be an array of 1 to ${most} values`);
    for (const [i, value] of choices.entries()) checkValue(`${what}.in[${i}]`, value);
  }
  if ([gte, lte, choices, exists].every((each) => each === undefined))
    throw new BusError('OPTION_INVALID', `${what} says nothing: give it a value, or gte, lte, in or exists`);
  return Object.fromEntries(Object.entries(condition).filter(([, each]) => each !== undefined)) as Condition;
}

function checkValue(what: string, value: unknown): CapabilityValue {
  if (typeof value === 'boolean' || Number.isFinite(value)) return value as CapabilityValue;
  if (typeof value === 'string' && value.length <= longestText) return value;
  throw new BusError(
    'OPTION_INVALID',
    `${what} ${describe(value)} must be true, false, a finite number, or a text of at most ${longestText} characters`,
  );
}
