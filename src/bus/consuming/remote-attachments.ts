import type { Fence } from '../../actors/fences.ts';
import { FilterChain } from '../../actors/filters.ts';
import type { Handler } from '../../actors/subscriber-options.ts';
import type { Worker, WorkerOptions } from '../../actors/worker.ts';
import { hexOf } from '../../core/hex.ts';
import type { DurableEntry } from '../../wire/frame.ts';
import type { ResolvedSubscription } from '../options/subscription-options.ts';
import { PulledConsumer } from './pulled-consumer.ts';
import { RemoteAttachment, type RemoteAttachmentHost } from './remote-attachment.ts';
import { RemoteConsumer, type RemoteConsumerOptions } from './remote-consumer.ts';

type Working = Pick<ResolvedSubscription, 'concurrency' | 'timeout'>;

/** What the attachments to mailboxes of other nodes need of their surroundings. */
export interface RemoteAttachmentsHost extends Omit<RemoteAttachmentHost, 'ended'> {
  /** What a worker is told at its start. */
  working(name: string, mailbox: string, handler: Handler, options: Working): WorkerOptions;
  /** Gives a worker its actor. */
  employ(worker: Worker, name: string): Promise<void>;
}

/** How long the home of a mailbox may take to answer beside the time of an attempt, in milliseconds. */
const answerTime = 10_000;

/** The durable subscriptions of this node whose homes are other nodes. */
export class RemoteAttachments {
  readonly #host: RemoteAttachmentsHost;
  readonly #all = new Map<string, RemoteAttachment>();
  /** Those that `receive()` asks for messages. */
  readonly #pulled = new Set<RemoteAttachment>();

  constructor(host: RemoteAttachmentsHost) {
    this.#host = host;
  }

  [Symbol.iterator](): Iterator<RemoteAttachment> {
    return this.#all.values();
  }

  /** Those that handlers of this node work off; not those that are pulled from. */
  get consumed(): RemoteAttachment[] {
    return [...this].filter((each) => each.consumer !== undefined && !this.#pulled.has(each));
  }

  /** Attaches a handler to a mailbox of another node; null only collects. */
  async attach(entry: DurableEntry, handler: Handler | null, options: ResolvedSubscription): Promise<RemoteAttachment> {
    const { credit = options.concurrency } = options;
    const attachment = this.#make(entry, credit, options.timeout, options.fence);
    if (handler !== null) await attachment.start(await this.#consume(attachment, handler, options, RemoteConsumer));
    return attachment;
  }

  /** Attaches a handler that is given as many messages as are asked for. Not started yet. */
  async pull(
    entry: DurableEntry,
    handler: Handler,
    timeout: number,
  ): Promise<{ attachment: RemoteAttachment; consumer: PulledConsumer }> {
    const attachment = this.#make(entry, 0, timeout);
    const options = { concurrency: 0, timeout, filters: new FilterChain() };
    const consumer = await this.#consume(attachment, handler, options, PulledConsumer);
    this.#pulled.add(attachment);
    void attachment.closed.then(() => this.#pulled.delete(attachment));
    return { attachment, consumer };
  }

  /** A node can be reached: its mailboxes may take their consumers. */
  relinked(node: string): void {
    for (const attachment of this) {
      if (attachment.entry.home === node) attachment.connect().catch(() => undefined); // it tries again by itself
    }
  }

  /** A subscription is removed, or has another home: who is attached to the old one has nothing to wait for. */
  unregistered(entry: DurableEntry): void {
    for (const attachment of [...this]) if (attachment.entry.id === entry.id) void attachment.close(0);
  }

  /** The consumer that a stream of deliveries is for. */
  receiver(consumer: string): RemoteConsumer | undefined {
    return this.#all.get(consumer)?.consumer;
  }

  #make(entry: DurableEntry, credit: number, timeout: number, fence?: Fence): RemoteAttachment {
    const { clock, log } = this.#host;
    const id = hexOf(clock.randomBytes(8));
    const host: RemoteAttachmentHost = {
      clock,
      log,
      ask: (node, method, params, time) => this.#host.ask(node, method, params, time),
      reachable: (node) => this.#host.reachable(node),
      asking: this.#host.asking,
      ended: () => this.#all.delete(id),
    };
    const attachment = new RemoteAttachment(host, entry, id, credit, timeout, fence);
    this.#all.set(id, attachment);
    return attachment;
  }

  async #consume<C extends RemoteConsumer>(
    attachment: RemoteAttachment,
    handler: Handler,
    options: Working & Pick<ResolvedSubscription, 'filters'>,
    Kind: new (options: RemoteConsumerOptions) => C,
  ): Promise<C> {
    const { ask, working, employ } = this.#host;
    const { entry, id } = attachment;
    const consumer = new Kind({
      ...working(entry.name, entry.id, handler, options),
      consumer: id,
      filters: options.filters,
      settle: async (settlement) => {
        await ask(entry.home, 'consumer.settle', settlement, options.timeout + answerTime);
      },
      most: () => attachment.most,
      credit: (credit) => {
        attachment.wanted = { credit, newest: false };
      },
      ended: () => attachment.unlinked(),
      closed: () => attachment.end(),
    });
    try {
      await employ(consumer, entry.name);
    } catch (error) {
      attachment.end();
      throw error;
    }
    return consumer;
  }
}
