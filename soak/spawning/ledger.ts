import { existsSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';

/** A file of lines that outlives its process: the medium has each line before the next thing is done. */
export class Ledger {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  write(...words: readonly (string | number)[]): void {
    writeSync(this.#file, `${words.join(' ')}\n`);
    fdatasyncSync(this.#file);
  }
}

/** The lines of a ledger, each as its words; none when there is no such file. */
export function readLedger(path: string): string[][] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' '));
}
