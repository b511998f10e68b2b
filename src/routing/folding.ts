import { type CharSet, contains, countOf, maxPoint, maxUnit, toCharSet } from './charset.ts';

type Orbits = ReadonlyMap<number, readonly number[]>;

// No script with case lies above the supplementary multilingual plane.
const lastCased = 0x1ffff;
const orbitsByU = new Map<boolean, Orbits>();

/**
 * The set with every character that the `i` flag takes for one of its members: ECMAScript's Canonicalize, which upper
 * cases single code units without the `u` flag and uses Unicode's simple case folding with it.
 */
export function foldCase(set: CharSet, withU: boolean): CharSet {
  const orbits = orbitsOf(withU);
  const added: number[] = [];
  const add = (char: number) => {
    for (const other of orbits.get(char) ?? []) added.push(other, other);
  };
  if (countOf(set) > orbits.size) {
    for (const char of orbits.keys()) if (contains(set, char)) add(char);
  } else {
    for (let i = 0; i < set.length; i += 2) {
      for (let char = set[i] as number; char <= (set[i + 1] as number); char++) add(char);
    }
  }
  return added.length === 0 ? set : toCharSet([...set, ...added]);
}

function orbitsOf(withU: boolean): Orbits {
  let orbits = orbitsByU.get(withU);
  if (orbits === undefined) {
    orbits = withU ? collectOrbits(/^(.)\1$/iu, lastCased) : collectOrbits(/^(.)\1$/i, maxUnit);
    orbitsByU.set(withU, orbits);
  }
  return orbits;
}

/**
 * Which characters are equal but for case, as told by this very engine, so that we never disagree with it: characters
 * with one upper case are candidates, and a fixed back-reference decides (`/^(.)\1$/i` on the two of them). Takes
 * about 20 ms, once and only if a pattern has the `i` flag.
 */
function collectOrbits(equal: RegExp, last: number): Orbits {
  const buckets = new Map<string, number[]>();
  for (let char = 0; char <= last; char++) {
    if (char >= 0xd800 && char <= 0xdfff) continue;
    const text = String.fromCodePoint(char);
    const lower = text.toLowerCase();
    const key = lower.toUpperCase();
    if (key === text && lower === text) continue;
    const bucket = buckets.get(key);
    if (bucket === undefined) buckets.set(key, [char]);
    else bucket.push(char);
  }
  const orbits = new Map<number, readonly number[]>();
  for (const bucket of buckets.values()) {
    for (const char of bucket) {
      const orbit = bucket.filter((other) => equal.test(String.fromCodePoint(char, other)));
      if (orbit.length > 1) orbits.set(char, orbit);
    }
  }
  return orbits;
}

const properties = new Map<string, CharSet>();

/**
 * The code points that `\p{name}` means, as told by this engine's own Unicode tables, or undefined when it knows no
 * such property. About 20 ms for the first use of each; there are some hundreds of names at most.
 */
export function propertySet(name: string): CharSet | undefined {
  const known = properties.get(name);
  if (known !== undefined) return known;
  let expression: RegExp;
  try {
    expression = new RegExp(`\\p{${name}}+`, 'gu');
  } catch {
    return undefined;
  }
  const ranges: number[] = [];
  const step = 0x1000;
  for (let from = 0; from <= maxPoint; from += step) {
    const block = String.fromCodePoint(...Array.from({ length: step }, (_, i) => from + i));
    for (const match of block.matchAll(expression)) {
      const run = match[0];
      const first = run.codePointAt(0) as number;
      ranges.push(first, first + [...run].length - 1);
    }
  }
  const set = toCharSet(ranges);
  properties.set(name, set);
  return set;
}
