import { unpackDefinition } from '../../src/bus/options/definition.ts';
import type { Message } from '../../src/core/message.ts';
import { openFolder } from '../../src/storage/folder.ts';
import { type Recovered, recover } from '../../src/storage/recovery.ts';
import { readMessages, readSegment } from '../../src/storage/segment.ts';
import { prefixRange, type Store } from '../../src/storage/store.ts';

/** A durable mailbox in the folder of a process that has ended. */
export interface Found {
  readonly recovered: Recovered;
  /** What its segments hold, in the order in which it entered: everything that ever did, when nothing has been settled. */
  readonly messages: readonly Message[];
  /** Those of them that have not been settled; what is parked is not among them. */
  readonly left: readonly Message[];
}

/** What the folder of a process that has ended holds. */
export interface Contents {
  /** By full name. */
  readonly mailboxes: ReadonlyMap<string, Found>;
  /** By key. */
  readonly spools: ReadonlyMap<string, Found>;
  readonly dead: number;
}

/** Reads a node's data folder. @param wanted of which mailboxes the messages are read. */
export async function readContents(dataDir: string, wanted: readonly string[]): Promise<Contents> {
  const { store } = await openFolder(`${dataDir}/store`);
  try {
    const mailboxes = new Map<string, Found>();
    const spools = new Map<string, Found>();
    for await (const [key, value] of store.scan(prefixRange('box/'))) {
      const { id, name } = unpackDefinition(key, value);
      mailboxes.set(name, await find(store, id, wanted.includes(name)));
    }
    for await (const [key] of store.scan(prefixRange('ob/'))) spools.set(key, await find(store, key.slice(3), true));
    let dead = 0;
    for await (const _ of store.scan(prefixRange('dead/'))) dead++;
    return { mailboxes, spools, dead };
  } finally {
    await store.close();
  }
}

async function find(store: Store, id: string, whole: boolean): Promise<Found> {
  const recovered = await recover(store, id, Date.now(), false);
  const { head, partials } = recovered.state;
  const messages: Message[] = [];
  const left: Message[] = [];
  if (whole) {
    for await (const [key, value] of store.scan(prefixRange(`sg/${id}/`))) {
      const record = readSegment(key, value);
      if (record.kind !== 'segment') continue;
      const all = readMessages(key, record);
      messages.push(...all);
      if (record.first < head) continue;
      const bits = partials.find(({ first }) => first === record.first)?.left;
      left.push(...all.filter((_, i) => bits === undefined || ((bits[i >> 3] ?? 0) & (1 << (i & 7))) === 0));
    }
  }
  return { recovered, messages, left };
}
