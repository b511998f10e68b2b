import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import * as across from './across.ts';
import * as cluster from './cluster.ts';
import * as durable from './durable.ts';
import { machine, versions } from './harness/machine.ts';
import { printTables, targetOf } from './harness/print.ts';
import { merged, page, type Run } from './harness/report.ts';
import type { Table } from './harness/result.ts';
import { settings, strict } from './harness/settings.ts';
import * as inProcess from './in-process.ts';
import * as routing from './routing-lib/tables.ts';

// Runs everything: `--brief` in about two minutes and without writing anything, `--json` prints the results as JSON,
// `--only cluster` measures one part anew and puts its tables in the place of those of the last run.

// An interrupted run ends in order too: the server and the workers go with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

await access(new URL('../dist/index.js', import.meta.url)).catch(() => {
  process.stderr.write('dist/ is missing: npm run build\n');
  process.exit(1);
});

const options = settings();
const latest = new URL('results/latest.json', import.meta.url);
const parts = { 'in-process': inProcess, across, durable, routing, cluster };
const at = process.argv.indexOf('--only');
const only = at < 0 ? undefined : process.argv[at + 1];
if (at >= 0 && !Object.hasOwn(parts, only ?? '')) {
  process.stderr.write(`--only takes one of ${Object.keys(parts).join(', ')}\n`);
  process.exit(1);
}
const start = performance.now();
const tables: Table[] = [];
for (const [name, part] of Object.entries(parts)) {
  if (only !== undefined && name !== only) continue;
  process.stderr.write(`${name} ...\n`);
  tables.push(...(await part.run(options)));
}
const found = await versions();
const measured: Run = {
  date: new Date().toISOString(),
  machine: machine(),
  versions: found,
  settings: options,
  seconds: (performance.now() - start) / 1_000,
  tables,
};
const run =
  only === undefined || options.brief ? measured : merged(JSON.parse(await readFile(latest, 'utf8')), measured);

if (process.argv.includes('--json')) console.log(JSON.stringify(run, undefined, 2));
else printTables(tables);

if (!options.brief) {
  await mkdir(new URL('results/', import.meta.url), { recursive: true });
  await writeFile(latest, `${JSON.stringify(run, undefined, 2)}\n`);
  // The page compares with the peers: without them the last one that did stays.
  if (found['nats-server'] !== undefined) {
    await mkdir(new URL('../docs/', import.meta.url), { recursive: true });
    await writeFile(new URL('../docs/benchmarks.md', import.meta.url), page(run));
  }
}

const missed = tables.flatMap((table) => table.comparisons).filter(({ met }) => met === false);
for (const comparison of missed) process.stderr.write(`missed: ${comparison.what}, ${targetOf(comparison)}\n`);
if (missed.length > 0 && strict && !options.brief) process.exitCode = 1;
