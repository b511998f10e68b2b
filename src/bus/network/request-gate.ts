import { type Pattern, patternFromWire } from '../../routing/pattern.ts';
import type { Gate } from '../streams/gate.ts';

/** What must be known of this node to judge a request. */
export interface RequestGateHost {
  /** The pattern of a durable mailbox of this node, by its name or id. */
  patternOf(mailbox: { readonly name: string } | { readonly id: string }): Pattern | undefined;
  /** The kind that a placement is of. */
  kindOf(placement: string): string | undefined;
}

type Params = Readonly<Record<string, unknown>>;

/**
 * Judges a request of another node. What is about its own consumers is judged when they attach; what names nothing that is
 * here is let through, to be answered with that.
 *
 * @throws {BusError} `DENIED`, `PATTERN_INVALID`.
 */
export function judgeRequest(gate: Gate, host: RequestGateHost, method: string, given: Params, source: string): void {
  switch (method) {
    case 'durable.reserve':
      // Earlier builds do not say the pattern: it is judged when the mailbox is announced.
      if (given.pattern !== undefined) gate.checkSubscribe(source, patternFromWire(given.pattern));
      return;
    case 'durable.declare':
      gate.checkSubscribe(source, patternFromWire(given.pattern));
      return;
    case 'consumer.attach':
      judgeMailbox(gate, source, host.patternOf({ id: String(given.mailbox) }));
      return;
    case 'mailbox.front':
    case 'mailbox.supersede':
    case 'mailbox.drain':
      judgeMailbox(gate, source, host.patternOf({ name: String(given.name) }));
      return;
    case 'consumer.settle':
      for (const each of Array.isArray(given.staged) ? given.staged : []) {
        const { topic } = (each ?? {}) as { topic?: unknown };
        if (typeof topic === 'string') gate.check(source, 'publish', topic);
      }
      return;
    case 'consumer.credit':
    case 'consumer.exhausted':
    case 'consumer.detach':
      return;
    case 'placement.spawn':
    case 'placement.explain': {
      const { kind } = (given.spec ?? {}) as { kind?: unknown };
      gate.check(source, 'spawn', String(kind));
      // An instance is subscribed wherever it runs: whoever has it made decides to what.
      return;
    }
    case 'placement.tell':
    case 'placement.stop':
    case 'placement.revoke': {
      const kind = host.kindOf(String(given.name));
      if (kind !== undefined) gate.check(source, 'spawn', kind);
      return;
    }
    default:
      gate.check(source, 'manage', method);
  }
}

function judgeMailbox(gate: Gate, source: string, pattern: Pattern | undefined): void {
  if (pattern !== undefined) gate.checkSubscribe(source, pattern);
}
