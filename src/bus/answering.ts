import { BusError, describe } from '../core/errors.ts';
import { checkName } from '../core/topic.ts';
import { answerDeadLetters } from './durable/dead-letter-requests.ts';
import type { MailboxControl } from './durable/mailbox-control.ts';
import { backUp } from './durable/store-source.ts';
import type { Storehouse } from './durable/storehouse.ts';
import type { Network } from './network/network.ts';
import type { Promotion } from './network/promotion.ts';
import { judgeRequest } from './network/request-gate.ts';
import type { ResolvedOptions } from './options/options.ts';
import type { Spawning } from './placement/spawning.ts';
import { type BusStatus, brief } from './status.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { EventFeed } from './watching/event-feed.ts';

/** The parts of a bus that other nodes may ask something of. */
export interface Answering {
  readonly options: ResolvedOptions;
  readonly storehouse: Storehouse;
  readonly network: Pick<Network, 'gate'> | undefined;
  readonly spawning: Spawning;
  readonly promotion: Promotion;
  readonly mailboxes: MailboxControl;
  readonly feed: EventFeed;
  readonly subscriptions: Subscriptions;
  status(): BusStatus;
}

/** Answers a request of another node. @throws {BusError} `DENIED`, `PROTOCOL_ERROR`, and what it comes to: that is the answer then. */
export async function answerRequest(bus: Answering, method: string, params: unknown, source: string): Promise<unknown> {
  const given = (params ?? {}) as Readonly<Record<string, unknown>>;
  const { gate } = bus.network ?? {};
  if (gate !== undefined) {
    const { mailboxes } = bus.storehouse;
    const patternOf = (mailbox: { name?: string; id?: string }) =>
      (mailbox.id === undefined ? mailboxes.get(mailbox.name ?? '') : mailboxes.byId(mailbox.id))?.route.pattern;
    const kindOf = (placement: string) => bus.spawning.table.entry(placement)?.spec.kind;
    judgeRequest(gate, { patternOf, kindOf }, method, given, source);
  }
  const answer =
    bus.storehouse.answer(method, params, source) ??
    bus.spawning.answer(method, given, source) ??
    bus.promotion.answer(method, given, source);
  if (answer !== undefined) return answer;
  if (method.startsWith('mailbox.')) return bus.mailboxes.answer(method, params);
  if (method.startsWith('dlq.')) return answerDeadLetters(bus.storehouse.deadLetters, method, params);
  switch (method) {
    case 'status':
      return brief(bus.status());
    case 'events':
      return bus.feed.answer(params);
    case 'store.backup': {
      const { name } = given;
      checkName('backup', name);
      return backUp(bus.storehouse.admin.commits.store, bus.options.dataDir, name);
    }
    case 'unsubscribe': {
      const { name, timeout } = given;
      checkName('subscription', name);
      await bus.subscriptions.remove(name, typeof timeout === 'number' ? timeout : 0);
      return undefined;
    }
    default:
      throw new BusError('PROTOCOL_ERROR', `node '${bus.options.node}' knows no request ${describe(method)}`);
  }
}
