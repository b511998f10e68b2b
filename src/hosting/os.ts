import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { fileURLToPath } from 'node:url';

/** The options of Node that say how modules are found and loaded, which a process of an instance needs as its node does. */
const withValue = /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C)(=|$)/;
const alone = /^--(no-)?(enable-source-maps|preserve-symlinks|preserve-symlinks-main|warnings|deprecation)$/;

/** What to start for an instance, and how. @param memory the limit of its heap, in MiB. */
export function forking(memory: number): { script: string; execArgv: string[] } {
  const name = import.meta.url.endsWith('.ts') ? './child.ts' : './child.js';
  return {
    script: fileURLToPath(new URL(name, import.meta.url)),
    execArgv: [...loading(process.execArgv), `--max-old-space-size=${memory}`],
  };
}

/** Those of the options of a process that say how modules are loaded. */
export function loading(options: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < options.length; i++) {
    const option = options[i] ?? '';
    if (alone.test(option)) kept.push(option);
    if (!withValue.test(option)) continue;
    kept.push(option);
    const value = options[i + 1];
    if (option.includes('=') || value === undefined) continue;
    kept.push(value);
    i++;
  }
  return kept;
}

/** How much memory a process has, in MiB; undefined where that cannot be seen, which is everywhere but on Linux. */
export function residentSize(pid: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    // In kB, whatever the size of a page, which Node does not tell.
    const size = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return size === undefined ? undefined : Number(size) / 1024;
  } catch {
    return undefined; // it has gone
  }
}

/** The longest line that is passed on in one piece, in characters. */
const longest = 8192;

/** Passes on the lines of a stream, which does not keep this process alive. */
export function forwardLines(stream: Readable | null, line: (text: string) => void): void {
  if (stream === null) return;
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const flush = (): void => {
    if (rest !== '') line(rest);
    rest = '';
  };
  stream.on('data', (bytes: Buffer) => {
    const lines = (rest + decoder.write(bytes)).split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const text of lines) if (text !== '') line(text);
    if (rest.length > longest) flush();
  });
  stream.on('error', () => undefined);
  stream.on('close', flush);
  if ('unref' in stream && typeof stream.unref === 'function') stream.unref();
}
