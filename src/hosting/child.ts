import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { Context, StagedOptions } from '../actors/delivery.ts';
import { type Deferred, deferred } from '../core/async.ts';
import { BusError, type Receipt } from '../core/errors.ts';
import { checkExtension } from '../core/extension.ts';
import type { Logger } from '../core/log.ts';
import { Message } from '../core/message.ts';
import { measurePayload } from '../core/payload.ts';
import { checkPayload, type Destination, nameOf } from '../routing/typed-topic.ts';
import { checkedActor } from './checked-actor.ts';
import type { ActorContext, HandlerActor, Kind } from './kinds.ts';
import { type About, carry, type FromProcess, type Level, type ToProcess, unpack } from './pipe.ts';

// What runs in the process of an instance: it makes the actor of a module, calls it as it is told through the pipe to its
// node, and ends with that.

/** A thread that sees to it that this process ends with its parent although a handler blocks it. */
const guard = `
const { workerData: parent } = require('node:worker_threads');
const never = new Int32Array(new SharedArrayBuffer(4));
const gone = () => {
  if (process.ppid !== parent) return true;
  try { process.kill(parent, 0); return false; } catch (error) { return error.code === 'ESRCH'; }
};
for (;;) {
  Atomics.wait(never, 0, 0, 500);
  if (gone()) process.kill(process.pid, 'SIGKILL');
}`;
const small = { maxOldGenerationSizeMb: 8, maxYoungGenerationSizeMb: 2, codeRangeSizeMb: 4, stackSizeMb: 1 };

/** A message that is being handled. */
interface Running {
  readonly controller: AbortController;
  /** What it has staged without an answer so far. */
  readonly staging: Set<Promise<unknown>>;
}

const life = new AbortController();
const running = new Map<number, Running>();
const requests = new Map<number, Deferred<unknown>>();
let requested = 0;
let actor: HandlerActor = {};

function say(said: FromProcess): void {
  if (process.connected) process.send?.(said, undefined, undefined, () => undefined);
}

async function publish(
  call: number | undefined,
  to: Destination,
  payload: unknown,
  options: StagedOptions | undefined,
): Promise<unknown> {
  const checking = checkPayload(to, payload);
  if (checking !== undefined) await checking;
  const topic = nameOf(to);
  measurePayload(payload, Number.POSITIVE_INFINITY); // what may not be published may not be what arrives there either
  const request = ++requested;
  const answer = deferred<unknown>();
  requests.set(request, answer);
  try {
    say({ t: 'publish', request, ...(call !== undefined && { call }), topic, payload, options });
  } catch (cause) {
    requests.delete(request);
    throw new BusError('OPTION_INVALID', 'what is to be published cannot leave this process', { cause });
  }
  return answer.promise;
}

class PipeLog implements Logger {
  readonly #call: number | undefined;
  readonly #bound: Readonly<Record<string, unknown>>;

  constructor(call: number | undefined, bound: Readonly<Record<string, unknown>> = {}) {
    this.#call = call;
    this.#bound = bound;
  }

  debug(fields: object, text: string): void {
    this.#write('debug', fields, text);
  }

  info(fields: object, text: string): void {
    this.#write('info', fields, text);
  }

  warn(fields: object, text: string): void {
    this.#write('warn', fields, text);
  }

  error(fields: object, text: string): void {
    this.#write('error', fields, text);
  }

  child(fields: Record<string, unknown>): Logger {
    return new PipeLog(this.#call, { ...this.#bound, ...fields });
  }

  #write(level: Level, given: object, text: string): void {
    const all = Object.entries({ ...this.#bound, ...given });
    const fields = Object.fromEntries(all.filter(([, value]) => !(value instanceof Error)));
    const failures = Object.fromEntries(
      all.flatMap(([name, value]) => (value instanceof Error ? [[name, carry(value)]] : [])),
    );
    const line = { t: 'log', ...(this.#call !== undefined && { call: this.#call }), level, text, failures } as const;
    try {
      say({ ...line, fields });
    } catch {
      // Something of it cannot be copied.
      const shown = Object.entries(fields).map(([name, value]) => [
        name,
        typeof value === 'object' || typeof value === 'function' || typeof value === 'symbol' ? inspect(value) : value,
      ]);
      say({ ...line, fields: Object.fromEntries(shown) });
    }
  }
}

/** What a handler gets beside its message, in this process. */
class PipeContext implements Context {
  readonly attempt: number;
  readonly subscription: string;
  readonly signal: AbortSignal;
  readonly #call: number;
  readonly #staging: Set<Promise<unknown>>;

  constructor({ call, attempt, subscription }: ToProcess & { t: 'message' }, { controller, staging }: Running) {
    this.attempt = attempt;
    this.subscription = subscription;
    this.signal = controller.signal;
    this.#call = call;
    this.#staging = staging;
  }

  get log(): Logger {
    return new PipeLog(this.#call);
  }

  publish(topic: Destination, payload: unknown, options?: StagedOptions): Promise<void> {
    const staged = publish(this.#call, topic, payload, options).then(() => undefined);
    this.#staging.add(staged);
    const answered = (): void => void this.#staging.delete(staged);
    void staged.then(answered, answered);
    return staged;
  }

  extend(ms: number): void {
    checkExtension(ms);
    say({ t: 'extend', call: this.#call, ms });
  }

  term(reason?: string): void {
    say({ t: 'term', call: this.#call, reason: reason === undefined ? undefined : String(reason) });
  }
}

async function start(module: string, about: About): Promise<void> {
  const context: ActorContext = {
    ...about,
    log: new PipeLog(undefined),
    signal: life.signal,
    publish: async (topic, payload, options) => (await publish(undefined, topic, payload, options)) as Receipt,
    fail: (error) => say({ t: 'fail', failure: carry(error) }),
    timeout: 0,
  };
  const { default: kind } = (await import(module)) as { default?: Kind };
  if (typeof kind !== 'function') throw new BusError('OPTION_INVALID', `${module} does not export a kind by default`);
  const made = await kind(context);
  if (typeof made !== 'object' || made === null) {
    throw new BusError('OPTION_INVALID', `the kind '${about.kind}' of ${module} made no object`);
  }
  actor = checkedActor(about.kind, made);
  const has = (method: Exclude<keyof HandlerActor, 'schema'>): boolean => typeof actor[method] === 'function';
  const abilities = {
    onStart: has('onStart'),
    onMessage: has('onMessage'),
    onTell: has('onTell'),
    onStop: has('onStop'),
  };
  say({ t: 'ready', abilities });
}

async function handle(said: ToProcess & { t: 'message' }): Promise<void> {
  const { id, topic, payload, headers, key, publishedAt, source, size } = said.message;
  const message = new Message(topic, payload, headers, key, publishedAt, source, size, id, 0, undefined, undefined);
  const own: Running = { controller: new AbortController(), staging: new Set() };
  running.set(said.call, own);
  try {
    await actor.onMessage?.(message, new PipeContext(said, own));
    while (own.staging.size > 0) await Promise.all(own.staging); // what nobody has waited for must not fail unheard
  } finally {
    running.delete(said.call);
  }
}

/** Answers when a call has come to its end. */
function answer(call: number, result: Promise<unknown>): void {
  result.then(
    () => say({ t: 'done', call }),
    (error: unknown) => say({ t: 'done', call, failure: carry(error) }),
  );
}

function heed(said: ToProcess): void {
  switch (said.t) {
    case 'start':
      start(said.module, said.about).catch((error: unknown) => say({ t: 'refused', failure: carry(error) }));
      return;
    case 'life':
      answer(
        said.call,
        Promise.resolve().then(() => actor[said.what]?.()),
      );
      return;
    case 'tell':
      answer(
        said.call,
        Promise.resolve().then(() => actor.onTell?.(said.value)),
      );
      return;
    case 'message':
      answer(said.call, handle(said));
      return;
    case 'abort':
      running.get(said.call)?.controller.abort(unpack(said.reason));
      return;
    case 'answer': {
      const request = requests.get(said.request);
      requests.delete(said.request);
      if (said.failure === undefined) request?.resolve(said.value);
      else request?.reject(unpack(said.failure));
      return;
    }
    case 'exit':
      life.abort(new BusError('CLOSED', 'this instance has been stopped'));
      process.exit(0);
  }
}

new Worker(guard, { eval: true, execArgv: [], env: {}, workerData: process.ppid, resourceLimits: small }).unref();
process.on('uncaughtExceptionMonitor', (error) => say({ t: 'uncaught', failure: carry(error) }));
process.on('disconnect', () => process.exit(0));
process.on('message', heed);
