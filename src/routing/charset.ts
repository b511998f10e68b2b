/**
 * A set of characters: sorted, disjoint, inclusive ranges `[from, to, from, to, ...]`. The numbers are UTF-16 code
 * units, or code points while a pattern with the `u` flag is being parsed.
 */
export type CharSet = readonly number[];

/** The highest UTF-16 code unit. */
export const maxUnit = 0xffff;
/** The highest code point. */
export const maxPoint = 0x10ffff;

/** Every UTF-16 code unit. */
export const everyUnit: CharSet = [0, maxUnit];
/** `\d` */
export const digits: CharSet = [0x30, 0x39];
/** `\w`, but for a pattern with both `i` and `u` (see {@link foldedWords}). */
export const words: CharSet = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
/** `\w` with both `i` and `u`: ECMAScript adds what folds to a letter, U+017F and U+212A. */
export const foldedWords: CharSet = [...words, 0x17f, 0x17f, 0x212a, 0x212a];
/** `\s`: ECMAScript's WhiteSpace and LineTerminator. */
export const spaces: CharSet = [
  ...[0x09, 0x0d, 0x20, 0x20, 0xa0, 0xa0, 0x1680, 0x1680, 0x2000, 0x200a, 0x2028, 0x2029],
  ...[0x202f, 0x202f, 0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff],
];
/** What `.` does not match without the `s` flag. */
export const lineEnds: CharSet = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];
/** What no topic contains (`topicProblem` of core): sets that differ only in these are the same to us. */
export const neverInTopics: CharSet = [0x00, 0x1f, 0x7f, 0x9f, 0x2028, 0x2029];

/** The union of ranges in any order, overlapping or not. */
export function toCharSet(ranges: readonly number[]): CharSet {
  const pairs: [number, number][] = [];
  for (let i = 0; i + 1 < ranges.length; i += 2) pairs.push([ranges[i] as number, ranges[i + 1] as number]);
  pairs.sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [from, to] of pairs) {
    const last = out.length - 1;
    if (last > 0 && from <= (out[last] as number) + 1) out[last] = Math.max(out[last] as number, to);
    else out.push(from, to);
  }
  return out;
}

/** What is not in the set, up to `max`. */
export function complement(set: CharSet, max: number): CharSet {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < set.length; i += 2) {
    const from = set[i] as number;
    if (from > next) out.push(next, Math.min(from - 1, max));
    next = (set[i + 1] as number) + 1;
  }
  if (next <= max) out.push(next, max);
  return out;
}

/** What is in both sets. */
export function intersect(a: CharSet, b: CharSet): CharSet {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const endA = a[i + 1] as number;
    const endB = b[j + 1] as number;
    const from = Math.max(a[i] as number, b[j] as number);
    const to = Math.min(endA, endB);
    if (from <= to) out.push(from, to);
    if (endA < endB) i += 2;
    else j += 2;
  }
  return out;
}

/** Whether the character is in the set. */
export function contains(set: CharSet, char: number): boolean {
  for (let i = 0; i < set.length; i += 2) {
    if (char < (set[i] as number)) return false;
    if (char <= (set[i + 1] as number)) return true;
  }
  return false;
}

/** How many characters the set holds. */
export function countOf(set: CharSet): number {
  let count = 0;
  for (let i = 0; i < set.length; i += 2) count += (set[i + 1] as number) - (set[i] as number) + 1;
  return count;
}
