import assert from 'node:assert/strict';
import type { Bus } from '../bus/bus.ts';
import { subscribe } from '../bus/decorators.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Message } from '../core/message.ts';

/** What a call of a verb meets. */
export interface VerbContext {
  readonly bus: Bus;
  /** Another node of its cluster. */
  readonly other: string | undefined;
  /** Whether durable subscriptions can be made. */
  readonly stores: boolean;
  /** Whether the node has a folder of its own. */
  readonly hasFolder: boolean;
  /** A name that was not used before. */
  name(): string;
}

/**
 * What becomes of a verb when its bus closes. `work`: refused with `CLOSED` from `close()` on. `care`: what looks into the bus or
 * looks after what it keeps goes on until it has closed, and is then `CLOSED`. `always`: answers for ever.
 */
export type VerbClass = 'work' | 'care' | 'always';

/** A public verb of a bus, and what it does. */
export interface Verb {
  readonly name: string;
  readonly class: VerbClass;
  /** Throws, where others give a promise that rejects. */
  readonly sync?: true;
  readonly call: (context: VerbContext) => unknown;
  /** How it ends while the bus is open. @default it succeeds */
  readonly open?: (context: VerbContext) => ErrorCode | 'ok';
  /** Looks at its result. */
  readonly look?: (result: unknown, context: VerbContext) => void;
}

/** Where everything that the suite publishes goes: to one subscription in memory that is always there. */
export const topic = 'suite.topic';
/** The durable subscription that is there where there can be any. */
export const kept = 'suite-kept';
/** The kind that is defined. */
export const kind = 'suite-kind';

class Decorated {
  readonly #seen: Message[] = [];

  @subscribe('suite\\.decorated')
  take(message: Message): void {
    this.#seen.push(message);
  }
}

const stored = ({ stores }: VerbContext): ErrorCode | 'ok' => (stores ? 'ok' : 'STORE_REQUIRED');
const found = ({ stores }: VerbContext): ErrorCode | 'ok' => (stores ? 'ok' : 'NOT_FOUND');
const reached = ({ other }: VerbContext): ErrorCode | 'ok' => (other === undefined ? 'NODE_UNREACHABLE' : 'ok');
const missing = (): ErrorCode => 'NOT_FOUND';

const receipts = (result: unknown): void => {
  for (const receipt of [result].flat()) assert.equal((receipt as { matched: number }).matched, 1);
};
const list = (result: unknown): void => assert.ok(Array.isArray(result));
const ended = (result: unknown): void => {
  assert.equal(typeof result, 'function');
  (result as () => void)();
};

const sending: Verb[] = [
  {
    name: 'emit()',
    class: 'work',
    sync: true,
    call: ({ bus }) => bus.emit(topic, 1),
    look: (took) => assert.equal(took, true),
  },
  { name: 'publish()', class: 'work', call: ({ bus }) => bus.publish(topic, 1), look: receipts },
  {
    name: 'publishMany()',
    class: 'work',
    call: ({ bus }) => bus.publishMany([1, 2].map((payload) => ({ topic, payload }))),
    look: receipts,
  },
  {
    name: 'publishModelEvent()',
    class: 'work',
    call: ({ bus }) => bus.publishModelEvent('suite', 'topic', { id: 1 }),
    look: receipts,
  },
];

const receiving: Verb[] = [
  {
    name: 'subscribe()',
    class: 'work',
    call: async ({ bus, name }) => (await bus.subscribe('suite\\.x', () => {}, { name: name() })).close(),
  },
  {
    name: 'subscribe({ durable })',
    class: 'work',
    call: async ({ bus, name }) => (await bus.subscribe('suite\\.x', null, { name: name(), durable: true })).close(),
    open: stored,
  },
  {
    name: 'consume()',
    class: 'work',
    call: async ({ bus }) => {
      const consumption = bus.consume('suite\\.x');
      await consumption.ready;
      await consumption.close();
    },
  },
  {
    name: 'register()',
    class: 'work',
    call: async ({ bus }) => {
      for (const subscription of await bus.register(new Decorated())) await subscription.close();
    },
  },
  { name: 'receive()', class: 'work', call: ({ bus }) => bus.receive(kept, { timeout: 20 }), open: found },
  { name: 'receiveLatest()', class: 'work', call: ({ bus }) => bus.receiveLatest(kept, { timeout: 20 }), open: found },
  { name: 'front()', class: 'work', call: ({ bus }) => bus.front(kept), open: found },
  {
    name: 'unsubscribe()',
    class: 'care',
    call: ({ bus }) => bus.unsubscribe('suite-nobody'),
    open: missing,
  },
];

const placing: Verb[] = [
  {
    name: 'spawn()',
    class: 'work',
    call: async ({ bus }) => {
      const placement = await bus.spawn(kind, { pinned: [bus.node] });
      await placement.stop();
    },
  },
  { name: 'explainPlacement()', class: 'work', call: ({ bus }) => bus.explainPlacement(kind), look: list },
  { name: 'placements.rebalance()', class: 'work', call: ({ bus }) => bus.placements.rebalance(), look: list },
  {
    name: 'placements.drain()',
    class: 'work',
    call: async ({ bus }) => {
      await bus.placements.drain(bus.node);
      await bus.placements.drain(bus.node, { undo: true });
    },
  },
  { name: 'placements.nodes()', class: 'care', call: ({ bus }) => bus.placements.nodes(), look: list },
  { name: 'placements.list()', class: 'always', sync: true, call: ({ bus }) => bus.placements.list(), look: list },
  { name: 'placements.get()', class: 'always', sync: true, call: ({ bus }) => bus.placements.get('suite-nobody') },
  {
    name: 'capabilities =',
    class: 'work',
    sync: true,
    call: ({ bus }) => {
      bus.capabilities = { suite: true };
    },
  },
  {
    name: 'handlers.define()',
    class: 'always',
    sync: true,
    call: ({ bus, name }) => bus.handlers.define(name(), () => ({})),
  },
  {
    name: 'promote()',
    class: 'work',
    call: ({ bus }) => bus.promote('suite-nobody', { timeout: 200 }),
    open: ({ other }) => (other === undefined ? 'OPTION_INVALID' : 'NODE_UNREACHABLE'),
  },
];

const keeping: Verb[] = [
  { name: 'deadLetters.list()', class: 'care', call: ({ bus }) => bus.deadLetters.list(), look: list },
  { name: 'deadLetters.groups()', class: 'care', call: ({ bus }) => bus.deadLetters.groups(), look: list },
  { name: 'deadLetters.get()', class: 'care', call: ({ bus }) => bus.deadLetters.get('nope'), open: missing },
  { name: 'deadLetters.replay()', class: 'care', call: ({ bus }) => bus.deadLetters.replay(['nope']), open: missing },
  { name: 'deadLetters.drop()', class: 'care', call: ({ bus }) => bus.deadLetters.drop(['nope']), open: missing },
  {
    name: 'deadLettersOf().list()',
    class: 'care',
    call: ({ bus, other = 'suite-nobody' }) => bus.deadLettersOf(other).list(),
    open: reached,
  },
  { name: 'mailboxes.list()', class: 'care', call: ({ bus }) => bus.mailboxes.list(), look: list },
  { name: 'mailboxes.stats()', class: 'care', call: ({ bus }) => bus.mailboxes.stats(kept), open: found },
  { name: 'mailboxes.peek()', class: 'care', call: ({ bus }) => bus.mailboxes.peek(kept), open: found },
  { name: 'mailboxes.clear()', class: 'care', call: ({ bus }) => bus.mailboxes.clear(kept), open: found },
  { name: 'mailboxes.prune()', class: 'care', call: ({ bus }) => bus.mailboxes.prune(kept), open: found },
  {
    name: 'mailboxes.add() and remove()',
    class: 'care',
    call: async ({ bus, name }) => {
      const { name: full } = await bus.mailboxes.add({ name: name(), pattern: 'suite\\.x' });
      await bus.mailboxes.remove(full);
    },
    open: stored,
  },
  {
    name: 'backup()',
    class: 'care',
    call: ({ bus, name }) => bus.backup(name()),
    open: ({ hasFolder }) => (hasFolder ? 'ok' : 'STORE_REQUIRED'),
  },
];

const seeing: Verb[] = [
  {
    name: 'watch()',
    class: 'work',
    sync: true,
    call: ({ bus }) => bus.watch({ node: bus.node }, () => {}),
    look: ended,
  },
  { name: 'follow()', class: 'work', call: ({ bus }) => bus.follow(() => {}), look: ended },
  { name: 'on()', class: 'always', sync: true, call: ({ bus }) => bus.on('*', () => {}), look: ended },
  { name: 'explain()', class: 'always', sync: true, call: ({ bus }) => bus.explain(topic) },
  {
    name: 'status()',
    class: 'always',
    call: ({ bus }) => bus.status(),
    look: (status, { bus }) => assert.equal((status as { state: string }).state, bus.state),
  },
  {
    name: 'status({ node })',
    class: 'care',
    call: ({ bus, other = 'suite-nobody' }) => bus.status({ node: other }),
    open: reached,
    look: (status, { other }) => assert.equal((status as { node: string }).node, other),
  },
];

/** Every verb but `drain()` and `close()`, which have tests of their own. */
export const verbs: readonly Verb[] = [...sending, ...receiving, ...placing, ...keeping, ...seeing];
