import { createBus } from '../../src/index.ts';
import { silent } from '../quiet.ts';
import { type Done, Pair } from './consumers.ts';

// A process with a pair of consumers, which does what its parent says.

const bus = await createBus({ node: 'consumers', leader: process.argv[2] ?? '', logger: silent });
let pair: Pair | undefined;

async function obey(order: { open?: string; alone?: true; close?: true; memory?: boolean }): Promise<Done | undefined> {
  if ('open' in order) pair = await Pair.of(bus, order.open as Parameters<typeof Pair.of>[1]);
  else if (order.alone === true) pair = await Pair.of(bus, undefined);
  else if (order.close === true) await pair?.close();
  else return pair?.done(order.memory === true);
  return undefined;
}

process.on('message', (order: object) => {
  obey(order).then(
    (done) => process.send?.({ done }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on('disconnect', () => void bus.close({ timeout: 0 }).then(() => process.exit()));
process.send?.({ ready: true });
