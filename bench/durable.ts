import { pathToFileURL } from 'node:url';
import { cost } from './durable-lib/cost.ts';
import { latency } from './durable-lib/latency.ts';
import { memory } from './durable-lib/memory.ts';
import { recovery } from './durable-lib/recovery.ts';
import { findMeans } from './durable-lib/stage.ts';
import { throughput } from './durable-lib/throughput.ts';
import { printTables } from './harness/print.ts';
import type { Table } from './harness/result.ts';
import { type Settings, settings } from './harness/settings.ts';

const parts = { throughput, latency, cost, memory, recovery };

/**
 * Durable mailboxes beside JetStream and Redis streams. Who is not there is left out.
 *
 * @param chosen names of parts; all when there is none.
 * @param show is given the tables of each part as soon as they are there.
 */
export async function run(
  { durable }: Settings,
  chosen: readonly string[] = [],
  show: (tables: readonly Table[]) => void = () => undefined,
): Promise<Table[]> {
  const unknown = chosen.find((name) => !(name in parts));
  if (unknown !== undefined) throw new Error(`there is no part '${unknown}': ${Object.keys(parts).join(', ')}`);
  const means = await findMeans();
  const tables: Table[] = [];
  for (const [name, part] of Object.entries(parts)) {
    if (chosen.length > 0 && !chosen.includes(name)) continue;
    process.stderr.write(`durable: ${name} ...\n`);
    const found = await part(means, durable);
    show(found);
    tables.push(...found);
  }
  return tables;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const chosen = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
  await run(settings(), chosen, printTables);
}
