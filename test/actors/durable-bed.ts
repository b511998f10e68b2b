import { Admin } from '../../src/actors/admin.ts';
import { Consumer, type ConsumerOptions, type Step } from '../../src/actors/consumer.ts';
import { DeadLetters } from '../../src/actors/dead-letters.ts';
import type { DurableMailbox, Offered } from '../../src/actors/durable-mailbox.ts';
import { FilterChain } from '../../src/actors/filters.ts';
import type { MailboxPolicy } from '../../src/actors/mailbox-policy.ts';
import type { Handler } from '../../src/actors/subscriber-options.ts';
import { type HomeEntry, Mailboxes } from '../../src/bus/durable/mailboxes.ts';
import { type EmitOptions, MessageFactory } from '../../src/bus/options/publish-options.ts';
import { Publisher } from '../../src/bus/routes/publisher.ts';
import type { Route } from '../../src/bus/routes/route.ts';
import { Steps } from '../../src/bus/routes/steps.ts';
import { type BusEvent, EventHub, type EventOf, type EventType } from '../../src/core/events.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Message } from '../../src/core/message.ts';
import { defaultRetry, type RetryPolicy } from '../../src/core/retry.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { compilePattern } from '../../src/routing/pattern.ts';
import { Router } from '../../src/routing/router.ts';
import { unpackState } from '../../src/storage/journal-state.ts';
import { recordKind, unpackRecord } from '../../src/storage/record.ts';
import { readMessages, readSegment, storedSize } from '../../src/storage/segment.ts';
import { type Disk, FaultySource } from '../../src/testing/disk.ts';
import { decodePayload } from '../../src/wire/codec.ts';
import { LogBook } from '../core/testbed.ts';

/** A mailbox policy with some fields of its own. */
export function policyOf(
  given: Partial<Omit<MailboxPolicy, 'retry' | 'limits'>> & {
    retry?: Partial<RetryPolicy>;
    limits?: Partial<MailboxPolicy['limits']>;
  } = {},
): MailboxPolicy {
  return {
    outage: false,
    latestOnly: false,
    filters: [],
    durability: 'fsync',
    ...given,
    retry: { ...defaultRetry, jitter: 0, ...given.retry },
    limits: {
      messages: 1_000_000,
      bytes: 2 ** 31,
      age: Number.POSITIVE_INFINITY,
      overflow: 'reject',
      deadLetters: false,
      ...given.limits,
    },
  };
}

/** One process over a {@link Disk}, from its start to its end, without a bus around it. */
export class Life {
  readonly clock: VirtualClock;
  readonly source: FaultySource;
  readonly events: BusEvent[] = [];
  readonly log = new LogBook();
  readonly admin: Admin;
  readonly deadLetters: DeadLetters;
  readonly mailboxes: Mailboxes;
  readonly factory: MessageFactory;
  readonly steps: Steps;
  readonly consumers = new Set<Consumer>();
  readonly #disk: Disk;
  ended = false;

  private constructor(disk: Disk, seed: number, epoch: number, delay: number, deadLimit: number) {
    this.#disk = disk;
    const clock = new VirtualClock(seed, epoch);
    this.clock = clock;
    this.source = new FaultySource(disk, clock, delay);
    const hub = new EventHub(silentLogger);
    hub.on('*', (event) => this.events.push(event));
    const router = new Router<Route>();
    this.admin = new Admin({
      clock,
      log: this.log,
      events: hub,
      source: this.source,
      restored: () => this.steps.restored(),
    });
    this.deadLetters = new DeadLetters({
      commits: this.admin.commits,
      clock,
      limits: { messages: deadLimit, bytes: 2 ** 30 },
      replayTo: (name) => this.mailboxes.replayTo(name),
    });
    this.admin.join(this.deadLetters);
    this.factory = new MessageFactory(clock, 'here', `o${seed}`, 2 ** 20);
    const publisher = new Publisher(clock, router, this.factory, () => {});
    this.steps = new Steps(publisher);
    this.mailboxes = new Mailboxes({
      node: 'here',
      clock,
      log: this.log,
      events: hub,
      admin: this.admin,
      deadLetters: this.deadLetters,
      router,
    });
  }

  /** Starts one; `epoch` should lie after the life before it. */
  static async start(
    disk: Disk,
    { seed = 1, epoch = 1_767_225_600_000, delay = 0, deadLimit = 100_000 } = {},
  ): Promise<Life> {
    const life = new Life(disk, seed, epoch, delay, deadLimit);
    await life.run(async () => {
      await life.admin.open();
      await life.deadLetters.open();
      await life.mailboxes.open();
    });
    return life;
  }

  /** Lets the clock run until some work is done. */
  async run<T>(work: () => Promise<T>, most = 600_000): Promise<T> {
    let outcome: { value: T } | { error: unknown } | undefined;
    work().then(
      (value) => {
        outcome = { value };
      },
      (error: unknown) => {
        outcome = { error };
      },
    );
    await this.clock.settle();
    for (let step = 1; outcome === undefined && step < most; step *= 2) await this.clock.advance(step);
    if (outcome === undefined) throw new Error('it does not end');
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Makes a mailbox for one topic, or finds it. */
  async mailbox(name: string, policy = policyOf()): Promise<HomeEntry> {
    const found = this.mailboxes.get(name);
    return found ?? this.run(() => this.mailboxes.create(name, compilePattern(name), policy, 1));
  }

  consume(
    mailbox: DurableMailbox,
    handler: Handler,
    { concurrency = 1, credit = 256, timeout = 30_000, step }: Partial<ConsumerOptions> & { step?: Step } = {},
  ): Consumer {
    const consumer = new Consumer(mailbox, {
      name: mailbox.name,
      mailboxId: mailbox.id,
      incarnation: '1',
      clock: this.clock,
      log: this.log,
      events: new EventHub(silentLogger),
      handler,
      concurrency,
      timeout,
      filters: new FilterChain([]),
      credit,
      prepare: (topic, payload, options) => this.factory.create(topic, payload, options),
      step: step ?? this.steps.step,
    });
    let woken = false;
    consumer.attach({
      wake: () => {
        if (woken) return true;
        woken = true;
        this.clock.immediate(() => {
          woken = false;
          if (!this.ended) consumer.turn();
        });
        return true;
      },
      replace: () => {},
      fault: (error) => {
        throw error;
      },
      revive: async () => {},
    });
    mailbox.attach(consumer);
    this.consumers.add(consumer);
    void consumer.closed.then(() => this.consumers.delete(consumer));
    return consumer;
  }

  message(topic: string, payload: unknown, options?: EmitOptions): Message {
    return this.factory.create(topic, payload, options);
  }

  /** Offers a message and tells what became of it. */
  offer(mailbox: DurableMailbox, payload: unknown, options?: EmitOptions): { result: Offered; told: () => string } {
    let told = 'nothing';
    const result = mailbox.offer(this.message(mailbox.name, payload, options), {
      committed: (synced) => {
        told = synced ? 'synced' : 'written';
      },
      failed: (error) => {
        told = error.code;
      },
    });
    return { result, told: () => told };
  }

  seen<K extends EventType>(type: K): EventOf<K>[] {
    return this.events.filter((event): event is EventOf<K> => event.type === type);
  }

  /** Ends it in order. */
  async close(timeout = 0): Promise<number> {
    await this.run(async () => {
      await Promise.all([...this.consumers].map((consumer) => consumer.close(timeout)));
      this.mailboxes.close();
      await this.admin.close();
    });
    this.ended = true;
    return this.clock.now() + 10;
  }

  /** Ends it at once. @returns the time at which the next one may begin. */
  kill(): number {
    this.ended = true;
    this.source.dead = true;
    return this.clock.now() + 10;
  }

  get disk(): Disk {
    return this.#disk;
  }
}

/** A message that a store holds. */
export interface Held {
  readonly payload: unknown;
  readonly id: string;
  readonly sequence: number;
  readonly size: number;
  readonly where: 'journal' | 'parked' | 'dead';
  readonly attempt: number;
}

/** Counts what a disk holds of a mailbox, by the format alone. */
export function heldBy(disk: Disk, id: string, name: string): Held[] {
  const found: Held[] = [];
  const value = disk.values.get(`st/${id}`);
  if (value === undefined) return found;
  const state = unpackState(`st/${id}`, value);
  for (const key of disk.keys(`sg/${id}/`)) {
    const record = readSegment(key, disk.values.get(key) as Uint8Array);
    if (record.kind === 'stub' || record.first < state.head) continue;
    if (state.gone.some(({ first, count }) => record.first >= first && record.first < first + count)) continue;
    const bits = state.partials.find(({ first }) => first === record.first)?.left;
    for (const [i, message] of readMessages(key, record).entries()) {
      if (bits !== undefined && ((bits[i >> 3] as number) & (1 << (i & 7))) !== 0) continue;
      const { payload, id: messageId, size } = message;
      found.push({ payload, id: messageId, sequence: record.first + i, size, where: 'journal', attempt: 0 });
    }
  }
  for (const key of [...disk.keys(`pk/${id}/`), ...disk.keys(`pl/${id}/`)]) {
    const record = unpackRecord(recordKind.parked, key, disk.values.get(key) as Uint8Array);
    const {
      topic,
      payload,
      key: lane,
      headers,
      origin,
      number,
      sequence,
      attempt,
    } = record as {
      topic: string;
      payload: Uint8Array;
      key?: string;
      headers: Record<string, string>;
      origin: string;
      number: number;
      sequence: number;
      attempt: number;
    };
    const size = storedSize(topic, payload, lane, headers);
    const messageId = number === 0 ? origin : `${origin}.${number}`;
    found.push({ payload: decodePayload(payload), id: messageId, sequence, size, where: 'parked', attempt });
  }
  for (const key of disk.keys('dead/')) {
    const record = unpackRecord(recordKind.dead, key, disk.values.get(key) as Uint8Array);
    if (record.subscription !== name) continue;
    const payload = decodePayload(record.payload as Uint8Array);
    const messageId = record.messageId as string;
    found.push({ payload, id: messageId, sequence: 0, size: 0, where: 'dead', attempt: record.attempts as number });
  }
  return found;
}
