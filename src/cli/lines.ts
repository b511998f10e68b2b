import type { Readable } from 'node:stream';
import { misuse } from './failure.ts';

/** The longest line, in characters: more than a payload may have, and a bound on what is held. */
const longest = 8 * 1024 * 1024;

/** The lines of a stream, read as fast as somebody asks for them. Ends early when the stream is destroyed. */
export async function* linesOf(input: Readable): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of input.setEncoding('utf8')) {
      const [first = '', ...others] = String(chunk).split('\n');
      rest += first;
      for (const other of others) {
        yield withoutReturn(rest);
        rest = other;
      }
      if (rest.length > longest) throw misuse(`a line has more than ${longest} characters`, 'one message is one line');
    }
  } catch (error) {
    if (!input.destroyed || (error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    return;
  }
  if (rest !== '') yield withoutReturn(rest);
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
