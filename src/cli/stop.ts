import { defineCommand } from 'citty';
import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { readDuration } from './arguments.ts';
import { placesOf } from './detaching.ts';
import { exitCodes, Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { isRunning, type ProcessMark, readPidFile, takeAway, text } from './pid-file.ts';

/** How long it may take, in milliseconds: `run` gives each of its three steps 30 s. */
const patience = 100_000;
/** How long a process that was killed may take to be gone, in milliseconds. */
const killTime = 5000;
/** How often is looked whether it has ended, in milliseconds. */
const glance = 50;

/** `mailvan stop` */
export const stop = defineCommand({
  meta: { name: 'stop', description: 'End what `run --detach` has started, in order, and wait until it has ended' },
  args: {
    'pid-file': {
      type: 'string',
      valueHint: 'file',
      description: 'Its pid file (else mailvan.pid in --data, or here)',
    },
    data: { type: 'string', valueHint: 'folder', description: 'Its dataDir' },
    timeout: { type: 'string', valueHint: 'time', description: 'How long to wait: 500ms, 10s, 2m (else 100s)' },
    force: {
      type: 'boolean',
      description: 'Kill it when its time is up: what it has in hand is delivered again later',
    },
    json: { type: 'boolean', description: 'Print JSON; errors too, on stderr' },
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const timeout = args.timeout === undefined ? patience : readDuration('--timeout', args.timeout);
    const { pidFile } = placesOf(args);
    const found = readPidFile(pidFile);
    if (found === undefined || !isRunning(found)) {
      if (found !== undefined) takeAway(pidFile, text(found));
      throw notRunning(pidFile, found);
    }
    const { pid } = found;
    signal(pid, 'SIGTERM');
    let killed = false;
    if (!(await ends(found, timeout))) {
      if (args.force !== true) throw tooLate(pid, timeout);
      signal(pid, 'SIGKILL');
      killed = true;
      if (!(await ends(found, killTime))) throw tooLate(pid, timeout + killTime);
      takeAway(pidFile, text(found));
    }
    const how = killed ? `was killed after ${timeout / 1000} s` : 'has ended';
    await terminal.line(
      terminal.json ? JSON.stringify({ stopped: { pid, killed, pidFile } }) : `process ${pid} ${how}`,
    );
  },
});

/** @returns whether it ended in time. */
async function ends(mark: ProcessMark, timeout: number): Promise<boolean> {
  const end = systemClock.monotonic() + timeout;
  while (isRunning(mark)) {
    const left = end - systemClock.monotonic();
    if (left <= 0) return false;
    const next = deferred<void>();
    systemClock.timer(Math.min(glance, left), next.resolve);
    await next.promise;
  }
  return true;
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ESRCH') return; // it has ended in between
    const hint = 'be the user that has started it';
    throw new Failure({ code: 'DENIED', message: `process ${pid}: ${message}`, exitCode: exitCodes.failed, hint });
  }
}

function notRunning(pidFile: string, found: ProcessMark | undefined): Failure {
  return new Failure({
    code: 'NOT_FOUND',
    message:
      found === undefined ? `there is no pid file ${pidFile}` : `process ${found.pid} of ${pidFile} runs no more`,
    exitCode: exitCodes.failed,
    hint: 'nothing has to be stopped, or name it by --pid-file or --data',
  });
}

function tooLate(pid: number, timeout: number): Failure {
  return new Failure({
    code: 'TIMEOUT',
    message: `process ${pid} did not end within ${timeout / 1000} s, and still runs`,
    exitCode: exitCodes.timeout,
    hint: 'give it longer by --timeout, or kill it by --force',
    details: { pid },
  });
}
