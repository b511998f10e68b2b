import type { Handler } from '../../actors/subscriber-options.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { PulledConsumer } from '../consuming/pulled-consumer.ts';
import type { Front, PullSource, PullWorker } from '../consuming/receiving.ts';
import type { RemoteAttachment } from '../consuming/remote-attachment.ts';
import { decodeStaged, encodeStaged, type StagedRecord } from '../streams/staged.ts';
import type { Durables } from './durables.ts';

/** How long the home may take to look, and to go over a whole mailbox, in milliseconds. */
const answerTime = { look: 10_000, sweep: 300_000 };

/** What `front` on another node answers. */
interface FrontRecord {
  readonly message: StagedRecord;
  readonly source: string;
  readonly attempt: number;
  readonly fresh: boolean;
}

/** Pulls from a durable mailbox of another node. */
export class RemotePull implements PullSource {
  readonly timeout: number;
  readonly #entry: DurableEntry;
  readonly #durables: Durables;
  readonly #clock: Clock;
  readonly #ask: (node: string, method: string, params: unknown, timeout: number) => Promise<unknown>;

  constructor(
    entry: DurableEntry,
    durables: Durables,
    clock: Clock,
    ask: (node: string, method: string, params: unknown, timeout: number) => Promise<unknown>,
  ) {
    this.#entry = entry;
    this.#durables = durables;
    this.#clock = clock;
    this.#ask = ask;
    this.timeout = durables.timeoutOf(entry.name);
  }

  get id(): string {
    return this.#entry.id;
  }

  get name(): string {
    return this.#entry.name;
  }

  async open(handler: Handler): Promise<PullWorker> {
    return new RemoteWorker(await this.#durables.remotes.pull(this.#entry, handler, this.timeout));
  }

  async supersede(): Promise<void> {
    const { home, name } = this.#entry;
    await this.#ask(home, 'mailbox.supersede', { name }, answerTime.sweep);
  }

  async front(): Promise<Front | null> {
    const { home, name } = this.#entry;
    const found = (await this.#ask(home, 'mailbox.front', { name }, answerTime.look)) as FrontRecord | null; // frontRecord()
    if (found === null || found === undefined) return null;
    const { message, source, attempt, fresh } = found;
    return { message: decodeStaged(message, source, this.#clock.now()), attempt, fresh };
  }
}

/** What the home of a mailbox answers to `front`. */
export function frontRecord(found: Front | null): FrontRecord | null {
  if (found === null) return null;
  const { message, attempt, fresh } = found;
  return { message: encodeStaged(message), source: message.source, attempt, fresh };
}

class RemoteWorker implements PullWorker {
  readonly #attachment: RemoteAttachment;
  readonly #consumer: PulledConsumer;
  readonly #attached: Promise<void>;

  constructor({ attachment, consumer }: { attachment: RemoteAttachment; consumer: PulledConsumer }) {
    this.#attachment = attachment;
    this.#consumer = consumer;
    this.#attached = attachment.start(consumer);
  }

  ask(demand: number, newest: boolean): void {
    this.#attachment.wanted = { credit: demand, newest };
    this.#consumer.want(demand);
  }

  get closed(): Promise<void> {
    return this.#attachment.closed;
  }

  async exhausted(waits: () => boolean): Promise<void> {
    await this.#attached;
    if (!waits()) return;
    const { name, home } = this.#attachment.entry;
    let answer: unknown;
    try {
      answer = await this.#attachment.exhausted(waits);
    } catch (cause) {
      const text = `whether '${name}' has a message is not known: its home '${home}' cannot be asked`;
      throw new BusError('NODE_UNREACHABLE', text, { cause });
    }
    const { next } = (answer ?? {}) as { next?: unknown };
    await this.#consumer.caught(typeof next === 'number' ? next : 0, waits);
  }

  close(timeout: number): Promise<void> {
    return this.#attachment.close(timeout);
  }
}
