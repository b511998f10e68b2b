import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { exitCodes, Failure, misuse } from './failure.ts';

/** A process, by its number and by when it was started: numbers are given again. */
export interface ProcessMark {
  readonly pid: number;
  /** Left out where the system does not tell. */
  readonly started?: string;
}

/** How often a file of a process that has ended is taken away before somebody else is believed to be faster. */
const tries = 10;

/**
 * Claims a pid file for this process: the first line is its number, the second one says when it was started. It is there as a
 * whole or not at all, and goes when the process ends; that of a process that has not been able to do so is replaced.
 *
 * @throws {Failure} when the process that it names still runs.
 */
export function claimPidFile(path: string): void {
  const own = text(markOf(process.pid));
  const draft = `${path}.${process.pid}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(draft, own);
    for (let i = 0; !linked(draft, path); i++) {
      const found = readPidFile(path);
      if (found !== undefined && (isRunning(found) || i >= tries)) throw taken(path, found);
      if (found !== undefined) takeAway(path, text(found));
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw misuse(`the pid file ${path} cannot be written: ${(error as Error).message}`, 'choose another --pid-file');
  } finally {
    rmSync(draft, { force: true });
  }
  process.once('exit', () => {
    if (contentOf(path) === own) rmSync(path, { force: true });
  });
}

/** Refuses a pid file whose process still runs. @throws {Failure} */
export function checkPidFile(path: string): void {
  const found = readPidFile(path);
  if (found !== undefined && isRunning(found)) throw taken(path, found);
}

/** What stands in a pid file; undefined when there is none. @throws {Failure} when it is no pid file. */
export function readPidFile(path: string): ProcessMark | undefined {
  const content = contentOf(path);
  if (content === undefined) return undefined;
  const [, pid, started] = /^(\d{1,10})\n(?:(.+)\n)?$/.exec(content) ?? [];
  if (pid === undefined || Number(pid) === 0) {
    throw misuse(`${path} is not a pid file of mailvan`, 'name another --pid-file, or remove this one');
  }
  return { pid: Number(pid), ...(started === undefined ? {} : { started }) };
}

/** Whether that very process still runs. */
export function isRunning({ pid, started }: ProcessMark): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false; // else it runs, and is another user's
  }
  const now = markOf(pid).started;
  if (now === ended) return false;
  return started === undefined || now === undefined || started === now;
}

/** Takes away what a process has left behind, unless another one has put its own there meanwhile. */
export function takeAway(path: string, content: string): void {
  const aside = `${path}.${process.pid}.old`;
  try {
    renameSync(path, aside);
  } catch {
    return; // somebody was faster
  }
  if (contentOf(aside) !== content) linked(aside, path);
  rmSync(aside, { force: true });
}

/** The file of a process, as it was written. */
export function text({ pid, started }: ProcessMark): string {
  return started === undefined ? `${pid}\n` : `${pid}\n${started}\n`;
}

const ended = 'ended';

/** When a process was started, in words of the system. Linux counts from the start of the machine, which has an id. */
function markOf(pid: number): ProcessMark {
  const stat = contentOf(`/proc/${pid}/stat`);
  const machine = contentOf('/proc/sys/kernel/random/boot_id')?.trim();
  if (stat !== undefined && machine !== undefined) {
    // The name of the program may hold anything, a closing parenthesis too: what follows the last one are numbers.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state, ticks] = [fields[0], fields[19]];
    if (state === 'Z' || state === 'X') return { pid, started: ended };
    return { pid, started: `${machine} ${ticks}` };
  }
  try {
    const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    const line = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', env, stdio }).trim();
    return line === '' ? { pid } : { pid, started: line };
  } catch {
    return { pid };
  }
}

function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw misuse(`${path} cannot be read: ${(error as Error).message}`);
  }
}

function taken(path: string, { pid }: ProcessMark): Failure {
  return new Failure({
    code: 'RUNNING',
    message: `process ${pid} runs already, as ${path} says`,
    exitCode: exitCodes.failed,
    hint: "'mailvan stop' ends it; another one needs another --pid-file",
    details: { pid, pidFile: path },
  });
}
