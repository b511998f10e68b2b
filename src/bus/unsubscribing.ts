import { checkFlag, checkKnown, checkObject } from '../core/checks.ts';
import { BusError } from '../core/errors.ts';
import { checkName } from '../core/topic.ts';
import { type UnsubscribeOptions, waitOf } from './consuming/subscription.ts';
import { checkFullName } from './options/subscription-options.ts';
import type { Wiring } from './wiring.ts';

/** How long another node may take to answer beside the time that it is given, in milliseconds. */
const answerTime = 10_000;

/** Removes a subscription by its name, wherever it is. @throws {BusError} as `bus.unsubscribe()`. */
export async function unsubscribe(wiring: Wiring, name: string, options: UnsubscribeOptions): Promise<void> {
  wiring.checkOpen();
  const { node: own } = wiring.options;
  checkObject('unsubscribe()', options);
  checkKnown('unsubscribe()', options, ['node', 'timeout', 'discard', 'lost']);
  const { node = own, discard = false, lost = false, ...rest } = options;
  checkFlag('discard', discard);
  checkFlag('lost', lost);
  checkName('node', node);
  checkFullName(name, true);
  const timeout = waitOf('unsubscribe()', rest);
  if (lost && typeof name === 'string') {
    if (await wiring.storehouse.durables.lose(name)) return;
    throw new BusError('NOT_FOUND', `there is no durable subscription '${name}'`);
  }
  if (node === own && !wiring.subscriptions.has(name) && (await wiring.storehouse.durables.remove(name, discard)))
    return;
  checkName('subscription', name);
  if (node === own) await wiring.subscriptions.remove(name, timeout);
  else await wiring.ask(node, 'unsubscribe', { name, timeout }, timeout + answerTime);
}
