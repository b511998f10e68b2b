import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

// Reads what `strace -f -xx` has written, and what LevelDB's logs would hold.

/** One system call, from the line on which it began to the one on which it had ended. */
export interface Call {
  readonly name: string;
  readonly fd: number;
  /** What was written; of an open the path. */
  readonly data: Buffer;
  readonly result: number;
  readonly began: number;
  readonly ended: number;
}

/** The calls in the order of their ends. */
export async function* readTrace(path: string): AsyncGenerator<Call> {
  const unfinished = new Map<string, { text: string; began: number }>();
  let at = 0;
  for await (const line of createInterface({ input: createReadStream(path, 'latin1') })) {
    at++;
    const [, thread = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (rest.endsWith('<unfinished ...>')) {
      unfinished.set(thread, { text: rest.slice(0, -'<unfinished ...>'.length), began: at });
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const first = resumed === null ? { text: '', began: at } : unfinished.get(thread);
    if (first === undefined) continue;
    unfinished.delete(thread);
    const call = parse(first.text + (resumed?.[1] ?? rest), first.began, at);
    if (call !== undefined) yield call;
  }
}

function parse(text: string, began: number, ended: number): Call | undefined {
  const [, name = '', inside = '', result = ''] = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(text) ?? [];
  if (name === '') return undefined;
  const open = inside.indexOf('"');
  const data =
    open < 0
      ? Buffer.alloc(0)
      : Buffer.from(inside.slice(open + 1, inside.lastIndexOf('"')).replaceAll('\\x', ''), 'hex');
  if (open >= 0 && inside.slice(inside.lastIndexOf('"')).includes('...'))
    throw new Error('strace has cut a write short');
  const fd = name === 'openat' ? Number(result) : Number.parseInt(inside, 10);
  return { name, fd, data, result: Number(result), began, ended };
}

const block = 32_768;
const head = 7;

/**
 * A log of LevelDB as it is written: without the heads of its blocks' records, so that what stands in it is found although
 * it crosses blocks (LevelDB's `doc/log_format.md`).
 */
export class Log {
  /** Where in the log a write ended, and when. */
  readonly #writes: { readonly end: number; readonly at: number }[] = [];
  #raw: Buffer = Buffer.alloc(0);
  #length = 0;
  /** Contents, not looked at yet, and where each piece of them stands in the file. */
  #contents = '';
  #pieces: { readonly from: number; readonly file: number }[] = [];
  #cut = 0;
  #offset = 0;

  /** @param at when the write had ended. */
  append(data: Buffer, at: number): void {
    this.#raw = this.#raw.length === 0 ? data : Buffer.concat([this.#raw, data]);
    this.#length += data.length;
    this.#writes.push({ end: this.#length, at });
    this.#strip();
  }

  /** Calls `found` for every match of `pattern` that is new, with the time at which the write that ended it had ended. */
  look(pattern: RegExp, longest: number, found: (match: RegExpMatchArray, written: number) => void): void {
    for (const match of this.#contents.matchAll(pattern)) found(match, this.#writtenAt(match.index + match[0].length));
    // What may be the beginning of a match stays; what was found does not come again.
    const last = [...this.#contents.matchAll(pattern)].pop();
    const keep = Math.max(last === undefined ? 0 : last.index + last[0].length, this.#contents.length - longest);
    this.#contents = this.#contents.slice(keep);
    this.#cut += keep;
    while ((this.#pieces[1]?.from ?? Number.POSITIVE_INFINITY) <= this.#cut) this.#pieces.shift();
  }

  #writtenAt(index: number): number {
    const end = this.#cut + index;
    const piece = this.#pieces.findLast(({ from }) => from < end);
    const file = (piece?.file ?? 0) + end - (piece?.from ?? 0);
    let i = this.#writes.length;
    while (i > 0 && (this.#writes[i - 1]?.end ?? 0) >= file) i--; // it is one of the last
    return this.#writes[i]?.at ?? Number.POSITIVE_INFINITY;
  }

  #strip(): void {
    for (;;) {
      const start = this.#length - this.#raw.length;
      const left = block - (start % block);
      if (left < head) {
        if (this.#raw.length < left) return;
        this.#raw = this.#raw.subarray(left);
        continue;
      }
      if (this.#raw.length < head) return;
      const size = this.#raw.readUInt16LE(4);
      if (this.#raw.length < head + size) return;
      this.#pieces.push({ from: this.#offset, file: start + head });
      this.#contents += this.#raw.toString('latin1', head, head + size);
      this.#offset += size;
      this.#raw = this.#raw.subarray(head + size);
    }
  }
}
