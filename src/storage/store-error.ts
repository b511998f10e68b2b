import { BusError, type ErrorCode } from '../core/errors.ts';

/**
 * What LevelDB or the file system threw, as a {@link BusError} that names the folder and the way out. A `BusError` stays
 * what it is.
 *
 * The codes: `STORE_LOCKED` another opener holds the folder; `STORE_FULL` no space or quota is left; `STORE_CORRUPT` the
 * files contradict each other; `CLOSED` the database is not open any more; `STORE_FAILED` any other failure of I/O.
 */
export function storeError(thrown: unknown, folder: string): BusError {
  if (thrown instanceof BusError) return thrown;
  const chain = causes(thrown);
  const text = chain.map(({ message }) => message).join(': ');
  for (const [code, fits, say] of kinds) {
    if (
      fits(
        chain.map((error) => error.code ?? ''),
        text,
      )
    ) {
      return new BusError(code, `the store in ${folder} ${say} (${text})`, { cause: thrown });
    }
  }
  return new BusError('STORE_FAILED', `the store in ${folder} failed: see to the disk, then open it again (${text})`, {
    cause: thrown,
  });
}

type Kind = readonly [code: ErrorCode, fits: (codes: readonly string[], text: string) => boolean, say: string];

/** LevelDB hands the system's error on as text only, so the text decides where it gives no code. */
const kinds: readonly Kind[] = [
  [
    'STORE_LOCKED',
    (codes) => codes.includes('LEVEL_LOCKED'),
    'is held by another process or bus: close that one, or give this one a folder of its own',
  ],
  [
    'STORE_FULL',
    (codes, text) =>
      codes.some((code) => code === 'ENOSPC' || code === 'EDQUOT') || /No space left|quota exceeded/i.test(text),
    'found no space left on the disk: make room, then open it again',
  ],
  [
    'STORE_CORRUPT',
    (codes, text) => codes.includes('LEVEL_CORRUPTION') || /\bCorruption: |does not exist \(create_if/.test(text),
    'is damaged: open it with a repair, or restore a backup',
  ],
  ['CLOSED', (codes) => codes.some((code) => closedCodes.has(code)) && !codes.includes('LEVEL_IO_ERROR'), 'is closed'],
];

const closedCodes: ReadonlySet<string> = new Set([
  'LEVEL_DATABASE_NOT_OPEN',
  'LEVEL_ITERATOR_NOT_OPEN',
  'LEVEL_BATCH_NOT_OPEN',
  'LEVEL_ABORTED',
]);

/** An error and what brought it about, outermost first. */
function causes(thrown: unknown): { message: string; code?: string }[] {
  const chain: { message: string; code?: string }[] = [];
  for (let error = thrown; error instanceof Error && chain.length < 5; error = error.cause) {
    const code: unknown = 'code' in error ? error.code : undefined;
    chain.push({ message: error.message, ...(typeof code === 'string' && { code }) });
  }
  return chain.length === 0 ? [{ message: String(thrown) }] : chain;
}
