import { isName } from '../core/topic.ts';

/** Whether a value of a frame is what it must be. */
export type Check = (value: unknown) => boolean;

export const text: Check = (value) => typeof value === 'string' && value.length <= 1024;
/** The name of a node or of a cluster. */
export const name: Check = (value) => typeof value === 'string' && isName(value);
/** A text for people. */
export const long: Check = (value) => typeof value === 'string' && value.length <= 65_536;
export const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
/** A number that is counted up from: far enough below the highest that what comes after it stays exact. */
export const position: Check = (value) => count(value) && (value as number) <= 2 ** 52;
/** A term of leadership: versions go on above its product with 2^32. */
export const term: Check = (value) => count(value) && (value as number) <= 2 ** 20;
export const flag: Check = (value) => typeof value === 'boolean';
/** A number that something can be counted, or waited, by. */
export const amount: Check = (value) => Number.isFinite(value) && (value as number) >= 0;
export const anything: Check = () => true;
export const bytesOf =
  (length: number): Check =>
  (value) =>
    value instanceof Uint8Array && value.length === length;
export const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
/** An object with these members, and perhaps others. */
export const shapeOf = (shape: Readonly<Record<string, Check>>): Check => {
  const members = Object.entries(shape);
  return (value) => isObject(value) && members.every(([name, check]) => check(value[name]));
};
/** An object with any members, of one sort each. */
export const mapOf =
  (check: Check): Check =>
  (value) =>
    isObject(value) && Object.values(value).every(check);
export const oneOf =
  (...choices: unknown[]): Check =>
  (value) =>
    choices.includes(value);
export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A pattern as it travels. */
export interface PatternEntry {
  readonly kind: string;
  readonly source: string;
  readonly flags: string;
}

export const pattern: Check = shapeOf({
  kind: text,
  source: (value) => typeof value === 'string' && value.length <= 65_536,
  flags: text,
});
