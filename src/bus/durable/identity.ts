import { BusError } from '../../core/errors.ts';
import { packRecord, recordKind, unpackRecord } from '../../storage/record.ts';
import type { Store } from '../../storage/store.ts';

const key = 'node';

/** Who a node is: fixed by its store. */
export interface Identity {
  readonly node: string;
  /** How often it has been started, this time included. */
  readonly starts: number;
}

/**
 * Takes the identity that a store holds, or gives it one, and counts the start.
 *
 * @param given the name that was asked for.
 * @param fallback makes one up.
 * @throws {BusError} `OPTION_INVALID` when the store belongs to a node of another name.
 */
export async function identify(store: Store, given: string | undefined, fallback: () => string): Promise<Identity> {
  const value = await store.get(key);
  const known = value === undefined ? undefined : (unpackRecord(recordKind.node, key, value) as unknown as Identity);
  if (known !== undefined && given !== undefined && known.node !== given) {
    throw new BusError(
      'OPTION_INVALID',
      `node '${given}': the data folder belongs to node '${known.node}'; leave 'node' out, or give another dataDir`,
    );
  }
  const identity = { node: known?.node ?? given ?? fallback(), starts: (known?.starts ?? 0) + 1 };
  await store.write([{ type: 'put', key, value: packRecord(recordKind.node, identity) }], true);
  return identity;
}
