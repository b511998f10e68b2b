import { isThenable } from './async.ts';
import type { Logger } from './log.ts';

/**
 * Everything that a bus tells of itself, as one tagged union: listeners, logs and (later) metrics feed on it alike.
 * Events that can come in great numbers bear a `count` and are summed up once a turn of the event loop.
 */
export type BusEvent =
  | { type: 'node.joined'; node: string; incarnation: string }
  | { type: 'node.suspect'; node: string; incarnation: string; reason: string }
  | { type: 'node.down'; node: string; incarnation: string }
  | { type: 'node.left'; node: string; incarnation: string }
  | { type: 'leader.lost'; node: string; reason: string }
  | { type: 'leader.found'; node: string; epoch: string }
  | { type: 'subscription.added'; subscription: string; node: string; pattern: string }
  | { type: 'subscription.removed'; subscription: string; node: string }
  | { type: 'subscription.paused'; subscription: string; reason: string }
  | { type: 'subscription.quarantined'; subscription: string; reason: string }
  /** So many attempts in a row have failed, the first of them at `since`: what the handler needs seems to be away. */
  | { type: 'subscription.probing'; subscription: string; failures: number; since: number }
  /** It hands out messages as ever, `after` milliseconds since the first of so many failures. */
  | { type: 'subscription.recovered'; subscription: string; failures: number; after: number }
  | {
      type: 'message.retried';
      subscription: string;
      id: string;
      topic: string;
      attempt: number;
      delay: number;
      error: Error;
    }
  | {
      type: 'message.dead';
      subscription: string;
      id: string;
      topic: string;
      attempts: number;
      reason: string;
      error: Error;
    }
  | { type: 'message.dropped'; subscription: string; node: string; count: number; reason: DropReason }
  | { type: 'message.expired'; subscription: string; node: string; count: number; reason: ExpiryReason }
  | { type: 'subscription.orphaned'; subscription: string; home: string; waiting: number; since: number }
  | { type: 'store.failed'; folder: string; error: Error }
  | { type: 'store.recovered'; folder: string; after: number }
  /** Messages are not where they should be. The subscription is '' and the rest 0 where it is not known which. */
  | { type: 'store.gap'; subscription: string; from: number; to: number; count: number; reason: string }
  /** An instance of a placement runs; also when it does again after a failure. */
  | { type: 'actor.started'; placement: string; instance: number; node: string; generation: number }
  /** It has ended: stopped, moved, or lost with its node. */
  | { type: 'actor.stopped'; placement: string; instance: number; node: string; generation: number }
  | { type: 'actor.failed'; placement: string; instance: number; node: string; generation: number; reason: string }
  /** Told on the leader: some instances fit nowhere now. Why not, by node. */
  | { type: 'placement.pending'; placement: string; missing: number; reasons: Readonly<Record<string, string>> }
  | { type: 'link.slow'; node: string; waiting: number }
  /**
   * A node wanted what the rules of this one do not allow it: told once a minute for each `what` (a topic, a pattern, a kind, or
   * the name of a request), with how often that was since it was told last.
   */
  | { type: 'access.denied'; node: string; action: AccessAction; what: string; count: number };

/** What a node may be allowed to do. */
export type AccessAction = 'publish' | 'subscribe' | 'spawn' | 'manage';

/** Why a message left without having been handled or kept. */
export type DropReason =
  /** The mailbox was full and its policy drops the oldest. */
  | 'drop-oldest'
  /** The mailbox was full and its policy drops the newest. */
  | 'drop-newest'
  /** A newer message took its place in a mailbox that keeps only the newest. */
  | 'superseded'
  /** Somebody has cleared or pruned the mailbox. */
  | 'cleared'
  /** An emitted message was refused by the mailbox on the other node. */
  | 'refused'
  /** An emitted message waited for a node that did not come back. */
  | 'unreachable'
  /** It waited in a memory mailbox that was closed. */
  | 'closed'
  /** The dead letters were full when the node closed. */
  | 'dead-letters-full';

/** Why a message was not kept any longer. */
export type ExpiryReason =
  /** Its time to live was over. */
  | 'expired'
  /** It had waited longer than its mailbox keeps messages. */
  | 'age';

/** The tag of a {@link BusEvent}. */
export type EventType = BusEvent['type'];
/** The event with a given tag. */
export type EventOf<T extends EventType> = Extract<BusEvent, { type: T }>;
/** Called at once, in the order of registration. What it throws is logged and stops nobody. */
export type EventListener<E extends BusEvent = BusEvent> = (event: E) => unknown;

/** How loud each event is in the log; anything that loses or delays work is a warning. */
const levels: Record<EventType, 'debug' | 'info' | 'warn'> = {
  'node.joined': 'info',
  'node.suspect': 'warn',
  'node.down': 'warn',
  'node.left': 'info',
  'leader.lost': 'warn',
  'leader.found': 'info',
  'subscription.added': 'debug',
  'subscription.removed': 'debug',
  'subscription.paused': 'info',
  'subscription.quarantined': 'warn',
  'subscription.probing': 'warn',
  'subscription.recovered': 'info',
  'message.retried': 'debug',
  'message.dead': 'warn',
  'message.dropped': 'warn',
  'message.expired': 'warn',
  'subscription.orphaned': 'warn',
  'store.failed': 'warn',
  'store.recovered': 'info',
  'store.gap': 'warn',
  'actor.started': 'info',
  'actor.stopped': 'info',
  'actor.failed': 'warn',
  'placement.pending': 'warn',
  'link.slow': 'warn',
  'access.denied': 'warn',
};

/** The events that exist. */
export const eventTypes = Object.freeze(Object.keys(levels)) as readonly EventType[];

/** Hands events to their listeners and to the log. */
export class EventHub {
  #log: Logger;
  readonly #listeners = new Map<EventType | '*', Set<EventListener>>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** From now on it is told here. */
  logTo(log: Logger): void {
    this.#log = log;
  }

  /** @returns a function that ends the listening. */
  on(type: EventType | '*', listener: EventListener): () => void {
    const set = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, set);
    // Wrapped, so that the same function registered twice is called twice and each registration ends on its own.
    const own: EventListener = (event) => listener(event);
    set.add(own);
    return () => {
      set.delete(own);
    };
  }

  emit(event: BusEvent): void {
    const { type, ...about } = event;
    // Nested, because the logger has a `node` of its own: the one that tells.
    this.#log[levels[type]]('error' in about ? { about, err: about.error } : { about }, type);
    this.#tell(this.#listeners.get(type), event);
    this.#tell(this.#listeners.get('*'), event);
  }

  #tell(listeners: Set<EventListener> | undefined, event: BusEvent): void {
    if (listeners === undefined) return;
    for (const listener of [...listeners]) {
      const failed = (error: unknown): void => {
        this.#log.error({ event: event.type, err: error }, 'an event listener threw');
      };
      try {
        const result: unknown = listener(event);
        if (isThenable(result)) result.then(undefined, failed);
      } catch (error) {
        failed(error);
      }
    }
  }
}
