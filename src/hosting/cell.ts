import { type ChildProcess, fork } from 'node:child_process';
import { type Context, NotBegun } from '../actors/delivery.ts';
import { type Deferred, deferred } from '../core/async.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import { ProcessEnded } from './ended.ts';
import type { Gate } from './gate.ts';
import type { ActorContext } from './kinds.ts';
import { forking, forwardLines, residentSize } from './os.ts';
import { type Abilities, type About, carry, type FromProcess, relog, type ToProcess, unpack } from './pipe.ts';

/** How a process is to run. */
export interface CellOptions {
  /** The module's URL. */
  readonly module: string;
  /** The limit of its heap, in MiB. */
  readonly memory: number;
  /** How long it may take until its actor is made, in milliseconds. */
  readonly start: number;
}

/** How long an attempt may take to end after its time is up, in milliseconds. */
const grace = 200;
/** How long a process may take to exit when it is told to, in milliseconds. */
const exitTime = 1000;
/** How often its size is looked at, in milliseconds. */
const glance = 250;
/** How much larger than the limit of its heap it may be, in MiB: Node itself, and buffers. */
const beside = 64;

/** Something that the process has been asked for. */
interface Call {
  readonly answer: Deferred<unknown>;
  /** Of a message. */
  readonly context?: Context;
  /** Runs after `term()`: nobody else keeps the time of what is settled. */
  timer?: Timer;
}

/** The process that an instance runs in, as its node sees it. */
export class Cell {
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  readonly #options: CellOptions;
  readonly #clock: Clock;
  readonly #context: ActorContext;
  readonly #gate: Gate;
  readonly #child: ChildProcess;
  readonly #ready = deferred<Abilities>();
  readonly #end = deferred<void>();
  readonly #calls = new Map<number, Call>();
  #count = 0;
  #why: string | undefined;
  #uncaught: string | undefined;
  /** There is an actor. */
  #made = false;
  /** It ends, as it was told to. */
  #leaving = false;
  /** It has ended. */
  #error: ProcessEnded | undefined;
  #watch: Timer | undefined;
  /** How it ended, while what it said last may not have been read. */
  #last: { code: number | null; signal: string | null } | undefined;

  constructor(options: CellOptions, clock: Clock, context: ActorContext, gate: Gate) {
    this.#options = options;
    this.#clock = clock;
    this.#context = context;
    this.#gate = gate;
    this.ended = this.#end.promise;
    this.#ready.promise.catch(() => undefined);
    const { script, execArgv } = forking(options.memory);
    const child = fork(script, [], { execArgv, serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#child = child;
    child.on('message', (said) => this.#hear(said as FromProcess));
    child.on('error', (error) => {
      if (child.pid === undefined) this.#over(`its process did not start: ${error.message}`);
    });
    child.on('exit', (code, signal) => this.#exited(code, signal));
    child.on('disconnect', () => this.#disconnected());
    forwardLines(child.stdout, (line) => context.log.debug({ stream: 'stdout' }, line));
    forwardLines(child.stderr, (line) => context.log.warn({ stream: 'stderr' }, line));
    // What it is asked has a deadline, which keeps this process alive; an idle one does not.
    child.unref();
    child.channel?.unref();
    this.#look();
  }

  /** Has it make its actor. @throws {BusError} `TIMEOUT`; what the module throws; {ProcessEnded}. */
  async start(): Promise<Abilities> {
    const { module, start } = this.#options;
    const { node, kind, placement, instance, generation, args } = this.#context;
    const about: About = { node, kind, placement, instance, generation, args };
    this.#say({ t: 'start', module, about });
    const timer = this.#clock.timer(start, () => {
      this.#ready.reject(new BusError('TIMEOUT', `its process was not ready within ${start} ms`));
      this.kill(`it was not ready within ${start} ms`);
    });
    try {
      return await this.#ready.promise;
    } finally {
      timer.cancel();
    }
  }

  /** Calls a method that is not about a message. */
  call(what: 'onStart' | 'onStop'): Promise<unknown> {
    return this.#ask({ t: 'life', call: ++this.#count, what });
  }

  tell(value: unknown): Promise<unknown> {
    return this.#ask({ t: 'tell', call: ++this.#count, value });
  }

  /** Handles a message there. Rejects with what the handler throws, or with why the process ended. */
  async handle(message: Message, context: Context): Promise<unknown> {
    if (this.#error !== undefined || this.#leaving) throw new NotBegun('ABORTED', 'its process has ended');
    const { id, topic, payload, headers, key, publishedAt, source, size } = message;
    const { attempt, subscription, signal } = context;
    const call = ++this.#count;
    const carried = { id, topic, payload, headers, key, publishedAt, source, size };
    let over: (() => void) | undefined;
    let timer: Timer | undefined;
    const abort = (): void => {
      this.#say({ t: 'abort', call, reason: carry(signal.reason) });
      over = this.#gate.late();
      timer = this.#clock.timer(grace, () => this.kill(`it did not answer within ${grace} ms`));
    };
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await this.#ask({ t: 'message', call, message: carried, attempt, subscription }, context);
    } finally {
      signal.removeEventListener('abort', abort);
      timer?.cancel();
      over?.();
    }
  }

  /** Has it end by itself, and resolves when it has. */
  exit(): Promise<void> {
    if (this.#error === undefined && !this.#leaving) {
      this.#leaving = true;
      this.#say({ t: 'exit' });
      const timer = this.#clock.timer(exitTime, () => this.kill(`it did not exit within ${exitTime} ms`));
      void this.ended.then(() => timer.cancel());
    }
    return this.ended;
  }

  /** Ends it at once. */
  kill(why: string): void {
    this.#why ??= why;
    if (this.#error !== undefined) return;
    this.#child.ref(); // until that is done
    this.#child.kill('SIGKILL');
  }

  #ask(said: ToProcess & { call: number }, context?: Context): Promise<unknown> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const answer = deferred<unknown>();
    this.#calls.set(said.call, { answer, ...(context && { context }) });
    try {
      this.#say(said);
    } catch (error) {
      this.#calls.delete(said.call); // it cannot be copied
      answer.reject(error);
    }
    return answer.promise;
  }

  #say(said: ToProcess): void {
    if (this.#child.connected) this.#child.send(said, () => undefined); // its end is heard of by itself
  }

  #hear(said: FromProcess): void {
    try {
      this.#heed(said);
    } catch (err) {
      this.#context.log.warn({ err: toError(err) }, 'what its process said could not be used');
    }
  }

  #heed(said: FromProcess): void {
    switch (said.t) {
      case 'ready':
        this.#made = true;
        this.#ready.resolve(said.abilities);
        return;
      case 'refused':
        this.#ready.reject(unpack(said.failure));
        return;
      case 'done': {
        const call = this.#calls.get(said.call);
        this.#calls.delete(said.call);
        call?.timer?.cancel();
        if (said.failure === undefined) call?.answer.resolve(undefined);
        else call?.answer.reject(unpack(said.failure));
        return;
      }
      case 'publish':
        void this.#publish(said);
        return;
      case 'extend':
        this.#calls.get(said.call)?.context?.extend(said.ms);
        return;
      case 'term': {
        const call = this.#calls.get(said.call);
        if (call?.context === undefined) return;
        const { timeout } = this.#context;
        call.timer ??= this.#clock.timer(timeout, () => this.kill(`it did not answer within ${timeout} ms of term()`));
        call.context.term(said.reason);
        return;
      }
      case 'fail':
        this.#context.fail(unpack(said.failure));
        return;
      case 'uncaught':
        this.#uncaught = `${said.failure.name}: ${said.failure.message}`;
        return;
      case 'log': {
        const call = said.call === undefined ? undefined : this.#calls.get(said.call)?.context;
        relog(call?.log ?? this.#context.log, said);
        return;
      }
      default: // the module has a conversation of its own, with nobody
    }
  }

  async #publish({ request, call, topic, payload, options }: FromProcess & { t: 'publish' }): Promise<void> {
    let answer: ToProcess;
    try {
      answer = { t: 'answer', request, value: await this.#published(call, topic, payload, options) };
    } catch (error) {
      answer = { t: 'answer', request, failure: carry(error) };
    }
    this.#say(answer);
  }

  #published(call: number | undefined, ...[topic, payload, options]: Parameters<ActorContext['publish']>) {
    if (call === undefined) return this.#context.publish(topic, payload, options);
    const context = this.#calls.get(call)?.context;
    if (context !== undefined) return context.publish(topic, payload, options);
    throw new BusError('CLOSED', 'this delivery is over: what it stages now would be lost');
  }

  /** Looks how large it is: what is not in its heap, no limit of Node's bounds. */
  #look(): void {
    const { memory } = this.#options;
    const { pid } = this.#child;
    if (pid === undefined) return;
    const size = residentSize(pid);
    if (size === undefined) return;
    if (size > memory + beside) this.kill(`it used ${Math.round(size)} MiB of ${memory}`);
    else this.#watch = this.#clock.timer(glance, () => this.#look()).unref();
  }

  #exited(code: number | null, signal: string | null): void {
    this.#watch?.cancel();
    this.#last = { code, signal };
    // What it said before may still be on its way; but a process of its own might hold the pipe open.
    if (!this.#child.connected) this.#conclude();
    else this.#clock.timer(grace, () => this.#conclude());
  }

  #disconnected(): void {
    if (this.#last !== undefined) this.#conclude();
    else if (!this.#leaving) this.#clock.timer(grace, () => this.kill('it has closed its pipe')).unref();
  }

  #conclude(): void {
    const { code, signal } = this.#last ?? { code: null, signal: null };
    const why = this.#why === undefined ? '' : `: ${this.#why}`;
    const full = signal === 'SIGABRT' ? `, as when its heap of ${this.#options.memory} MiB is full` : '';
    const thrown = this.#uncaught === undefined ? '' : `: ${this.#uncaught}`;
    this.#over(
      signal === null
        ? `its process ended with code ${code}${thrown}`
        : `its process was killed by ${signal}${why}${full}`,
    );
  }

  #over(text: string): void {
    if (this.#error !== undefined) return;
    const attempts = [...this.#calls.values()].filter(({ context }) => context !== undefined).length;
    const error = new ProcessEnded(text, attempts);
    this.#error = error;
    // The instance first, which pauses: nothing is to be handed to it any more.
    const guilty = !this.#context.signal.aborted && !this.#leaving;
    if (this.#made && !this.#leaving) this.#context.fail(error);
    this.#gate.end(text, guilty);
    this.#ready.reject(error);
    for (const { answer, timer } of this.#calls.values()) {
      timer?.cancel();
      answer.reject(error);
    }
    this.#calls.clear();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#end.resolve();
  }
}
