import { writeSync } from 'node:fs';
import { PromiseScenario } from '../../src/testing/promises.ts';
import { simulate } from '../../src/testing/simulation.ts';

// Runs seeds of the promises' scenario, every `step`th from `first` on, and says what has become of each.

// Many errors are made that nobody reads: what they cost is their stacks.
Error.stackTraceLimit = 3;

const [first = '1', count = '1', step = '1'] = process.argv.slice(2);

for (let i = 0; i < Number(count); i++) {
  const seed = Number(first) + i * Number(step);
  const { violations, schedule } = await simulate(new PromiseScenario(seed), { seed, steps: 7 });
  const line = {
    event: 'seed',
    seed,
    violations,
    ...(violations.length > 0 ? { schedule } : { faults: schedule.length }),
  };
  writeSync(1, `${JSON.stringify(line)}\n`);
}
process.exit(0);
