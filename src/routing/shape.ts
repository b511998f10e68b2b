import { type CharSet, countOf } from './charset.ts';
import { anything, concat, type Tree } from './tree.ts';

/** What can be told about a pattern's matches from their first and last characters. */
export interface Shape {
  /** Topics that match. */
  readonly literals: readonly string[];
  /** What begins with one of these matches. */
  readonly prefixes: readonly string[];
  /** What ends with one of these matches. */
  readonly suffixes: readonly string[];
  /** When the lists above do not tell all: where every match begins or ends, and a machine must decide. */
  readonly rest: Rest | undefined;
}

/** Every match begins (or ends) with one of the texts; the empty text when nothing is known. */
export interface Rest {
  readonly side: 'prefix' | 'suffix';
  readonly affixes: readonly string[];
}

// Enough for a few alternatives times a few letters in both cases; each text is an entry of the index.
const maxTexts = 64;
// Branches at the top of a pattern are listed freely: `orders|payments|...` is as many entries of a Map.
const maxListed = 1_024;
// Digits are not written out: ten groups of patterns where one will do.
const maxLetters = 4;

/** Texts that every match begins (or ends) with; `complete` when they are all the matches there are. */
interface Affixes {
  readonly texts: readonly string[];
  readonly complete: boolean;
}

const unknown: Affixes = { texts: [''], complete: false };

/** The longest text that every match begins with. */
export function literalPrefix(tree: Tree): string {
  const [first = '', ...others] = affixesOf(tree, 'prefix').texts;
  return others.reduce((common, text) => {
    let length = 0;
    while (length < common.length && common[length] === text[length]) length++;
    return common.slice(0, length);
  }, first);
}

/** Reads the shape off a tree that must match whole topics. */
export function shapeOf(tree: Tree): Shape {
  const branches = tree.type === 'alternate' ? tree.branches : [tree];
  const literals = new Set<string>();
  const prefixes = new Set<string>();
  const suffixes = new Set<string>();
  for (const branch of branches) {
    const parts = branch.type === 'concat' ? branch.parts : [branch];
    const opens = parts.at(-1) === anything;
    const head = affixesOf(opens ? concat(parts.slice(0, -1)) : branch, 'prefix');
    const tail = parts[0] === anything ? affixesOf(concat(parts.slice(1)), 'suffix') : unknown;
    const list = head.complete ? (opens ? prefixes : literals) : tail.complete ? suffixes : undefined;
    if (list === undefined) return undecided(tree);
    for (const text of (head.complete ? head : tail).texts) list.add(text);
  }
  if (literals.size + prefixes.size + suffixes.size > maxListed) return undecided(tree);
  return { literals: [...literals], prefixes: [...prefixes], suffixes: [...suffixes], rest: undefined };
}

function undecided(tree: Tree): Shape {
  return { literals: [], prefixes: [], suffixes: [], rest: restOf(tree) };
}

/** The side that tells more. */
function restOf(tree: Tree): Rest {
  const prefixes = affixesOf(tree, 'prefix').texts;
  const suffixes = affixesOf(tree, 'suffix').texts;
  return shortest(prefixes) >= shortest(suffixes)
    ? { side: 'prefix', affixes: prefixes }
    : { side: 'suffix', affixes: suffixes };
}

function shortest(texts: readonly string[]): number {
  return texts.reduce((least, text) => Math.min(least, text.length), Number.POSITIVE_INFINITY);
}

function affixesOf(tree: Tree, side: Rest['side']): Affixes {
  switch (tree.type) {
    case 'empty':
      return { texts: [''], complete: true };
    case 'assert':
      return unknown;
    case 'set':
      return countOf(tree.set) <= maxLetters ? { texts: letters(tree.set), complete: true } : unknown;
    case 'concat':
      return sequence(side === 'prefix' ? tree.parts : tree.parts.toReversed(), side);
    case 'alternate': {
      const branches = tree.branches.map((branch) => affixesOf(branch, side));
      const texts = [...new Set(branches.flatMap((branch) => branch.texts))];
      return texts.length > maxTexts ? unknown : { texts, complete: branches.every((branch) => branch.complete) };
    }
    case 'repeat': {
      if (tree.min > 0) {
        const copies = sequence(Array<Tree>(Math.min(tree.min, maxTexts)).fill(tree.body), side);
        return tree.min === tree.max && tree.min <= maxTexts ? copies : { ...copies, complete: false };
      }
      const once = affixesOf(tree.body, side);
      return tree.max === 1 && once.complete ? { texts: [...new Set(['', ...once.texts])], complete: true } : unknown;
    }
  }
}

/** The parts from the near end on, for as long as they are finite and few. */
function sequence(parts: readonly Tree[], side: Rest['side']): Affixes {
  let texts: readonly string[] = [''];
  for (const part of parts) {
    const more = affixesOf(part, side);
    if (texts.length * more.texts.length > maxTexts) return { texts, complete: false };
    texts = texts.flatMap((text) => more.texts.map((one) => (side === 'prefix' ? text + one : one + text)));
    if (!more.complete) return { texts, complete: false };
  }
  return { texts: [...new Set(texts)], complete: true };
}

function letters(set: CharSet): string[] {
  const out: string[] = [];
  for (let i = 0; i < set.length; i += 2) {
    for (let char = set[i] as number; char <= (set[i + 1] as number); char++) out.push(String.fromCharCode(char));
  }
  return out;
}
