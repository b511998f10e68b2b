import { type Deferred, deferred } from '../../core/async.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError, type ErrorCode } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';

/** Trying again would bring nothing else. */
const finals: readonly ErrorCode[] = ['HANDSHAKE_REFUSED', 'PROTOCOL_ERROR', 'OPTION_INVALID', 'DENIED'];

/** A node's first way into its cluster: what stands in it, and how long it may take. */
export class Joining {
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Whether it may start from the registry that it knew last, without the leader. */
  readonly #remembers: boolean;
  #joined: Deferred<void> | undefined;
  #problem: BusError | undefined;

  constructor(clock: Clock, log: Logger, remembers: boolean) {
    this.#clock = clock;
    this.#log = log;
    this.#remembers = remembers;
  }

  begin(): void {
    this.#joined = deferred();
    this.#joined.promise.catch(() => {}); // wait() throws it; without one, close() has come first
  }

  /**
   * Resolves when this node holds the registry, or needs to wait for nobody.
   *
   * @param timeout in milliseconds.
   * @throws {BusError} `NO_LEADER`, `NAME_TAKEN`, `HANDSHAKE_REFUSED`, `DENIED`.
   */
  async wait(timeout: number): Promise<void> {
    const joined = this.#joined;
    if (joined === undefined) return;
    const timer = this.#clock.timer(timeout, () => {
      const problem = this.#problem;
      const why = problem === undefined ? '' : `: ${problem.message}`;
      const code = problem?.code === 'NAME_TAKEN' ? 'NAME_TAKEN' : 'NO_LEADER';
      joined.reject(
        new BusError(code, `the leader could not be joined within ${timeout} ms${why}`, { cause: problem }),
      );
    });
    try {
      await joined.promise;
    } finally {
      timer.cancel();
      this.#joined = undefined;
    }
  }

  done(): void {
    this.#joined?.resolve();
  }

  abandon(reason: BusError): void {
    this.#joined?.reject(reason);
  }

  /** An attempt to reach the leader has failed. */
  failed(reason: BusError): void {
    this.#problem = reason;
    const { code } = reason;
    const store = code.startsWith('STORE_') && code !== 'STORE_LOCKED'; // of a shared folder that this process would serve
    const final = store || finals.includes(code);
    if (this.#joined !== undefined && final) this.#joined.reject(reason);
    else if (this.#joined !== undefined && this.#remembers && reason.code === 'NODE_UNREACHABLE')
      this.#joined.resolve();
    else if (final || reason.code === 'NAME_TAKEN')
      this.#log.warn({ err: reason }, 'the leader refuses this node; trying again');
    else this.#log.debug({ err: reason }, 'the leader cannot be reached; trying again');
  }
}
