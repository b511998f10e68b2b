import { type Context, NotBegun } from '../actors/delivery.ts';
import { type Deferred, deferred } from '../core/async.ts';
import { BusError } from '../core/errors.ts';
import { maxExtension } from '../core/extension.ts';

/** How many messages are remembered of those that ran in a process when it ended. */
const most = 10_000;

/** The messages that ran in a process when it ended: one of them may have ended it. */
export class Suspects {
  readonly #keys = new Set<string>();

  add(key: string): void {
    this.#keys.delete(key);
    this.#keys.add(key);
    for (const oldest of this.#keys) {
      if (this.#keys.size <= most) break;
      this.#keys.delete(oldest);
    }
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** It has come to an end, and no process with it. */
  clear(key: string): void {
    this.#keys.delete(key);
  }
}

interface Waiting {
  readonly key: string;
  readonly suspect: boolean;
  readonly turn: Deferred<void>;
}

/**
 * What may run in a process beside what. A suspect runs alone, so that one that kills takes no others with it; and nothing
 * begins while an attempt does not end although its time is up. What waits here has its attempt's time ahead of it.
 */
export class Gate {
  readonly #suspects: Suspects;
  readonly #timeout: number;
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<string>();
  #alone = false;
  #late = 0;
  #ended: NotBegun | undefined;

  /** @param timeout how long an attempt may take, in milliseconds. */
  constructor(suspects: Suspects, timeout: number) {
    this.#suspects = suspects;
    this.#timeout = timeout;
  }

  /** Waits for its turn. @throws {NotBegun} when the process has ended; {BusError} `ABORTED` when the attempt is over. */
  async enter(key: string, context: Context): Promise<void> {
    if (this.#ended !== undefined) throw this.#ended;
    const suspect = this.#suspects.has(key);
    if (this.#waiting.length === 0 && this.#free(suspect)) {
      this.#begin(key, suspect);
      return;
    }
    const waiting = { key, suspect, turn: deferred<void>() };
    const over = (): void => {
      const at = this.#waiting.indexOf(waiting);
      if (at === -1) return;
      this.#waiting.splice(at, 1);
      waiting.turn.reject(new BusError('ABORTED', 'the attempt was over before it began'));
      this.#next();
    };
    context.extend(maxExtension);
    context.signal.addEventListener('abort', over, { once: true });
    this.#waiting.push(waiting);
    try {
      await waiting.turn.promise;
    } finally {
      context.signal.removeEventListener('abort', over);
    }
    context.extend(this.#timeout);
  }

  /** What has entered is over. */
  leave(key: string): void {
    this.#running.delete(key);
    if (this.#running.size === 0) this.#alone = false;
    this.#next();
  }

  /** An attempt whose time is up runs on. @returns what is to be called when it has ended. */
  late(): () => void {
    this.#late++;
    return () => {
      this.#late--;
      this.#next();
    };
  }

  /** The process has ended: what waits has not begun. @param guilty whether what runs may have ended it. */
  end(why: string, guilty: boolean): void {
    this.#ended = new NotBegun('ABORTED', why);
    if (guilty) for (const key of this.#running) this.#suspects.add(key);
    for (const { turn } of this.#waiting.splice(0)) turn.reject(this.#ended);
  }

  #free(suspect: boolean): boolean {
    return this.#late === 0 && !this.#alone && (!suspect || this.#running.size === 0);
  }

  #begin(key: string, suspect: boolean): void {
    this.#running.add(key);
    this.#alone = suspect;
  }

  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined && this.#free(first.suspect); first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#begin(first.key, first.suspect);
      first.turn.resolve();
    }
  }
}
