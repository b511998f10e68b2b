import { BusError, describe } from './errors.ts';
import { nearest } from './spelling.ts';

/** What a later version adds: refused by name until then, never ignored. */
type Later = Readonly<Record<string, string>>;

/**
 * Refuses members that do not exist, naming the nearest one that does.
 *
 * @param what whose options they are, for the error text.
 * @throws {BusError} `OPTION_INVALID`.
 */
export function checkKnown(what: string, options: object, known: readonly string[], later: Later = {}): void {
  for (const key of Object.keys(options)) {
    if ((options as Record<string, unknown>)[key] === undefined || known.includes(key)) continue;
    const reason = later[key];
    if (reason !== undefined && Object.hasOwn(later, key)) {
      throw new BusError('OPTION_INVALID', `${what}: '${key}' is not available yet: ${reason}`);
    }
    const near = nearest(key, known);
    const hint = near === undefined ? `; it has ${known.join(', ')}` : `; did you mean '${near}'?`;
    throw new BusError('OPTION_INVALID', `${what}: there is no option '${key}'${hint}`);
  }
}

/** Refuses what is no plain options object. */
export function checkObject(what: string, options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new BusError('OPTION_INVALID', `${what} must be an object, not ${describe(options)}`);
  }
}

/** A number between two bounds, or the default when it is undefined. */
export function checkNumber(
  what: string,
  value: unknown,
  fallback: number,
  bounds: { min: number; max: number; integer?: boolean },
): number {
  if (value === undefined) return fallback;
  const { min, max, integer = true } = bounds;
  if (typeof value === 'number' && value >= min && value <= max && (!integer || Number.isInteger(value))) return value;
  const kind = integer ? 'a whole number' : 'a number';
  throw new BusError('OPTION_INVALID', `${what} ${describe(value)} must be ${kind} from ${min} to ${max}`);
}

/** One of the given texts, or the default when it is undefined. */
export function checkChoice<T extends string | boolean>(
  what: string,
  value: unknown,
  fallback: T,
  choices: readonly T[],
): T {
  if (value === undefined) return fallback;
  if (choices.includes(value as T)) return value as T;
  throw new BusError(
    'OPTION_INVALID',
    `${what} ${describe(value)} must be one of ${choices.map((c) => (typeof c === 'string' ? `'${c}'` : String(c))).join(', ')}`,
  );
}

/** True or false. */
export function checkFlag(what: string, value: unknown): void {
  if (typeof value === 'boolean') return;
  throw new BusError('OPTION_INVALID', `${what} ${describe(value)} must be true or false`);
}
