/** Why a text is no JSON, and where: lines and columns count from 1. */
export interface JsonFault {
  readonly line: number;
  readonly column: number;
  readonly problem: string;
}

/** Deeper than any document that we read; it bounds the recursion. */
const maxDepth = 100;

const space = /[ \t\n\r]*/y;
const literal = /true|false|null/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON allows none within a string.
const unclosed = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;

/**
 * Where `JSON.parse` would fail, or where a member stands twice in one object, which it would let pass. Node's own errors
 * name no place for some faults, and quote what stands around others: in a file of settings that may be a secret.
 */
export function findFault(text: string): JsonFault | undefined {
  try {
    new Scanner(text).document();
    return undefined;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const before = text.slice(0, error.at);
    const line = before.split('\n').length;
    return { line, column: error.at - before.lastIndexOf('\n'), problem: error.message };
  }
}

class Fault extends Error {
  readonly at: number;

  constructor(at: number, problem: string) {
    super(problem);
    this.at = at;
  }
}

/** Reads a text by RFC 8259 and keeps nothing of it. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value(0);
    if (this.#at < this.#text.length) throw this.#unexpected('the end of the file');
  }

  /** A value, and the space on both sides. */
  #value(depth: number): void {
    if (depth > maxDepth) throw new Fault(this.#at, `this is nested deeper than ${maxDepth}`);
    this.#take(space);
    const first = this.#text[this.#at];
    if (first === '{') this.#object(depth);
    else if (first === '[') this.#array(depth);
    else if (first === '"') this.#string();
    else if (this.#take(literal) === undefined && this.#take(number) === undefined) throw this.#unexpected('a value');
    this.#take(space);
  }

  #object(depth: number): void {
    const names = new Set<string>();
    this.#at++;
    this.#take(space);
    if (this.#skip('}')) return;
    do {
      this.#take(space);
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#unexpected('a name in double quotes');
      const name = this.#string();
      if (names.has(name)) throw new Fault(start, `'${name}' stands here for the second time in one object`);
      names.add(name);
      this.#take(space);
      if (!this.#skip(':')) throw this.#unexpected('a colon');
      this.#value(depth + 1);
    } while (this.#skip(','));
    if (!this.#skip('}')) throw this.#unexpected('a comma or }');
  }

  #array(depth: number): void {
    this.#at++;
    this.#take(space);
    if (this.#skip(']')) return;
    do this.#value(depth + 1);
    while (this.#skip(','));
    if (!this.#skip(']')) throw this.#unexpected('a comma or ]');
  }

  #string(): string {
    const start = this.#at;
    this.#take(unclosed);
    if (this.#skip('"')) return JSON.parse(this.#text.slice(start, this.#at)) as string; // that is what was matched
    const next = this.#text[this.#at];
    if (next === undefined) throw new Fault(start, 'this text is never closed by a double quote');
    if (next === '\\')
      throw new Fault(this.#at, 'a backslash stands before " \\ / b f n r t or u and 4 digits: write \\\\');
    throw new Fault(this.#at, 'a text holds no line break and no other control character: write \\n, \\t or \\u0000');
  }

  #take(what: RegExp): string | undefined {
    what.lastIndex = this.#at;
    const found = what.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #skip(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #unexpected(what: string): Fault {
    const code = this.#text.codePointAt(this.#at);
    if (code === undefined) return new Fault(this.#at, `the file ends where ${what} is expected`);
    const found = String.fromCodePoint(code);
    const hints: Record<string, string> = {
      '/': '; JSON has no comments',
      '#': '; JSON has no comments',
      "'": '; JSON has double quotes only',
      '}': '; JSON has no comma before it',
      ']': '; JSON has no comma before it',
    };
    const comma = /,\s*$/.test(this.#text.slice(0, this.#at));
    const hint = /[}\]]/.test(found) && !comma ? '' : (hints[found] ?? '');
    return new Fault(this.#at, `${what} is expected here, not ${JSON.stringify(found)}${hint}`);
  }
}
