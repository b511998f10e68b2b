import {
  type CharSet,
  complement,
  digits,
  foldedWords,
  lineEnds,
  maxPoint,
  maxUnit,
  spaces,
  toCharSet,
  words,
} from './charset.ts';
import { foldCase, propertySet } from './folding.ts';
import { alternate, characters, concat, repeat, type Tree } from './tree.ts';

/** How a source is read. */
export interface Syntax {
  /** The `i` flag. */
  readonly ignoreCase: boolean;
  /** The `s` flag. */
  readonly dotAll: boolean;
  /** The `u` flag: characters are code points, `\p{}` and `\u{}` are known. */
  readonly unicode: boolean;
}

/** Why a source was refused, and where: the index of the construct's first character. */
export class SyntaxProblem extends Error {
  readonly position: number;
  constructor(problem: string, position: number) {
    super(problem);
    this.position = position;
  }
}

// Deep enough for anything written by hand; the recursion of this folder stays far from the end of the stack.
const maxDepth = 100;

const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
const groups: readonly (readonly [string, string])[] = [
  ['(?<=', 'a lookbehind'],
  ['(?<!', 'a lookbehind'],
  ['(?=', 'a lookahead'],
  ['(?!', 'a lookahead'],
];

/**
 * Reads the regular expression syntax of ECMAScript (2023, section 22.2, with the lenient braces and brackets of its
 * Annex B) into a tree. What a linear-time engine cannot do, and what is not ECMAScript, is a {@link SyntaxProblem}.
 */
export function parse(source: string, syntax: Syntax): Tree {
  return new Parser(source, syntax).parse();
}

class Parser {
  readonly #source: string;
  readonly #syntax: Syntax;
  readonly #max: number;
  readonly #words: CharSet;
  /** Whether a match may begin between the halves of a character. */
  readonly #halves: boolean;
  #at = 0;
  #depth = 0;

  constructor(source: string, syntax: Syntax) {
    this.#source = source;
    this.#syntax = syntax;
    this.#max = syntax.unicode ? maxPoint : maxUnit;
    this.#halves = syntax.unicode && source.includes('\\B');
    this.#words = syntax.unicode && syntax.ignoreCase ? foldedWords : words;
  }

  parse(): Tree {
    const tree = this.#alternatives();
    if (this.#at < this.#source.length) throw new SyntaxProblem("an unmatched ')'", this.#at);
    return tree;
  }

  #alternatives(): Tree {
    const branches = [this.#sequence()];
    while (this.#take('|')) branches.push(this.#sequence());
    return alternate(branches);
  }

  #sequence(): Tree {
    const parts: Tree[] = [];
    while (this.#at < this.#source.length && !this.#sees('|') && !this.#sees(')')) parts.push(this.#term());
    return concat(parts);
  }

  #term(): Tree {
    const start = this.#at;
    const atom = this.#atom();
    const count = this.#quantifier();
    if (count === undefined) return atom;
    if (atom.type === 'assert' && !this.#source.startsWith('(', start))
      throw new SyntaxProblem('a quantifier behind an assertion', start);
    const again = this.#at;
    if (this.#quantifier() !== undefined) throw new SyntaxProblem('a quantifier with nothing to repeat', again);
    return repeat(atom, count[0], count[1], this.#halves);
  }

  #atom(): Tree {
    const start = this.#at;
    switch (this.#source[start]) {
      case '(':
        return this.#group();
      case '[':
        return this.#class();
      case '\\':
        return this.#escape();
      case '^':
        this.#at++;
        return { type: 'assert', kind: 'start' };
      case '$':
        this.#at++;
        return { type: 'assert', kind: 'end' };
      case '.':
        this.#at++;
        return characters(this.#syntax.dotAll ? [0, this.#max] : complement(lineEnds, this.#max), this.#syntax.unicode);
    }
    if (this.#quantifier() !== undefined) throw new SyntaxProblem('a quantifier with nothing to repeat', start);
    return this.#one(this.#next());
  }

  #group(): Tree {
    const start = this.#at;
    for (const [opening, name] of groups) {
      if (this.#source.startsWith(opening, start)) throw new SyntaxProblem(name, start);
    }
    if (++this.#depth > maxDepth) throw new SyntaxProblem(`more than ${maxDepth} nested groups`, start);
    this.#at++;
    if (this.#take('?')) {
      if (this.#take('<')) {
        const end = this.#source.indexOf('>', this.#at);
        if (end <= this.#at) throw new SyntaxProblem('an unfinished group name', start);
        this.#at = end + 1;
      } else if (!this.#take(':')) throw new SyntaxProblem('inline flags or an unknown kind of group', start);
    }
    const tree = this.#alternatives();
    if (!this.#take(')')) throw new SyntaxProblem("an unclosed '('", start);
    this.#depth--;
    return tree;
  }

  /** `*`, `+`, `?` or `{n,m}` as its least and greatest count, or undefined when none stands here. */
  #quantifier(): readonly [number, number] | undefined {
    const start = this.#at;
    let count: readonly [number, number] | undefined;
    if (this.#take('*')) count = [0, Number.POSITIVE_INFINITY];
    else if (this.#take('+')) count = [1, Number.POSITIVE_INFINITY];
    else if (this.#take('?')) count = [0, 1];
    else if (this.#sees('{')) {
      const braces = /\{(\d+)(,?)(\d*)\}/y;
      braces.lastIndex = start;
      const found = braces.exec(this.#source);
      if (found === null || (found[2] === '' && found[3] !== '')) return undefined;
      this.#at += found[0].length;
      const min = Number(found[1]);
      const max = found[2] === '' ? min : found[3] === '' ? Number.POSITIVE_INFINITY : Number(found[3]);
      if (min > max) throw new SyntaxProblem('a count whose numbers are out of order', start);
      count = [min, max];
    }
    if (count !== undefined) this.#take('?');
    return count;
  }

  #class(): Tree {
    const start = this.#at++;
    const negated = this.#take('^');
    const ranges: number[] = [];
    while (!this.#take(']')) {
      const at = this.#at;
      const from = this.#member(start);
      if (!this.#sees('-') || this.#source[this.#at + 1] === ']') {
        ranges.push(...from);
        continue;
      }
      this.#at++;
      const to = this.#member(start);
      if (from.length !== 2 || from[0] !== from[1] || to.length !== 2 || to[0] !== to[1]) {
        ranges.push(...from, 0x2d, 0x2d, ...to);
        continue;
      }
      const [low, high] = [from[0] as number, to[0] as number];
      if (low > high) throw new SyntaxProblem('a range that is out of order', at);
      ranges.push(low, high);
    }
    const set = this.#fold(toCharSet(ranges));
    return characters(negated ? complement(set, this.#max) : set, this.#syntax.unicode);
  }

  /** One member of a class: a character or a class escape. */
  #member(start: number): CharSet {
    if (this.#at >= this.#source.length) throw new SyntaxProblem("an unclosed '['", start);
    if (!this.#sees('\\')) return single(this.#next());
    if (this.#source[this.#at + 1] !== 'b') return this.#escapedSet();
    this.#at += 2;
    return single(8);
  }

  #escape(): Tree {
    const letter = this.#source[this.#at + 1];
    if (letter === 'b' || letter === 'B') {
      this.#at += 2;
      return { type: 'assert', kind: letter === 'b' ? 'boundary' : 'no-boundary' };
    }
    return characters(this.#fold(this.#escapedSet()), this.#syntax.unicode);
  }

  /** What the escape here stands for, its case not folded yet. */
  #escapedSet(): CharSet {
    const start = this.#at++;
    if (start + 1 >= this.#source.length) throw new SyntaxProblem("a '\\' with nothing behind it", start);
    const char = this.#next();
    const letter = String.fromCodePoint(char);
    const not = (set: CharSet) => complement(set, this.#max);
    switch (letter) {
      case 'd':
        return digits;
      case 'D':
        return not(digits);
      case 'w':
        return this.#words;
      case 'W':
        return not(this.#words);
      case 's':
        return spaces;
      case 'S':
        return not(spaces);
      case 'p':
      case 'P': {
        const set = this.#property(start);
        return letter === 'p' ? set : not(set);
      }
      case 'c': {
        const code = /[A-Za-z]/.test(this.#source[this.#at] ?? '') ? this.#next() % 32 : undefined;
        if (code === undefined) throw new SyntaxProblem('an unfinished escape \\c', start);
        return single(code);
      }
      case 'x':
        return single(this.#hex(2, start));
      case 'u':
        return single(this.#codePoint(start));
      case 'k':
        throw new SyntaxProblem('a backreference', start);
      case '0':
        if (/\d/.test(this.#source[this.#at] ?? '')) throw new SyntaxProblem('an octal escape', start);
        return single(0);
    }
    if (/[1-9]/.test(letter)) throw new SyntaxProblem('a backreference', start);
    const control = controls[letter];
    if (control !== undefined) return single(control);
    if (/[A-Za-z]/.test(letter)) throw new SyntaxProblem(`an unsupported escape \\${letter}`, start);
    return single(char);
  }

  #property(start: number): CharSet {
    const name = /^\{([A-Za-z0-9_=]+)\}/.exec(this.#source.slice(this.#at, this.#at + 80));
    const set = this.#syntax.unicode && name !== null ? propertySet(name[1] as string) : undefined;
    if (set === undefined || name === null) {
      const why = this.#syntax.unicode
        ? 'a Unicode property that is not known'
        : 'a Unicode property without the u flag';
      throw new SyntaxProblem(why, start);
    }
    this.#at += name[0].length;
    return set;
  }

  /** Behind `\u`: four digits, a pair of such escapes, or any number in braces. */
  #codePoint(start: number): number {
    if (this.#syntax.unicode && this.#sees('{')) {
      const braces = /^\{0*([0-9A-Fa-f]{1,6})\}/.exec(this.#source.slice(this.#at));
      const point = Number.parseInt(braces?.[1] ?? '', 16);
      if (braces === null || !(point <= maxPoint)) throw new SyntaxProblem('an unfinished escape \\u', start);
      this.#at += braces[0].length;
      return point;
    }
    const unit = this.#hex(4, start);
    if (!this.#syntax.unicode || unit < 0xd800 || unit > 0xdbff) return unit;
    const low = /^\\u([dD][c-fC-F][0-9A-Fa-f]{2})/.exec(this.#source.slice(this.#at, this.#at + 6));
    if (low === null) return unit;
    this.#at += 6;
    return ((unit - 0xd800) << 10) + (Number.parseInt(low[1] as string, 16) - 0xdc00) + 0x10000;
  }

  #hex(length: number, start: number): number {
    const text = this.#source.slice(this.#at, this.#at + length);
    if (text.length < length || /[^0-9A-Fa-f]/.test(text)) {
      throw new SyntaxProblem(`an unfinished escape \\${this.#source[start + 1]}`, start);
    }
    this.#at += length;
    return Number.parseInt(text, 16);
  }

  #one(char: number): Tree {
    return characters(this.#fold(single(char)), this.#syntax.unicode);
  }

  #fold(set: CharSet): CharSet {
    return this.#syntax.ignoreCase ? foldCase(set, this.#syntax.unicode) : set;
  }

  /** The next character: a code point with the `u` flag, else a code unit. Only called before the end. */
  #next(): number {
    const { unicode } = this.#syntax;
    const char = (unicode ? this.#source.codePointAt(this.#at) : this.#source.charCodeAt(this.#at)) as number;
    this.#at += char > maxUnit ? 2 : 1;
    return char;
  }

  #sees(char: string): boolean {
    return this.#source[this.#at] === char;
  }

  #take(char: string): boolean {
    if (!this.#sees(char)) return false;
    this.#at++;
    return true;
  }
}

function single(char: number): CharSet {
  return [char, char];
}
