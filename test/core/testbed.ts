import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { StoreSource } from '../../src/actors/admin.ts';
import type { Runtime } from '../../src/actors/runtime.ts';
import { createVirtualRuntime } from '../../src/actors/virtual-runtime.ts';
import { Bus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import type { BusEvent, EventOf, EventType } from '../../src/core/events.ts';
import type { Logger } from '../../src/core/log.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

/** For `assert.throws` and `assert.rejects`: a BusError with this code, whose text contains every one of `texts`. */
export function refusal(code: ErrorCode, ...texts: string[]) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof BusError, `no BusError: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    for (const text of texts) assert.ok(error.message.includes(text), `${error.message} does not say ${text}`);
    return true;
  };
}

/** What was logged, by a logger or one of its children. */
export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly text: string;
}

/** A logger that keeps every line, with the fields of all its ancestors. */
export class LogBook implements Logger {
  readonly lines: LogLine[];
  readonly #bound: Record<string, unknown>;

  constructor(lines: LogLine[] = [], bound: Record<string, unknown> = {}) {
    this.lines = lines;
    this.#bound = bound;
  }

  debug(fields: object, text: string): void {
    this.#keep('debug', fields, text);
  }
  info(fields: object, text: string): void {
    this.#keep('info', fields, text);
  }
  warn(fields: object, text: string): void {
    this.#keep('warn', fields, text);
  }
  error(fields: object, text: string): void {
    this.#keep('error', fields, text);
  }
  child(fields: Record<string, unknown>): Logger {
    return new LogBook(this.lines, { ...this.#bound, ...fields });
  }

  #keep(level: LogLine['level'], fields: object, text: string): void {
    this.lines.push({ level, fields: { ...this.#bound, ...fields }, text });
  }
}

/** A bus on a virtual clock, with everything that it says. */
export interface World {
  readonly clock: VirtualClock;
  readonly bus: Bus;
  readonly log: LogBook;
  readonly events: BusEvent[];
  /** The events of one type. */
  seen<K extends EventType>(type: K): EventOf<K>[];
  /** Runs what is due, then tells how a promise stands. */
  outcome<T>(promise: Promise<T>): Promise<Outcome<T>>;
  /** Closes the bus, letting the clock run for up to `timeout`. */
  close(timeout?: number): Promise<void>;
}

/** How a promise stands. */
export type Outcome<T> = { state: 'pending' } | { state: 'resolved'; value: T } | { state: 'rejected'; error: unknown };

/** Opens a bus on a virtual clock. After the test it is closed, and must have left no timer. */
export async function world(
  t: TestContext,
  options: BusOptions = {},
  more: { clock?: VirtualClock; runtime?: (runtime: Runtime) => Runtime; source?: StoreSource } = {},
): Promise<World> {
  const clock = more.clock ?? new VirtualClock(7);
  const log = new LogBook();
  const given = { node: 'here', logger: log, ...options };
  const bus = await Bus.open(given, {
    clock,
    ...(more.source === undefined ? {} : { source: more.source }),
    runtime: (name) => {
      const runtime = createVirtualRuntime({ name, clock, log: given.logger });
      return more.runtime?.(runtime) ?? runtime;
    },
  });
  const events: BusEvent[] = [];
  bus.on('*', (event) => events.push(event));
  const close = async (timeout = 0): Promise<void> => {
    const closed = bus.close({ timeout });
    await clock.advance(timeout);
    await closed;
  };
  t.after(async () => {
    await close();
    assert.equal(clock.pendingTimers, 0, 'a timer was left');
  });
  return {
    clock,
    bus,
    log,
    events,
    seen: <K extends EventType>(type: K) => events.filter((event): event is EventOf<K> => event.type === type),
    outcome: (promise) => outcomeOf(clock, promise),
    close,
  };
}

/** Runs what is due on a clock, then tells how a promise stands. */
export async function outcomeOf<T>(clock: VirtualClock, promise: Promise<T>): Promise<Outcome<T>> {
  let outcome: Outcome<T> = { state: 'pending' };
  promise.then(
    (value) => {
      outcome = { state: 'resolved', value };
    },
    (error: unknown) => {
      outcome = { state: 'rejected', error };
    },
  );
  await clock.settle();
  return outcome;
}

/** The value of a promise that must have resolved by now. */
export async function resolved<T>(clock: VirtualClock, promise: Promise<T>): Promise<T> {
  const outcome = await outcomeOf(clock, promise);
  if (outcome.state === 'resolved') return outcome.value;
  throw outcome.state === 'rejected' ? outcome.error : new Error('the promise is pending');
}

/** Runs what is due until a condition holds; long chains of promises need several rounds. */
export async function until(clock: VirtualClock, condition: () => boolean, rounds = 10_000): Promise<void> {
  for (let round = 0; !condition(); round++) {
    assert.ok(round < rounds, 'it never came');
    await clock.settle();
  }
}
