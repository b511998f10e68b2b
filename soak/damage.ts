import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBus } from 'mailvan';
import { verifyFolder } from '../src/storage/verify.ts';
import { bundle, chance, given } from './kill/process.ts';
import { silent } from './quiet.ts';

// What a process that was killed has left, damaged: its log cut at random offsets (1,000), which must always open, to an exact
// prefix of what was published; one bit of it flipped (300 places), which must be reported each time, by the log, by status()
// and by `store verify`. `--brief`: 40 and 15. `--cuts=`, `--flips=`, `--seed=`.

const brief = process.argv.includes('--brief');
const cuts = given('cuts', brief ? 40 : 1_000);
const flips = given('flips', brief ? 15 : 300);
const seed = given('seed', Math.floor(Math.random() * 1e9));
const messages = 400;
const folder = mkdtempSync(join(tmpdir(), 'mailvan-damage-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

interface Content {
  readonly numbers: number[];
  readonly gaps: number;
  readonly errors: string[];
}

/** Opens a data folder and reads everything that waits in it, without taking it. */
async function contentOf(dataDir: string): Promise<Content> {
  const errors: string[] = [];
  const note = (...told: unknown[]): void => void errors.push(told.map(String).join(' '));
  const logger: typeof silent = { ...silent, error: note, fatal: note, child: () => logger };
  const bus = await createBus({ dataDir, logger });
  try {
    const numbers: number[] = [];
    const known = (await bus.mailboxes.list()).some(({ name }) => name === 'default/numbers');
    if (known) {
      for (let from: string | undefined; ; ) {
        const page = await bus.mailboxes.peek('numbers', { limit: 1000, ...(from === undefined ? {} : { from }) });
        numbers.push(
          ...page.filter(({ position }) => position !== from).map(({ payload }) => (payload as { n: number }).n),
        );
        const last = page.at(-1)?.position;
        if (last === undefined || last === from) break;
        from = last;
      }
    }
    return { numbers, gaps: (await bus.status()).store?.gaps ?? 0, errors };
  } finally {
    await bus.close();
  }
}

/** The newest log of a data folder: what was not yet in a table. */
function logOf(dataDir: string): string {
  const logs = readdirSync(join(dataDir, 'store')).filter((name) => name.endsWith('.log'));
  logs.sort((a, b) => statSync(join(dataDir, 'store', b)).size - statSync(join(dataDir, 'store', a)).size);
  return join(dataDir, 'store', logs[0] ?? 'none');
}

async function run(): Promise<string[]> {
  const problems: string[] = [];
  const random = chance(seed);
  const good = join(folder, 'good');
  const script = await bundle(new URL('./damage/good.ts', import.meta.url));
  const made = spawnSync(process.execPath, [script, good, String(messages)], { encoding: 'utf8' });
  if (made.signal !== 'SIGKILL') return [`the folder was not made: ${made.stderr}`];
  const log = logOf(good).slice(good.length + 1);
  const { length } = readFileSync(join(good, log));
  const copy = async <T>(spoil: (path: string) => void, look: (dataDir: string) => Promise<T>): Promise<T> => {
    const dataDir = join(folder, 'copy');
    cpSync(good, dataDir, { recursive: true });
    spoil(join(dataDir, log));
    const found = await look(dataDir);
    rmSync(dataDir, { recursive: true });
    return found;
  };

  let exact = 0;
  const kept: number[] = [];
  for (let i = 0; i < cuts; i++) {
    const at = Math.floor(random() * length);
    try {
      const { numbers, gaps } = await copy((path) => truncateSync(path, at), contentOf);
      kept.push(numbers.length);
      if (numbers.every((n, place) => n === place) && gaps === 0) exact++;
      else problems.push(`cut at ${at} of ${length}: no exact prefix, ${numbers.length} messages, ${gaps} gaps`);
    } catch (error) {
      problems.push(`cut at ${at} of ${length}: ${String(error)}`);
    }
  }

  let reported = 0;
  for (let i = 0; i < flips; i++) {
    const bit = Math.floor(random() * length * 8);
    const flip = (path: string): void => {
      const bytes = readFileSync(path);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      writeFileSync(path, bytes);
    };
    try {
      const { whole } = await copy(flip, (dataDir) => verifyFolder(join(dataDir, 'store')));
      const { gaps, errors, numbers } = await copy(flip, contentOf);
      const ordered = numbers.every((n, place) => place === 0 || n > (numbers[place - 1] as number));
      if (!whole && gaps > 0 && errors.length > 0 && ordered) reported++;
      else {
        problems.push(
          `bit ${bit} of ${length * 8}: verify says ${whole ? 'whole' : 'damaged'}, ${gaps} gaps in status(), ` +
            `${errors.length} lines logged, ${numbers.length} messages, ${ordered ? 'in order' : 'out of order'}`,
        );
      }
    } catch (error) {
      problems.push(`bit ${bit}: ${String(error)}`);
    }
  }
  console.log(
    `damage, seed ${seed}: a log of ${length} bytes with ${messages} messages; ${cuts} cuts: ${exact} opened to an exact prefix ` +
      `(${Math.min(...kept)} to ${Math.max(...kept)} messages); ${flips} flipped bits: ${reported} reported by verify, status() and the log ` +
      `— ${problems.length === 0 ? 'PASS' : 'FAIL'}`,
  );
  return problems;
}

const problems = await run().catch((error: unknown) => [`FAIL: ${(error as Error).stack}`]);
for (const problem of problems.slice(0, 20)) console.log(`damage: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
