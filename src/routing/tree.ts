import {
  type CharSet,
  complement,
  everyUnit,
  intersect,
  maxPoint,
  maxUnit,
  neverInTopics,
  toCharSet,
} from './charset.ts';

/** What stands at an edge or between two characters: `^`, `$`, `\b`, `\B`. */
export type Assertion = 'start' | 'end' | 'boundary' | 'no-boundary';

/**
 * A parsed pattern, in UTF-16 code units throughout (so that it runs over a JavaScript string as it is): characters
 * beyond the basic plane have become pairs of surrogates, case has been folded into the sets.
 */
export type Tree =
  | { readonly type: 'empty' }
  | { readonly type: 'set'; readonly set: CharSet }
  | { readonly type: 'concat'; readonly parts: readonly Tree[] }
  | { readonly type: 'alternate'; readonly branches: readonly Tree[] }
  | { readonly type: 'repeat'; readonly body: Tree; readonly min: number; readonly max: number }
  | { readonly type: 'assert'; readonly kind: Assertion };

const highs: CharSet = [0xd800, 0xdbff];
const lows: CharSet = [0xdc00, 0xdfff];
const withoutSurrogates: CharSet = [0, 0xd7ff, 0xe000, maxUnit];

/** Matches the empty text. */
export const empty: Tree = { type: 'empty' };
const anyUnit: Tree = { type: 'set', set: everyUnit };
/** Any text at all: the one tree that the index knows by identity. */
export const anything: Tree = { type: 'repeat', body: anyUnit, min: 0, max: Number.POSITIVE_INFINITY };
const anyCharacter: Tree = {
  type: 'alternate',
  branches: [
    { type: 'set', set: withoutSurrogates },
    {
      type: 'concat',
      parts: [
        { type: 'set', set: highs },
        { type: 'set', set: lows },
      ],
    },
  ],
};

/** One after the other. */
export function concat(parts: readonly Tree[]): Tree {
  const flat: Tree[] = [];
  for (const part of parts) {
    for (const one of part.type === 'concat' ? part.parts : [part]) {
      if (one === empty || (one === anything && flat.at(-1) === anything)) continue;
      flat.push(one);
    }
  }
  return flat.length === 0 ? empty : flat.length === 1 ? (flat[0] as Tree) : { type: 'concat', parts: flat };
}

/** One of the branches. */
export function alternate(branches: readonly Tree[]): Tree {
  if (branches.every((branch) => branch === empty)) return empty;
  return branches.length === 1 ? (branches[0] as Tree) : { type: 'alternate', branches };
}

/**
 * `body{min,max}`. Greedy or lazy is one to us: only whether there is a match counts.
 *
 * @param halves whether a match may begin between the halves of a character: `\B` holds there in V8, and nothing goes on.
 */
export function repeat(body: Tree, min: number, max: number, halves = false): Tree {
  if (body === empty || max === 0) return empty;
  if (min === 1 && max === 1) return body;
  if (max === Number.POSITIVE_INFINITY) {
    if (body === anything) return anything;
    // Topics are well-formed, so any number of characters is any number of units.
    if (body === anyUnit || (body === anyCharacter && !halves)) return concat([repeat(body, min, min), anything]);
  }
  return { type: 'repeat', body, min, max };
}

/** The text itself. */
export function literal(text: string): Tree {
  return concat(
    Array.from({ length: text.length }, (_, i) => characters([text.charCodeAt(i), text.charCodeAt(i)], false)),
  );
}

/** One character of the set: of code points when `unicode`, else of code units. */
export function characters(set: CharSet, unicode: boolean): Tree {
  const [from = 0, to = from] = set;
  // A single character, by far the most frequent: the general way below takes 3 us.
  if (set.length === 2 && from === to && to < 0xd800) return { type: 'set', set };
  const max = unicode ? maxPoint : maxUnit;
  const full = complement(toCharSet([...set, ...neverInTopics]), max).length === 0;
  if (!unicode) return full ? anyUnit : { type: 'set', set };
  if (full) return anyCharacter;
  const basic = intersect(set, withoutSurrogates);
  const pairs = surrogatePairs(intersect(set, [maxUnit + 1, maxPoint]));
  if (pairs.length === 0) return { type: 'set', set: basic };
  return alternate(basic.length === 0 ? pairs : [{ type: 'set', set: basic }, ...pairs]);
}

/** Code points beyond the basic plane as high and low surrogates; highs with the same lows share a branch. */
function surrogatePairs(set: CharSet): Tree[] {
  const full: number[] = [];
  const lowsOf = new Map<number, number[]>();
  for (let i = 0; i < set.length; i += 2) {
    const to = (set[i + 1] as number) - 0x10000;
    for (let from = (set[i] as number) - 0x10000; from <= to; ) {
      const high = from >> 10;
      const end = to >> 10;
      const behindFull = (to + 1) >> 10;
      if ((from & 0x3ff) === 0 && behindFull > high) {
        full.push(0xd800 + high, 0xd800 + behindFull - 1);
        from = behindFull << 10;
        continue;
      }
      const ranges = lowsOf.get(0xd800 + high) ?? [];
      ranges.push(0xdc00 + (from & 0x3ff), 0xdc00 + (high === end ? to & 0x3ff : 0x3ff));
      lowsOf.set(0xd800 + high, ranges);
      from = (high + 1) << 10;
    }
  }
  const highsOf = new Map<string, { lows: CharSet; highs: number[] }>();
  for (const [high, ranges] of lowsOf) {
    const key = ranges.join();
    const shared = highsOf.get(key);
    if (shared === undefined) highsOf.set(key, { lows: ranges, highs: [high, high] });
    else shared.highs.push(high, high);
  }
  if (full.length > 0) highsOf.set('full', { lows, highs: full });
  return [...highsOf.values()].map((pair) =>
    concat([
      { type: 'set', set: toCharSet(pair.highs) },
      { type: 'set', set: pair.lows },
    ]),
  );
}

/**
 * The tree that must match from the first to the last character. `searched` says that the pattern may match anywhere
 * (a RegExp); then anything may stand before and behind it, unless it is anchored there.
 */
export function whole(tree: Tree, searched: boolean): Tree {
  if (tree.type === 'alternate' && tree.branches.some(isAnchored)) {
    return alternate(tree.branches.map((branch) => whole(branch, searched)));
  }
  const parts = tree.type === 'concat' ? tree.parts : [tree];
  let from = 0;
  let to = parts.length;
  while (from < to && isAssertion(parts[from], 'start')) from++;
  while (to > from && isAssertion(parts[to - 1], 'end')) to--;
  const before = searched && from === 0 ? anything : empty;
  const behind = searched && to === parts.length ? anything : empty;
  return concat([before, ...parts.slice(from, to), behind]);
}

function isAnchored(tree: Tree): boolean {
  const parts = tree.type === 'concat' ? tree.parts : [tree];
  return isAssertion(parts[0], 'start') || isAssertion(parts.at(-1), 'end');
}

function isAssertion(tree: Tree | undefined, kind: Assertion): boolean {
  return tree?.type === 'assert' && tree.kind === kind;
}
