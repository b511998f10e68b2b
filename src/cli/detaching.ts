import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { ArgsDef } from 'citty';
import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { within } from '../core/within.ts';
import { readDuration } from './arguments.ts';
import { exitCodes, Failure, type FailureFacts, misuse } from './failure.ts';
import { logTo } from './log-file.ts';
import { checkPidFile, claimPidFile } from './pid-file.ts';
import { listenForStop } from './signals.ts';
import type { Terminal } from './terminal.ts';

/** Where a process in the background is found again, and where what it says goes. */
export interface Places {
  readonly pidFile: string;
  readonly logFile: string;
}

/** The places that were given; else in the node's folder, or where it was started. */
export function placesOf(args: {
  readonly data?: string | undefined;
  readonly 'pid-file'?: string | undefined;
  readonly 'log-file'?: string | undefined;
}): Places {
  const folder = args.data ?? '.';
  return {
    pidFile: resolve(args['pid-file'] ?? join(folder, 'mailvan.pid')),
    logFile: resolve(args['log-file'] ?? join(folder, 'mailvan.log')),
  };
}

/** What a process in the background tells the one that started it: once, as soon as it runs or cannot. */
type Report = { readonly running: Record<string, unknown> } | { readonly failed: FailureFacts };

/** Says to a process that another one has started it to run in the background, and waits for its report. */
const variable = 'MAILVAN_DETACHED';

/** How long the start may take, in milliseconds, and how much longer than what `--timeout` allows for joining. */
const startTime = 60_000;
const grace = 10_000;
/** How long one that does not come to run may take to end, in milliseconds. */
const endTime = 5000;
/** How much of a log is shown, in bytes. */
const shown = 4000;

/** What `run` takes to go on in the background. */
export const detachingArguments = {
  detach: { type: 'boolean', description: "Return when it runs, and leave it running: 'mailvan stop' ends it" },
  'pid-file': {
    type: 'string',
    valueHint: 'file',
    description: 'Where its process number goes (else with --detach: mailvan.pid in --data, or here)',
  },
  'log-file': {
    type: 'string',
    valueHint: 'file',
    description: 'With --detach: where what it prints goes, opened anew on SIGHUP (else mailvan.log there)',
  },
} as const satisfies ArgsDef;

/** The options of {@link detachingArguments}, and what they depend on, as they were given. */
interface DetachingOptions {
  readonly detach?: boolean | undefined;
  readonly data?: string | undefined;
  readonly 'pid-file'?: string | undefined;
  readonly 'log-file'?: string | undefined;
  readonly timeout?: string | undefined;
}

/**
 * Has `run` go on in the background, if that is asked for; takes the pid file and the log file where it is to go on here.
 *
 * @param args what `run` was given, to be repeated.
 * @returns whether it runs in the background now, so that nothing is left to do here.
 */
export async function isElsewhere(
  options: DetachingOptions,
  args: readonly string[],
  terminal: Terminal,
): Promise<boolean> {
  const { detach: detaches, timeout, 'pid-file': pidFile, 'log-file': logFile } = options;
  if (detaches !== true) {
    if (logFile !== undefined)
      throw misuse('--log-file goes with --detach', 'without it, redirect what it prints: 2> mailvan.log');
    if (pidFile !== undefined) claimPidFile(resolve(pidFile));
    return false;
  }
  const places = placesOf(options);
  if (isDetached) {
    logTo(places.logFile);
    claimPidFile(places.pidFile);
    return false;
  }
  const patience = timeout === undefined ? undefined : readDuration('--timeout', timeout);
  const { pid, running } = await detach(['run', ...args], places, patience);
  const text = `${String(running.node)} runs as process ${pid}; what it says goes to ${places.logFile}`;
  const more = `  → mailvan stop --pid-file ${places.pidFile}`;
  await terminal.line(
    terminal.json ? JSON.stringify({ detached: { ...running, pid, ...places } }) : `${text}\n${more}`,
  );
  return true;
}

/** Tells the process that has started this one in the background, if one has, that it runs. */
export function reportRunning(running: Record<string, unknown>): void {
  void report({ running });
}

/** Tells it that this process ends, and why; nothing when it knows already that it ran. */
export async function reportFailed({ code, message, exitCode, hint, details, trace }: Failure): Promise<void> {
  await report({ failed: { code, message, exitCode, hint, details, trace } });
}

const isDetached = process.env[variable] !== undefined && process.send !== undefined;
delete process.env[variable]; // what the module starts is not meant

async function report(said: Report): Promise<void> {
  if (!isDetached || !process.connected) return;
  const sent = deferred<void>();
  process.send?.(said, undefined, undefined, () => sent.resolve());
  await sent.promise;
  if (process.connected) process.disconnect();
}

/**
 * Starts the same command in the background, in a session of its own, and waits until it says that it runs.
 *
 * @param timeout how long joining may take, in milliseconds.
 * @throws {Failure} what the new process failed with; when it does not run in time, it is ended.
 */
async function detach(
  args: readonly string[],
  places: Places,
  timeout: number | undefined,
): Promise<{ pid: number; running: Record<string, unknown> }> {
  if (process.platform === 'win32') throw misuse('--detach is not available on Windows', 'run it as a service');
  checkPidFile(places.pidFile);
  const log = openLog(places.logFile);
  const before = statSync(places.logFile).size;
  const stop = listenForStop();
  const [, script = ''] = process.argv;
  const child = spawn(process.execPath, [...process.execArgv, script, ...args], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    env: { ...process.env, [variable]: '1' },
  });
  closeSync(log);
  const late = deferred<'late'>();
  const patience = timeout === undefined ? startTime : timeout + grace;
  const timer = systemClock.timer(patience, () => late.resolve('late'));
  try {
    const reported = once(child, 'message').then(([message]) => message as Report);
    // Not 'exit', which may come before the report has been read.
    const exited = once(child, 'close').then(([code]) => ({ code: code as number | null }));
    const outcome = await Promise.race([reported, exited, stop.asked, late.promise]);
    if (typeof outcome === 'string') {
      child.kill('SIGTERM');
      if (!(await within(systemClock, endTime, exited))) child.kill('SIGKILL');
      throw outcome === 'late' ? tooLate(patience, places) : interrupted(outcome);
    }
    if ('running' in outcome) return { pid: child.pid as number, running: outcome.running }; // it has been started
    if ('failed' in outcome) {
      await within(systemClock, endTime, exited); // its pid file goes with it
      throw new Failure(outcome.failed);
    }
    throw endedEarly(outcome.code, places.logFile, before);
  } finally {
    timer.cancel();
    stop.end();
    if (child.connected) child.disconnect();
    child.unref();
  }
}

function openLog(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, 'a');
  } catch (error) {
    throw misuse(`the log file ${path} cannot be written: ${(error as Error).message}`, 'choose another --log-file');
  }
}

function tooLate(patience: number, { logFile }: Places): Failure {
  return new Failure({
    code: 'TIMEOUT',
    message: `it did not run within ${patience / 1000} s, and was ended`,
    exitCode: exitCodes.timeout,
    hint: `see what it did in ${logFile}, or give it longer by --timeout`,
  });
}

function interrupted(signal: string): Failure {
  return new Failure({ code: 'FAILED', message: `${signal}: it was ended before it ran`, exitCode: exitCodes.failed });
}

function endedEarly(code: number | null, logFile: string, before: number): Failure {
  const said = readFileSync(logFile).subarray(before).subarray(-shown).toString().trim();
  return new Failure({
    code: 'FAILED',
    message: `it ended before it ran, with ${code === null ? 'a signal' : `exit code ${code}`}${said === '' ? '' : `; it said:\n${said}`}`,
    exitCode: exitCodes.failed,
    hint: `more stands in ${logFile}`,
  });
}
