import { type ChildProcess, fork } from 'node:child_process';

/** What a parent asks of its worker, and what it answers. */
interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** How long a worker may take to answer, in milliseconds: no benchmark hangs. */
const longestAnswer = 60_000;

/**
 * A process of its own, so that no contestant runs on another one's heap or on code that was optimised for another one.
 * Between two questions it is idle, apart from the timers that its library keeps.
 */
export class Worker {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #last = 0;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    child.on('message', (reply) => this.#answered(reply as Reply)); // serve() sends nothing else
    child.on('error', (error) => this.#failed(error));
    child.on('exit', (code, signal) => this.#failed(new Error(`${name} has ended with ${signal ?? `code ${code}`}`)));
  }

  /**
   * @param file the module to run, which calls {@link serve}.
   * @param flags further ones for Node.
   * @param under a program that runs Node, and its arguments.
   */
  static start(
    file: URL,
    args: readonly string[],
    flags: readonly string[] = [],
    under: readonly string[] = [],
  ): Worker {
    const [execPath = process.execPath, ...execArgv] = [...under, process.execPath, ...process.execArgv, ...flags];
    const child = fork(file, [...args], {
      execPath,
      execArgv,
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    return new Worker(args.join(' '), child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @throws what the worker's method throws; when it ends, or takes over a minute. */
  ask(method: string, params?: unknown): Promise<unknown> {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#failed(new Error(`${this.#name} does not answer '${method}'`)),
        longestAnswer,
      );
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      this.#waiting.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#child.send({ id, method, params } satisfies Request, (error) => {
        if (error !== null) this.#waiting.get(id)?.reject(error);
      });
    });
  }

  /** Lets it close in order for a second, then ends it. */
  async stop(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
    });
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 1_000);
    await ended;
    clearTimeout(timer);
  }

  /** Ends it at once and without a farewell, as a crash would. */
  async kill(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
    });
    this.#child.kill('SIGKILL');
    await ended;
  }

  #answered({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${this.#name}: ${error}`));
  }

  #failed(error: Error): void {
    for (const waiting of [...this.#waiting.values()]) waiting.reject(error);
  }
}

/** The worker's side: answers with what the method of the asked name returns, and closes when its parent lets go or dies. */
export function serve(
  methods: Readonly<Record<string, (params: never) => unknown>>,
  close: () => Promise<unknown>,
): void {
  process.on('message', async (message) => {
    const { id, method, params } = message as Request; // ask() sends nothing else
    let reply: Reply;
    try {
      const found = methods[method];
      if (found === undefined) throw new Error(`there is no method '${method}'`);
      reply = { id, result: await found(params as never) };
    } catch (error) {
      reply = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    if (process.connected) process.send?.(reply);
  });
  process.on('disconnect', () => {
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
}
