import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Every comparison with peers, and whether its target is met: `npm run bench`, made to fail when one is missed. `--brief`
// measures a few seconds each, too little to judge by, and fails only when something does not work.

const bench = fileURLToPath(new URL('../bench/', import.meta.url));
const brief = process.argv.includes('--brief');

if (!existsSync(`${bench}node_modules`)) {
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--prefix', bench], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
const { status } = spawnSync(process.execPath, ['--import', 'tsx', `${bench}all.ts`, ...(brief ? ['--brief'] : [])], {
  stdio: 'inherit',
  env: { ...process.env, MAILVAN_TEST_STRICT: '1' },
});
process.stdout.write(
  `performance: ${brief ? 'everything runs' : 'every target is met'} — ${status === 0 ? 'PASS' : 'FAIL'}\n`,
);
process.exitCode = status === 0 ? 0 : 1;
