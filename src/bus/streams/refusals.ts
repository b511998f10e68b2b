import type { Clock } from '../../core/clock.ts';
import type { BusError } from '../../core/errors.ts';
import { oneLine } from '../../core/line.ts';
import type { Logger } from '../../core/log.ts';
import { Mentions } from '../../core/mentions.ts';
import { addressOf } from '../../transport/arrivals.ts';

/** What a node refuses to others, by kind. */
export interface RefusalCounts {
  /** Connections that were turned away, or closed for newer ones, because there were too many. */
  connections: number;
  /** Connections that did not prove in time who they are, or were not let in. */
  handshakes: number;
  /** Links and connections that were closed because the other end broke the protocol. */
  protocol: number;
  /** Streams beyond what one link, or one publisher's node, may have open. */
  streams: number;
  /** Requests beyond what one node may have unanswered. */
  requests: number;
  /** What the rules of `access` do not allow: messages, subscriptions, placements and requests. */
  denied: number;
}

/** How many peers it is remembered of when they were written of. */
const most = 1024;

/**
 * Counts what is refused to other nodes, and writes of each of them once a minute: a flood fills neither log nor memory. What
 * is written holds nothing of what was sent but its bounded, printable text.
 */
export class Refusals {
  readonly counts: RefusalCounts = { connections: 0, handshakes: 0, protocol: 0, streams: 0, requests: 0, denied: 0 };
  readonly #clock: Clock;
  readonly #log: Logger;
  /** By address. */
  readonly #written = new Mentions(most);

  constructor(clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @param remote the other end, as a `Connection` names it. */
  add(kind: Exclude<keyof RefusalCounts, 'denied'>, remote: string, reason: BusError): void {
    this.counts[kind]++;
    const suppressed = this.#written.add(addressOf(remote), this.#clock.monotonic());
    if (suppressed === undefined) return;
    const { code, message, cause } = reason;
    const fields = {
      remote,
      refused: kind,
      code,
      reason: oneLine(message),
      // Only where the fault is this node's own.
      ...(code === 'INTERNAL' && cause !== undefined && { err: cause }),
      suppressed,
      ofOthers: this.#written.untold,
    };
    this.#written.untold = 0;
    this.#log.warn(fields, 'refused; what follows from there within a minute is counted only');
  }
}
