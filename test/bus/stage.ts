import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type Bus, createBus } from '../../src/bus/bus.ts';
import type { WatchEvent, WatchTarget } from '../../src/bus/watching/watching.ts';
import { deferred } from '../../src/core/async.ts';
import type { BusEvent, EventOf, EventType } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { VirtualClock } from '../../src/core/virtual-clock.ts';
import type { ActorContext } from '../../src/hosting/kinds.ts';
import { DurableWorld } from './durable-world.ts';

/** When a silent node is suspect and when it is down, and how long it may take to be linked again: the defaults. */
export const [suspect, down, back] = [3000, 15_000, 2500];
/** How long news may be under way, in virtual milliseconds. */
export const soon = 50;

/** What was told since the beginning, and how many virtual milliseconds after the last `mark()` it was told first. */
export class Ear {
  readonly told: string[] = [];
  readonly #clock: VirtualClock;
  readonly #times = new Map<string, number>();
  #start: number;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.#start = clock.monotonic();
  }

  hear(what: string): void {
    this.told.push(what);
    if (!this.#times.has(what)) this.#times.set(what, this.#clock.monotonic() - this.#start);
  }

  mark(): void {
    this.#times.clear();
    this.#start = this.#clock.monotonic();
  }

  take(): string[] {
    return this.told.splice(0);
  }

  after(what: string): number {
    return this.#times.get(what) ?? assert.fail(`'${what}' was not told; there was ${this.told.join(', ')}`);
  }
}

/** A cluster, and what its nodes have done and heard. */
export class Stage extends DurableWorld {
  /** `<node>.<generation>` of every instance that has started. */
  readonly starts: string[] = [];
  readonly contexts: ActorContext[] = [];

  /** Has a node define a kind that does nothing. */
  define(node: string, kind = 'actor'): void {
    this.bus(node).handlers.define(kind, (context) => ({
      onStart: () => {
        this.starts.push(`${context.node}.${context.generation}`);
        this.contexts.push(context);
      },
    }));
  }

  /** Watches. Of a node it hears `<node> <state>`, of a placement its state and where it runs. */
  watch(bus: Bus, target: WatchTarget): Ear {
    const ear = new Ear(this.clock);
    bus.watch(target, (event: WatchEvent) => {
      if ('node' in event) ear.hear(`${event.node} ${event.state}`);
      else if ('placement' in event) {
        const text = [event.state, ...event.instances.map(({ node, state }) => `${node}:${state}`)].join(' ');
        if (ear.told.at(-1) !== text) ear.hear(text); // the text of an error may be another one
      }
    });
    return ear;
  }

  /** Hears the events that a bus tells of nodes, as `<event> <node>`. */
  events(bus: Bus): Ear {
    const ear = new Ear(this.clock);
    bus.on('*', (event) => {
      if (event.type.startsWith('node.') && 'node' in event) ear.hear(`${event.type} ${event.node}`);
    });
    return ear;
  }

  /** Waits for a promise. @returns how many virtual milliseconds it took. */
  async timed(promise: Promise<unknown>): Promise<number> {
    const start = this.clock.monotonic();
    await this.until(promise);
    return this.clock.monotonic() - start;
  }
}

/** A leader, and members without disks that define the kind `actor`. */
export async function stage(...members: string[]): Promise<Stage> {
  const all = new Stage();
  await all.start('lead');
  for (const node of members) {
    await all.start(node, { stored: false });
    all.define(node);
  }
  return all;
}

/** A bus on the real clock, for real processes. */
export async function realBus(t: TestContext) {
  const bus = await createBus({ node: 'one', logger: silentLogger });
  // Neither a bus that stands alone nor an idle process of an instance keeps this one alive: the test has to.
  const awake = setInterval(() => {}, 1000);
  t.after(() => clearInterval(awake));
  t.after(() => bus.close({ timeout: 0 }));
  return {
    bus,
    next: <K extends EventType>(type: K): Promise<EventOf<K>> =>
      new Promise((come) => {
        const end = bus.on('*', (event: BusEvent) => {
          if (event.type !== type) return;
          end();
          come(event as EventOf<K>);
        });
      }),
    /** The process of the actor, as it says itself. */
    pid: async (): Promise<number> => {
      const said = deferred<number>();
      const subscription = await bus.subscribe<{ pid: number }>('did', ({ payload }) => said.resolve(payload.pid));
      await bus.publish('go', { do: 'work' });
      const pid = await said.promise;
      await subscription.close();
      return pid;
    },
  };
}

/** Resolves when the placement 'x' is in a state. */
export function untilState(bus: Bus, state: string): Promise<void> {
  return new Promise((come) => {
    const end = bus.watch({ placement: 'x' }, (event) => {
      if (event.state !== state) return;
      end();
      come();
    });
  });
}
