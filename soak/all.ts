import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

// Every soak program at its full count, one after the other; `--brief` passes through. Exits with 1 when one fails.

const programs = [
  'package',
  'two-hosts',
  'leader-kill',
  'shared',
  'simulation',
  'spawning',
  'five-nodes',
  'home-away',
  'competing',
  'performance',
  'routing',
  'hang-and-throw',
  'slow-consumer',
  'outage',
  'isolation',
  'frames',
  'sockets',
  'kill',
  'power-loss',
  'full-disk',
  'damage',
  'atomic-step',
  'refusals',
  'access',
];
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const options = process.argv.slice(2).filter((word) => word.startsWith('--'));
const failed: string[] = [];

for (const name of programs) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const began = performance.now();
  process.stdout.write(`\n── ${name}\n`);
  const script = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const code = await new Promise<number | null>((done) => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, ...options], { stdio: 'inherit' });
    child.on('exit', done);
  });
  process.stdout.write(`── ${name}: exit ${code} after ${Math.round((performance.now() - began) / 1000)} s\n`);
  if (code !== 0) failed.push(name);
}

process.stdout.write(failed.length === 0 ? '\nall passed\n' : `\nfailed: ${failed.join(', ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
