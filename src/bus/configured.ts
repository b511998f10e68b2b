import { BusError, describe } from '../core/errors.ts';
import type { MailboxDefinition } from './durable/mailbox-control.ts';
import { type BusConfig, loadConfig } from './options/config.ts';
import type { BusOptions } from './options/options.ts';

/** The options of a bus, those of its file included, and what is to be declared when it is open. */
export interface Configured {
  readonly options: BusOptions | undefined;
  readonly subscriptions: readonly MailboxDefinition[];
}

/** Reads the file that the options name; what is given beside it counts. @throws {BusError} as `loadConfig()`. */
export async function configured(given: BusOptions | undefined): Promise<Configured> {
  if (given?.config === undefined) return { options: given, subscriptions: [] };
  const { config, ...rest } = given;
  if (typeof config !== 'string' || config === '') {
    throw new BusError('OPTION_INVALID', `config ${describe(config)} must be the path of a file`);
  }
  const { bus, subscriptions } = await loadConfig(config);
  const own = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { options: { ...bus, ...own }, subscriptions: definitionsOf(subscriptions) };
}

/** The subscriptions of a file, as `mailboxes.add()` takes them. */
export function definitionsOf(subscriptions: BusConfig['subscriptions']): MailboxDefinition[] {
  return subscriptions.map(({ pattern, options: { durable: _, ...rest } }) => ({ ...rest, pattern }));
}
