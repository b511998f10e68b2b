import type { Step } from '../../actors/consumer.ts';
import type { DurableMailbox } from '../../actors/durable-mailbox.ts';
import type { Fence } from '../../actors/fences.ts';
import type { Clock } from '../../core/clock.ts';
import { BusError } from '../../core/errors.ts';
import type { Link } from '../streams/link.ts';
import { decodeStaged } from '../streams/staged.ts';
import { ConsumerLink, type Wanted } from './consumer-link.ts';

/** What the home's side of remote consumers needs of its surroundings. */
export interface AttendanceHost {
  readonly node: string;
  readonly origin: string;
  readonly clock: Clock;
  readonly step: Step;
  mailbox(id: string): DurableMailbox | undefined;
  path(node: string): Link | undefined;
  /** The life of a node that is a member now. */
  incarnationOf(node: string): string | undefined;
}

const text = (value: unknown): value is string => typeof value === 'string' && value.length > 0 && value.length <= 1024;
const count = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** How many consumers of one node this one serves. */
const mostConsumers = 10_000;
/** How much of an error's text is kept, in characters. */
const longestError = 10_000;

/** The consumers on other nodes that this node's durable mailboxes have. */
export class Attendance {
  readonly #host: AttendanceHost;
  /** By node and consumer, the present one last; before it those of earlier streams whose handlers still run. */
  readonly #links = new Map<string, ConsumerLink[]>();

  constructor(host: AttendanceHost) {
    this.#host = host;
  }

  /** Answers a request about consumers; undefined when it is none. */
  answer(method: string, params: Readonly<Record<string, unknown>>, source: string): Promise<unknown> | undefined {
    switch (method) {
      case 'consumer.attach':
        return this.#attach(params, source);
      case 'consumer.credit':
        return this.#credit(params, source);
      case 'consumer.exhausted':
        return this.#exhausted(params, source);
      case 'consumer.detach':
        return this.#detach(params, source);
      case 'consumer.settle':
        return this.#settle(params, source);
      default:
        return undefined;
    }
  }

  /** Another link may lead to a node now. */
  relinked(node: string): void {
    const link = this.#host.path(node);
    if (link === undefined) return;
    for (const each of [...this.#links.values()].flat()) if (each.route.node === node) each.move(link);
  }

  /** A node is down: what its consumers held comes back. */
  gone(node: string, incarnation: string): void {
    for (const link of [...this.#links.values()].flat()) {
      if (link.route.node === node && link.route.incarnation === incarnation) link.end();
    }
  }

  async #attach(params: Readonly<Record<string, unknown>>, node: string): Promise<undefined> {
    const { mailbox: id, consumer, credit, newest, timeout, busy, from } = params;
    const fence = fenceOf(params.fence);
    if (
      !text(id) ||
      !text(consumer) ||
      !count(credit) ||
      !count(timeout) ||
      !count(from) ||
      from < 1 ||
      !(Array.isArray(busy) && busy.every(count))
    ) {
      throw wrong('consumer.attach', node);
    }
    const { origin, path, incarnationOf } = this.#host;
    const mailbox = this.#host.mailbox(id);
    if (mailbox === undefined) throw new BusError('NOT_FOUND', `node '${this.#host.node}' has no mailbox ${id}`);
    const link = path(node);
    const incarnation = incarnationOf(node);
    if (link === undefined || incarnation === undefined) {
      throw new BusError('NODE_UNREACHABLE', `node '${node}' cannot be reached`);
    }
    if (fence !== undefined) mailbox.admit(fence);
    const key = `${node}/${consumer}`;
    if (!this.#links.has(key) && this.#countOf(node) >= mostConsumers) {
      throw new BusError('MAILBOX_FULL', `node '${node}' has ${mostConsumers} consumers here already`);
    }
    const running = new Set(busy as number[]);
    const earlier = [...(this.#links.get(key) ?? [])];
    // It may come again before it has seen what an earlier stream brings: no number may mean two deliveries, or begin two streams.
    const first = Math.max(from, ...earlier.map(({ next }) => next + 1));
    for (const each of earlier) each.end(running);
    const { node: source } = this.#host;
    const route = { source, origin, node, incarnation, consumer, timeout: Math.max(1, timeout), from: first, fence };
    const attached: ConsumerLink = new ConsumerLink(mailbox, route, wantedOf(credit, newest), () => {
      const left = (this.#links.get(key) ?? []).filter((other) => other !== attached);
      if (left.length === 0) this.#links.delete(key);
      else this.#links.set(key, left);
    });
    this.#links.set(key, [...(this.#links.get(key) ?? []), attached]);
    // After the answer: the consumer has to know that it is attached before its stream opens.
    this.#host.clock.immediate(() => attached.start(link));
    return undefined;
  }

  async #credit({ consumer, credit, newest }: Readonly<Record<string, unknown>>, node: string): Promise<undefined> {
    if (!text(consumer) || !count(credit)) throw wrong('consumer.credit', node);
    this.#find(consumer, node).ask(wantedOf(credit, newest));
    return undefined;
  }

  /** Answers when a consumer that asks for more would get nothing now, and the number behind all that it was given. */
  async #exhausted({ consumer, credit, newest }: Readonly<Record<string, unknown>>, node: string): Promise<unknown> {
    if (!text(consumer) || !count(credit)) throw wrong('consumer.exhausted', node);
    const link = this.#find(consumer, node);
    link.ask(wantedOf(credit, newest));
    await link.mailbox.exhausted(link, () => link.open);
    return { next: link.next };
  }

  async #detach({ consumer }: Readonly<Record<string, unknown>>, node: string): Promise<undefined> {
    if (!text(consumer)) throw wrong('consumer.detach', node);
    for (const link of [...(this.#links.get(`${node}/${consumer}`) ?? [])]) link.end();
    return undefined;
  }

  async #settle(params: Readonly<Record<string, unknown>>, node: string): Promise<undefined> {
    const { consumer, number, outcome, unfit, error, staged } = params;
    if (!text(consumer) || !count(number) || typeof outcome !== 'string') throw wrong('consumer.settle', node);
    if (outcome === 'back' || outcome === 'unseen') {
      const cut = outcome === 'back';
      for (const link of [...(this.#links.get(`${node}/${consumer}`) ?? [])]) if (link.letGo(number, cut)) break;
      return undefined;
    }
    const link = this.#find(consumer, node);
    const slot = link.slot(number);
    if (slot === undefined) {
      throw new BusError('NOT_FOUND', `delivery ${number} of '${link.mailbox.name}' is not node '${node}''s any more`);
    }
    const { mailbox } = link;
    switch (outcome) {
      case 'ack':
        await this.#step(link, number, Array.isArray(staged) ? staged : [], node);
        return undefined;
      case 'filtered':
        mailbox.tally.filtered++;
        mailbox.ack(slot, false);
        break;
      case 'error':
      case 'permanent':
      case 'payload':
        mailbox.fail(slot, errorOf(error), outcome === 'permanent' && unfit === true ? 'invalid' : outcome);
        break;
      default:
        throw wrong('consumer.settle', node);
    }
    link.done(number);
    return undefined;
  }

  /** What was staged and the settlement, in one commit. */
  #step(link: ConsumerLink, number: number, staged: readonly unknown[], node: string): Promise<void> {
    const now = this.#host.clock.now();
    const messages = staged.map((each) => decodeStaged(each, node, now));
    const slot = link.slot(number);
    if (slot === undefined) throw new BusError('NOT_FOUND', `delivery ${number} is settled already`);
    const output = this.#host.step(messages);
    link.mailbox.ack(slot);
    link.done(number);
    return new Promise((done) => {
      link.mailbox.journal.whenCommitted({
        committed: () => {
          output.committed();
          done();
        },
        failed: () => {
          // It is written when the store is back, with its settlement.
          output.failed();
          done();
        },
      });
    });
  }

  #countOf(node: string): number {
    let count = 0;
    for (const key of this.#links.keys()) if (key.startsWith(`${node}/`)) count++;
    return count;
  }

  #find(consumer: string, node: string): ConsumerLink {
    const link = this.#links.get(`${node}/${consumer}`)?.at(-1);
    if (link === undefined) throw new BusError('NOT_FOUND', `node '${node}' has no consumer ${consumer} here`);
    return link;
  }
}

function fenceOf(given: unknown): Fence | undefined {
  const { key, generation } = (given ?? {}) as { key?: unknown; generation?: unknown };
  return text(key) && count(generation) ? { key, generation } : undefined;
}

function wantedOf(credit: number, newest: unknown): Wanted {
  return { credit, newest: newest === true };
}

function errorOf(given: unknown): Error {
  const { name, message } = (given ?? {}) as { name?: unknown; message?: unknown };
  const error = new Error(typeof message === 'string' ? message.slice(0, longestError) : 'the handler failed');
  if (typeof name === 'string') error.name = name.slice(0, 100);
  return error;
}

function wrong(method: string, node: string): BusError {
  return new BusError('PROTOCOL_ERROR', `node '${node}' has sent a '${method}' that makes no sense`);
}
