// A node in a process of its own, of the build whose entry module is named: does what its parent asks for.
import { pathToFileURL } from 'node:url';
import type { Bus } from '../../src/bus/bus.ts';
import type { BusOptions } from '../../src/bus/options/options.ts';
import type { PublishOptions } from '../../src/bus/options/publish-options.ts';
import type { SpawnOptions } from '../../src/bus/options/spawn-options.ts';
import type { SubscriptionOptions } from '../../src/bus/options/subscription-options.ts';
import type { BusEvent } from '../../src/core/events.ts';
import { LogBook } from '../core/testbed.ts';

const [entry = ''] = process.argv.slice(2);
const { createBus } = (await import(pathToFileURL(entry).href)) as { createBus(options: BusOptions): Promise<Bus> }; // of either build

let bus: Bus | undefined;
const log = new LogBook();
const events: BusEvent[] = [];
/** What handlers have got, by the name of their subscription. */
const heard = new Map<string, unknown[]>();
const waiting = new Set<() => void>();

function opened(): Bus {
  if (bus === undefined) throw new Error('the bus is not open');
  return bus;
}

function changed(): void {
  for (const look of [...waiting]) look();
}

function hear(name: string, payload: unknown): void {
  heard.set(name, [...(heard.get(name) ?? []), payload]);
  changed();
}

/** Resolves with what `look` finds, as soon as it finds something. */
function until<T>(look: () => T | undefined): Promise<T> {
  return new Promise((done) => {
    const again = (): void => {
      const found = look();
      if (found === undefined) return;
      waiting.delete(again);
      done(found);
    };
    waiting.add(again);
    again();
  });
}

const methods = {
  open: async (options: BusOptions) => {
    bus = await createBus({ logger: log, ...options });
    bus.on('*', (event) => {
      events.push(event);
      changed();
    });
    return bus.address;
  },
  subscribe: async (pattern: string, name: string, options: SubscriptionOptions = {}) => {
    await opened().subscribe(pattern, ({ payload }) => hear(name, payload), { name, ...options });
  },
  collect: async (pattern: string, name: string) => {
    await opened().subscribe(pattern, null, { name, durable: true });
  },
  publish: (topic: string, payload: unknown, options: PublishOptions = {}) => opened().publish(topic, payload, options),
  publishMany: async (topic: string, payloads: unknown[]) =>
    (await opened().publishMany(payloads.map((payload) => ({ topic, payload })))).length,
  receive: async (name: string) => {
    const taken: unknown[] = [];
    await opened().receive(name, { timeout: 10_000 }, ({ payload }) => void taken.push(payload));
    return taken;
  },
  /** What a subscription has got, when that is so many. */
  heard: (name: string, count: number) =>
    until(() => {
      const list = heard.get(name) ?? [];
      return list.length >= count ? list : undefined;
    }),
  /** How often something was logged. */
  logged: (text: string) => log.lines.filter((line) => line.text.includes(text)).length,
  /** An event that has been or is still to come. */
  saw: (type: string, node: string) =>
    until(() => events.find((event) => event.type === type && 'node' in event && event.node === node)),
  explain: (topic: string) => opened().explain(topic),
  status: (node?: string) => opened().status(node === undefined ? {} : { node }),
  define: (kind: string) => {
    opened().handlers.define(kind, () => ({}));
  },
  spawn: async (kind: string, options: SpawnOptions = {}) => (await opened().spawn(kind, options)).info,
  explainPlacement: (kind: string) => opened().explainPlacement(kind),
  placements: () => opened().placements.list(),
  nodes: () => opened().placements.nodes(),
  promote: (node: string) => opened().promote(node, { timeout: 2000 }),
  close: () => opened().close({ timeout: 5000 }),
};

/** What can be asked for. */
export type Methods = typeof methods;

process.on('message', async (message) => {
  const { id, method, args } = message as { id: number; method: keyof Methods; args: unknown[] }; // the parent sends nothing else
  try {
    const call = methods[method] as (...args: unknown[]) => unknown; // Methods has typed the arguments
    process.send?.({ id, result: await call(...args) });
  } catch (thrown) {
    const { name, message: text, code } = thrown as Error & { code?: string };
    process.send?.({ id, error: { name, message: text, ...(code !== undefined && { code }) } });
  }
});
process.on('disconnect', () => process.exit(0));
process.send?.({ id: 0 });
