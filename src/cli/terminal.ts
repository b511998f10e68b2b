import { type Deferred, deferred } from '../core/async.ts';
import type { Failure } from './failure.ts';

type Output = NodeJS.WriteStream;

/** What a command prints: results on stdout, everything else on stderr. The only file here that writes to either. */
export class Terminal {
  /** Whether results are NDJSON, and notes and errors JSON, one a line. */
  readonly json: boolean;
  readonly #out: Output;
  readonly #err: Output;
  readonly #broken: Deferred<void> = deferred();
  #isBroken = false;
  #progress = false;
  #drawn = false;

  constructor(json: boolean, out: Output = process.stdout, err: Output = process.stderr) {
    this.json = json;
    this.#out = out;
    this.#err = err;
    out.on('error', (error: NodeJS.ErrnoException) => {
      // Whoever read has gone, as `head -1` does: that ends the command, and is no failure.
      if (error.code !== 'EPIPE') this.note(`stdout failed: ${error.message}`, { problem: error.code });
      this.#isBroken = true;
      this.#broken.resolve();
    });
    err.on('error', () => {}); // there is nobody left to tell
  }

  /** Resolves when nobody reads stdout any more. */
  get broken(): Promise<void> {
    return this.#broken.promise;
  }

  /** Whether a line on stderr can be written over, for progress. */
  get isInteractive(): boolean {
    return this.#err.isTTY === true && !this.json;
  }

  /** Whether stdout takes colours: a terminal, and nobody asked for none (https://no-color.org). */
  get hasColours(): boolean {
    const { NO_COLOR, TERM } = process.env;
    return this.#out.isTTY === true && (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb';
  }

  /** Sets a text apart, where stdout takes colours. */
  readonly strong = (text: string): string => (this.hasColours ? `\u001b[1m${text}\u001b[22m` : text);

  /** Whether stdout is a screen that can be drawn on, and a person looks at it. */
  get isScreen(): boolean {
    return this.#out.isTTY === true && !this.json && process.env.TERM !== 'dumb';
  }

  /** How many lines the screen has. */
  get rows(): number {
    return this.#out.rows > 0 ? this.#out.rows : 24;
  }

  /** Draws lines over what stood on the screen before; what is too wide or too much is left out. */
  draw(lines: readonly string[]): void {
    this.clear();
    if (this.#isBroken) return;
    const begin = this.#drawn ? '\u001b[H' : '\u001b[?25l\u001b[?7l\u001b[H\u001b[2J';
    this.#drawn = true;
    const text = lines.slice(0, this.rows - 1).map((line) => `${line}\u001b[K\n`);
    this.#out.write(`${begin}${text.join('')}\u001b[J`);
  }

  /** Leaves what was drawn last on the screen, and goes on below it. */
  endDrawing(): void {
    if (!this.#drawn) return;
    this.#drawn = false;
    this.#out.write('\u001b[?7h\u001b[?25h');
  }

  /** Prints a result. @returns a promise when the reader is slower than we are: wait for it before printing more. */
  line(text: string): Promise<void> | undefined {
    this.clear();
    if (this.#isBroken || this.#out.write(`${text}\n`)) return undefined;
    const drained = deferred<void>();
    this.#out.once('drain', drained.resolve);
    return Promise.race([drained.promise, this.broken]);
  }

  /** Tells something beside the results: `text` to a person, `fields` to a program. */
  note(text: string, fields: Record<string, unknown>): void {
    this.clear();
    this.#err.write(`${this.json ? JSON.stringify(fields) : text}\n`);
  }

  /** Shows how far it is, over what it showed before. Nothing unless a person looks on. */
  progress(text: string): void {
    if (!this.isInteractive) return;
    this.#err.write(`\r${text}\u001b[K`);
    this.#progress = true;
  }

  /** Takes the progress away. */
  clear(): void {
    if (!this.#progress) return;
    this.#progress = false;
    this.#err.write('\r\u001b[K');
  }

  /** Says what went wrong and what to do next. */
  fail(failure: Failure): void {
    const { code, message, hint, exitCode, details, trace } = failure;
    const next = hint === undefined ? '' : `\n  → ${hint}`;
    this.note(`mailvan: ${trace ?? message}${next}`, {
      error: { code, message, ...(hint === undefined ? {} : { hint }), exitCode, ...details },
    });
  }

  /** Resolves when everything has been handed to the system. */
  async flush(): Promise<void> {
    this.clear();
    for (const stream of [this.#out, this.#err]) {
      const written = deferred<void>();
      if (stream.destroyed || !stream.writable) continue;
      stream.write('', () => written.resolve());
      await written.promise;
    }
  }
}
