import type { Bus } from '../bus/bus.ts';
import type { BusError, Receipt } from '../core/errors.ts';
import type { ActorContext, HandlerActor } from '../hosting/kinds.ts';
import type { Scenario, SimulatedLife, SimulatedNode, Simulation } from './simulation.ts';

/** A message that somebody has published. */
interface Sent {
  readonly from: string;
  readonly n: number;
  readonly key: string | undefined;
  /** Repeated under its id, because it was not known what had become of it. */
  repeated: boolean;
}

/** What a handler has seen, once for each attempt. */
interface Seen {
  readonly subscription: string;
  readonly what: string;
  readonly id: string;
  readonly attempt: number;
}

/** A handler actor that somebody has asked for. */
interface Task {
  state: 'asked' | 'placed' | 'refused' | 'unknown';
  readonly life: SimulatedLife;
}

/** How long a publish of this scenario may take, in milliseconds, and how much later its outcome may come. */
const patience = { timeout: 3_000, slack: 500 };

/**
 * The promises of docs/semantics.md as a scenario: a leader, a node with a store that is the home of everything durable, and one
 * without. Messages, keyed and not, go to handlers that stage outputs in one atomic step; handler actors are spawned, one of
 * them a singleton. Each violation begins with the number of the promise.
 */
export class PromiseScenario implements Scenario {
  readonly nodes: Readonly<Record<string, SimulatedNode>>;
  readonly #owed: { sent: Sent; id: string }[] = [];
  readonly #seen: Seen[] = [];
  /** Of the inputs, in the order in which their outputs came: each output once. */
  readonly #outputs: { id: string; from: string; n: number; key: string | undefined }[] = [];
  /** In the order in which they came, each once. */
  readonly #arrived: { from: string; n: number; late: boolean }[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #repeated = new Set<string>();
  /** Which messages of a key a handler has in hand. */
  readonly #inHand = new Map<string, SimulatedLife>();
  readonly #tasks = new Map<string, Task>();
  /** Instances of handler actors that run: `<placement>.<instance>`, and of which life of a node they are. */
  readonly #running = new Set<{
    readonly what: string;
    readonly life: SimulatedLife;
    readonly context: ActorContext;
  }>();
  /** Whether the singleton was asked for. */
  #asked = false;
  #pending = 0;
  #powered = true;
  #good = 0;
  #final: 'no' | 'begun' | 'over' = 'no';

  /** @param seed decides whether the leader has a store, and whether the others listen, so that they link to each other. */
  constructor(seed: number) {
    const redial = { delay: 50, maxDelay: 1_000 };
    const listening = (n: number) =>
      Math.floor(seed / 2) % 3 === 0 ? {} : { listen: `tcp://10.0.0.${n}:1900`, insecure: true };
    this.nodes = {
      lead: { store: seed % 4 !== 0, options: { redial } },
      home: { store: true, options: { redial, ...listening(2) } },
      edge: { store: false, options: { redial, ...listening(3) } },
    };
  }

  async start(node: string, bus: Bus, simulation: Simulation): Promise<void> {
    const life = simulation.life(node);
    if (life === undefined) return;
    const keep = { durable: true, retry: { attempts: 1000, delay: 5, jitter: 0 } };
    if (node !== 'lead') {
      bus.handlers.define('task', (context) => this.#actor(context, life, simulation));
      bus.handlers.define('solo', (context) => this.#actor(context, life, simulation));
    }
    if (node === 'home') {
      await bus.subscribe('out', (message, { attempt }) => this.#output(message, attempt, life), {
        name: 'out',
        ...keep,
      });
      await bus.subscribe('seq', (message) => this.#arrive(message, life), { name: 'seq', ...keep });
      await bus.subscribe('small', null, { name: 'small', ...keep, limits: { messages: 3, overflow: 'drop-oldest' } });
      await bus.subscribe('mem', () => Promise.reject(new Error('bad')), {
        name: 'bad',
        retry: { attempts: 2, delay: 1 },
      });
      await bus.subscribe('mem', () => void this.#good++, { name: 'good' });
    }
    if (node !== 'lead') {
      const handler = async (
        message: { id: string; payload: unknown; key?: string | undefined },
        context: { attempt: number; publish(topic: string, payload: unknown): Promise<void> },
      ): Promise<void> => {
        const { from, n } = message.payload as Sent;
        const { key } = message;
        this.#take(key, life, simulation);
        const time = simulation.dice(8);
        if (time > 0) await new Promise<void>((done) => void simulation.clock.timer(time, done));
        if (key !== undefined && this.#inHand.get(key) === life) this.#inHand.delete(key);
        if (!life.alive) return;
        if (context.attempt === 1 && n % 7 === 0) throw new Error('once more');
        simulation.trace(`${node} handles ${from}#${n} attempt ${context.attempt}`);
        this.#seen.push({ subscription: 'work', what: `${from}#${n}`, id: message.id, attempt: context.attempt });
        await context.publish('out', { from, n, key: key ?? '' });
      };
      await bus.subscribe('work', handler, { name: 'work', ...keep, concurrency: 2, timeout: 5_000 });
    }
    if (this.#asked) return;
    this.#asked = true;
    await bus.spawn('solo', { name: 'solo', singleton: true, pending: true, wait: 20_000 }).catch(() => {
      this.#asked = false;
    });
  }

  step(simulation: Simulation): void {
    for (let i = simulation.dice(5); i > 0; i--) this.#publish(simulation, 'work', simulation.dice(2) === 0);
    if (simulation.dice(2) === 0) this.#publish(simulation, 'seq', false);
    if (simulation.dice(4) === 0) this.#spawn(simulation);
    if (simulation.life(simulation.leading) === undefined) this.#publishAlone(simulation);
  }

  /** Whether everything has come to its end. */
  done(simulation: Simulation): boolean {
    if (this.#pending > 0 || [...this.#tasks.values()].some(({ state }) => state === 'asked')) return false;
    if (this.#missing().length > 0) return false;
    if (this.#final === 'no') {
      this.#final = 'begun';
      this.#last(simulation).catch((error: unknown) => simulation.violation(`8: the end failed: ${String(error)}`));
    }
    return this.#final === 'over';
  }

  async check(simulation: Simulation): Promise<string[]> {
    const found: string[] = [];
    const { schedule } = simulation;
    this.#powered = !schedule.some((line) => line.includes('power-off'));
    if (this.#pending > 0) found.push(`7: ${this.#pending} publishes never came to an end`);
    const handled = new Set(this.#seen.filter(({ subscription }) => subscription === 'work').map(({ what }) => what));
    for (const what of this.#missing()) {
      if (handled.has(what) && this.#powered) found.push(`5: handled, and its output is missing: ${what}`);
      else found.push(`${this.#powered ? 2 : 1}: lost: ${what}`);
    }
    const once = this.#seen.filter(({ attempt }) => attempt === 1).map(({ what, id }) => `${what} ${id}`);
    // What a power failure has made a disk forget is also which messages were handed out.
    if (this.#powered) for (const what of twice(once)) found.push(`3: entered twice: ${what}`);
    for (const what of twice(this.#outputs.map(({ from, n }) => `${from}#${n}`)))
      found.push(`5: two outputs of ${what}`);
    for (const what of disorder(
      this.#outputs.filter(({ key }) => key !== ''),
      ({ from, key }) => `${from} ${key}`,
    ))
      found.push(`4: out of order within its key: ${what}`);
    for (const what of disorder(
      this.#arrived.filter(({ late }) => !late),
      ({ from }) => from,
    ))
      found.push(`4: out of order: ${what}`);
    if (this.#final !== 'over' && found.length === 0) found.push('8: the end was never reached');
    await this.#checkTasks(simulation, found);
    return found;
  }

  /** What was promised to be stored and was never handled. */
  #missing(): string[] {
    const outputs = new Set(this.#outputs.map(({ from, n }) => `${from}#${n}`));
    const arrived = new Set(this.#arrived.map(({ from, n }) => `${from}#${n}`));
    return this.#owed
      .map(({ sent: { from, n } }) => `${from}#${n}`)
      .filter((what) => !outputs.has(what) && !arrived.has(what));
  }

  #publish(simulation: Simulation, topic: string, keyed: boolean): void {
    const from = simulation.pick(simulation.names.filter((each) => simulation.life(each) !== undefined));
    const life = from === undefined ? undefined : simulation.life(from);
    if (from === undefined || life === undefined) return;
    const stream = `${from}/${topic}`;
    const n = (this.#numbers.get(stream) ?? 0) + 1;
    this.#numbers.set(stream, n);
    const key = keyed ? `k${simulation.dice(2)}` : undefined;
    this.#send(simulation, life, topic, { from: stream, n, key, repeated: false }, undefined);
  }

  #send(simulation: Simulation, life: SimulatedLife, topic: string, sent: Sent, id: string | undefined): void {
    const { clock } = simulation;
    const begun = clock.monotonic();
    const { from, n, key } = sent;
    const options = { timeout: patience.timeout, ...(key !== undefined && { key }), ...(id !== undefined && { id }) };
    this.#pending++;
    life.bus
      .publish(topic, { from, n }, options)
      .then(
        (receipt: Receipt) => {
          simulation.trace(`${from}#${n} ${JSON.stringify(receipt)}`);
          if (receipt.stored + receipt.spooled > 0) this.#owed.push({ sent, id: receipt.id });
        },
        (error: BusError) => {
          simulation.trace(`${from}#${n} ${error.code} ${error.message}${life.alive ? '' : ' (dead)'}`);
          if (!life.alive || sent.repeated || error.receipt === undefined) return;
          sent.repeated = true;
          this.#repeated.add(`${from}#${n}`);
          this.#send(simulation, life, topic, sent, error.receipt.id);
        },
      )
      .finally(() => {
        this.#pending--;
        const took = clock.monotonic() - begun;
        if (life.alive && took > patience.timeout + patience.slack)
          simulation.violation(`7: ${from}#${n} took ${took} ms of ${patience.timeout}`);
      });
  }

  /** Without a leader a node goes on with what is its own: it takes messages, handles them and tries them again. */
  #publishAlone(simulation: Simulation): void {
    const life = simulation.life('home');
    // A disk that is in trouble, or was, is another promise's.
    const troubled = (): boolean =>
      life?.source?.behaviour.full === true || life?.events.some(({ type }) => type === 'store.failed') === true;
    if (life === undefined || troubled() || (life.source?.behaviour.faults.size ?? 0) > 0) return;
    const from = 'home/alone';
    const n = (this.#numbers.get(from) ?? 0) + 1;
    this.#numbers.set(from, n);
    const wrong = (what: string): void => {
      if (life.alive && !troubled()) simulation.violation(`9: without the leader ${from}#${n} ${what}`);
    };
    life.bus.publish('seq', { from, n }, { timeout: patience.timeout }).then(
      ({ stored }) => {
        if (stored !== 1) wrong(`was stored ${stored} times`);
        simulation.clock.timer(patience.timeout, () => {
          if (!this.#arrived.some((each) => each.from === from && each.n === n)) wrong('was not handled');
        });
      },
      (error: BusError) => wrong(`is ${error.code}`),
    );
  }

  #take(key: string | undefined, life: SimulatedLife, simulation: Simulation): void {
    if (key === undefined) return;
    const other = this.#inHand.get(key);
    // What a node that is cut off still has in hand does not count: its settlement will not.
    if (other?.alive === true && other === life)
      simulation.violation(`4: two messages of '${key}' at a time on one node`);
    this.#inHand.set(key, life);
  }

  #output({ id, payload }: { id: string; payload: unknown }, attempt: number, life: SimulatedLife): void {
    if (!life.alive) return;
    const { from, n, key } = payload as Sent;
    this.#seen.push({ subscription: 'out', what: `out of ${from}#${n}`, id, attempt });
    if (!this.#outputs.some((each) => each.id === id)) this.#outputs.push({ id, from, n, key });
  }

  #arrive({ payload }: { payload: unknown }, life: SimulatedLife): void {
    if (!life.alive) return;
    const { from, n } = payload as Sent;
    if (this.#arrived.some((each) => each.from === from && each.n === n)) return;
    // What was repeated under its id may come late.
    this.#arrived.push({ from, n, late: this.#repeated.has(`${from}#${n}`) });
  }

  #spawn(simulation: Simulation): void {
    const life = simulation.life(simulation.pick(simulation.names) ?? '');
    if (life === undefined) return;
    const name = `task-${this.#tasks.size}`;
    const task: Task = { state: 'asked', life };
    this.#tasks.set(name, task);
    // Of what somebody has asked for who has died nothing is known.
    const outcome = (state: 'placed' | 'refused', why = ''): void => {
      simulation.trace(`${life.bus.node}: '${name}' is ${state} ${why}`);
      task.state = life.alive ? state : 'unknown';
    };
    life.bus.spawn('task', { name, wait: 8_000 }).then(
      () => outcome('placed'),
      (error: BusError) => outcome('refused', error.message),
    );
  }

  #actor(context: ActorContext, life: SimulatedLife, simulation: Simulation): HandlerActor {
    const what = `${context.placement}.${context.instance}`;
    const me = { what, life, context };
    const end = (): void => void this.#running.delete(me);
    context.signal.addEventListener('abort', end);
    return {
      onStart: () => {
        if (!life.alive) return;
        for (const other of this.#running) {
          if (other.what === what && other.life.alive && context.placement === 'solo')
            simulation.violation(`singleton: runs on ${other.life.bus.node} and on ${life.bus.node}`);
        }
        this.#running.add(me);
      },
      onStop: end,
    };
  }

  /** When everything is quiet: a handler that throws, and a mailbox that overflows. */
  async #last(simulation: Simulation): Promise<void> {
    const bus = simulation.life('home')?.bus;
    if (bus === undefined) return;
    await new Promise<void>((done) => void simulation.clock.timer(5_000, done)); // a store opens again by itself
    this.#good = 0;
    for (let i = 0; i < 5; i++) {
      await bus.publish('mem', i);
      await new Promise<void>((done) => void simulation.clock.timer(5, done));
    }
    const dropped = (): number =>
      (simulation.life('home')?.events ?? [])
        .filter((event) => event.type === 'message.dropped' && event.subscription === 'sim/small')
        .reduce((sum, event) => sum + (event.type === 'message.dropped' ? event.count : 0), 0);
    const waiting = async (): Promise<number> => (await bus.mailboxes.stats('small')).waiting;
    const before = { waiting: await waiting(), dropped: dropped() };
    for (let i = 0; i < 6; i++) await bus.publish('small', i);
    await new Promise<void>((done) => simulation.clock.immediate(done));
    const gone = dropped() - before.dropped;
    const left = await waiting();
    if (before.waiting + 6 - gone !== left)
      simulation.violation(`6: of ${before.waiting + 6} messages ${left} are left, and ${gone} were told of`);
    await new Promise<void>((done) => void simulation.clock.timer(500, done));
    if (this.#good !== 5) simulation.violation(`8: beside a handler that throws, ${this.#good} of 5 were handled`);
    this.#final = 'over';
  }

  /** Spawned or refused, never both, never twice. */
  async #checkTasks(simulation: Simulation, found: string[]): Promise<void> {
    const bus = simulation.life('lead')?.bus;
    if (bus === undefined) return;
    const stored = this.nodes.lead?.store === true;
    for (const [name, { state, life }] of this.#tasks) {
      const instances = bus.placements.list().find((each) => each.name === name)?.instances ?? [];
      const running = [...this.#running].filter((each) => each.what === `${name}.0` && each.life.alive);
      if (running.length > 1) found.push(`spawn: '${name}' runs ${running.length} times`);
      // Whoever has been refused without knowing what the leader has done takes it back, as long as it lives.
      if (state === 'refused' && life.alive && instances.length > 0)
        found.push(`spawn: '${name}' was refused, and is there`);
      if (state === 'placed' && stored && running.length === 0 && instances.length === 0)
        found.push(`spawn: '${name}' was placed, and is gone`);
    }
  }
}

function twice(all: readonly string[]): string[] {
  const seen = new Set<string>();
  return all.filter((each) => seen.has(each) || !seen.add(each));
}

/** Which of a stream's entries came after a later one of the same stream. */
function disorder<T extends { readonly n: number }>(all: readonly T[], streamOf: (each: T) => string): string[] {
  const last = new Map<string, number>();
  return all.flatMap((each) => {
    const stream = streamOf(each);
    const before = last.get(stream) ?? 0;
    last.set(stream, Math.max(before, each.n));
    return each.n < before ? [`${stream}#${each.n} after #${before}`] : [];
  });
}
