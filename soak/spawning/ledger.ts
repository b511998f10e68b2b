import { fdatasyncSync, openSync, writeSync } from 'node:fs';
import { ledgerLine, readLines } from '../kill/ledger.ts';

/** A file of lines that outlives its process: the medium has each line before the next thing is done. */
export class Ledger {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  write(...words: readonly (string | number)[]): void {
    writeSync(this.#file, ledgerLine(words.join(' ')));
    fdatasyncSync(this.#file);
  }
}

/** The lines of a ledger, each as its words; none when there is no such file. */
export function readLedger(path: string): string[][] {
  return readLines(path).map((line) => line.split(' '));
}
