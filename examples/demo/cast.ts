// The processes of the demo: starts them, listens to them, and sees to it that none is left behind.
import { type ChildProcess, fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Report } from './report.ts';

/** All processes that the demo has started. */
export class Cast {
  readonly #children = new Set<ChildProcess>();
  /** Those that the demo itself ends: their exit is no failure. */
  readonly #ending = new Set<ChildProcess>();
  #failure: Error | undefined;
  readonly #signal: AbortSignal;
  readonly #hear: (who: string, report: Report) => void;
  readonly #reports = new EventEmitter();

  constructor(signal: AbortSignal, hear: (who: string, report: Report) => void) {
    this.#signal = signal;
    this.#hear = hear;
    // Whatever ends the demo: no child outlives it.
    process.on('exit', () => this.#killAll());
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => process.exit(1));
  }

  /** Starts a script of this folder. Resolves when it says that it is ready. */
  async start(who: string, script: string, ...args: string[]): Promise<{ child: ChildProcess; address: string }> {
    const child = fork(fileURLToPath(new URL(script, import.meta.url)), args);
    this.#children.add(child);
    child.once('exit', (code) => {
      this.#children.delete(child);
      if (!this.#ending.has(child)) this.#fail(new Error(`${who} ended by itself, with code ${code}`));
    });
    let address: string | undefined;
    child.on('message', (report: Report) => {
      if (report.type === 'ready') address = report.address ?? '';
      this.#hear(who, report);
      this.#reports.emit('report');
    });
    await this.until(`${who} is ready`, () => address !== undefined);
    return { child, address: address ?? '' };
  }

  /** Kills a process as a power cut would. Resolves when it is gone. */
  async kill(child: ChildProcess): Promise<void> {
    this.#ending.add(child);
    const exited = once(child, 'exit', { signal: this.#signal });
    child.kill('SIGKILL');
    await exited;
  }

  /** Resolves when something holds; looks again whenever a report comes in. */
  async until(what: string, holds: () => boolean): Promise<void> {
    while (!holds()) {
      if (this.#failure !== undefined) throw this.#failure;
      try {
        await once(this.#reports, 'report', { signal: this.#signal });
      } catch {
        throw new Error(`gave up waiting until ${what}`);
      }
    }
  }

  /** Ends every process in order, the last to be started first. */
  async end(): Promise<void> {
    for (const child of [...this.#children].reverse()) {
      const exited = once(child, 'exit', { signal: this.#signal });
      this.#ending.add(child);
      child.disconnect();
      await exited;
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#reports.emit('report');
  }

  #killAll(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }
}
