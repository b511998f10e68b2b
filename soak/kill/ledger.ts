import { existsSync, fdatasync, openSync, readFileSync, writeSync } from 'node:fs';

// A process may be killed in the middle of a write, which then ends at the boundary of a page. So a line begins with its
// own line feed and ends with a mark: half a line is no line, and takes none that follows along.
const end = ' .';

/** A line as it is appended to a ledger. */
export function ledgerLine(text: string): string {
  return `\n${text}${end}`;
}

/** The whole lines of a ledger; none when there is no such file. */
export function readLines(path: string): string[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith(end))
    .map((line) => line.slice(0, -end.length));
}

/** A file of lines that outlives this process: written at once, and brought to the medium in the background. */
export class Ledger {
  readonly #file: number;
  #syncing = false;
  #lines: string[] = [];
  #waiting: (() => void)[] = [];

  constructor(folder: string, name: string) {
    this.#file = openSync(`${folder}/${name}`, 'a');
  }

  /** For whoever must not be killed between the deed and the note. */
  now(line: string): void {
    writeSync(this.#file, ledgerLine(line));
  }

  /** Resolves when the medium has the line. */
  write(line: string): Promise<void> {
    this.#lines.push(ledgerLine(line));
    return new Promise((done) => {
      this.#waiting.push(done);
      if (!this.#syncing) this.#sync();
    });
  }

  #sync(): void {
    this.#syncing = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    writeSync(this.#file, this.#lines.join(''));
    this.#lines = [];
    fdatasync(this.#file, (error) => {
      if (error !== null) throw error;
      this.#syncing = false;
      for (const done of waiting) done();
      if (this.#waiting.length > 0) this.#sync();
    });
  }
}
