import { availableParallelism } from 'node:os';
import { bundle, given, type Line, Process } from './kill/process.ts';

// The promises of docs/semantics.md, checked on simulated clusters under faults: 10,000 seeds (`--brief`: 120), each a schedule of
// its own, split among as many processes as there are cores, within 5 minutes. `--seeds=`, `--first=`: one seed is one run,
// whatever runs beside it: repeat a failing one by `--seeds=1 --first=<seed>`.

const brief = process.argv.includes('--brief');
const seeds = given('seeds', brief ? 120 : 10_000);
const first = given('first', 1);
/** In milliseconds; only the full count is held to it. */
const longest = 300_000;

async function run(): Promise<string[]> {
  const script = await bundle(new URL('./simulation/seeds.ts', import.meta.url));
  const processes = Math.min(availableParallelism(), seeds);
  const problems: string[] = [];
  let done = 0;
  let faults = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: processes }, async (_, i) => {
      const count = Math.floor((seeds - i - 1) / processes) + 1;
      const child = new Process(`part ${i}`, script, [String(first + i), String(count), String(processes)]);
      await child.exited;
      for (const line of child.lines) {
        done++;
        faults += Number(line.faults ?? 0);
        const { violations } = line as Line & { violations: string[] };
        if (violations.length === 0) continue;
        problems.push(`seed ${line.seed}: ${violations.slice(0, 3).join(' | ')}`);
        if (problems.length === 1) problems.push(...(line as Line & { schedule: string[] }).schedule);
      }
      if (child.child.exitCode !== 0) problems.push(`part ${i} ended with ${child.child.exitCode}: ${child.errors}`);
    }),
  );
  const took = performance.now() - began;
  if (done !== seeds) problems.push(`${done} of ${seeds} seeds came to their end`);
  if (!brief && seeds >= 10_000 && took > longest) problems.push(`it took ${Math.round(took / 1000)} s`);
  console.log(
    `simulation, seeds ${first} to ${first + seeds - 1}: ${faults} events of the schedules in ${(took / 1000).toFixed(1)} s, ` +
      `${((took * processes) / seeds).toFixed(1)} ms of a core each — ${problems.length === 0 ? 'PASS' : 'FAIL'}`,
  );
  return problems;
}

const problems = await run().catch((error: unknown) => [`FAIL: ${(error as Error).stack}`]);
for (const problem of problems.slice(0, 60)) console.log(`simulation: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
