import { fdatasync, openSync, writeSync } from 'node:fs';

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
    writeSync(this.#file, `${line}\n`);
  }

  /** Resolves when the medium has the line. */
  write(line: string): Promise<void> {
    this.#lines.push(line);
    return new Promise((done) => {
      this.#waiting.push(done);
      if (!this.#syncing) this.#sync();
    });
  }

  #sync(): void {
    this.#syncing = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    writeSync(this.#file, `${this.#lines.join('\n')}\n`);
    this.#lines = [];
    fdatasync(this.#file, (error) => {
      if (error !== null) throw error;
      this.#syncing = false;
      for (const done of waiting) done();
      if (this.#waiting.length > 0) this.#sync();
    });
  }
}
