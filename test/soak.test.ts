import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

// The soak programs in brief; `npm run soak` runs them at their full count. (Two hosts: examples.test.ts.)

const root = fileURLToPath(new URL('..', import.meta.url));
const strict = process.env.MAILVAN_TEST_STRICT === '1';

function run(script: string): Promise<{ code: number | null; output: string }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, '--brief'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('exit', (code) => done({ code, output }));
  });
}

test('the packed package installs, type-checks under strict and runs', { timeout: 120_000 }, async () => {
  const { code, output } = await run('soak/package.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('a leader that is killed again and again is joined by itself, and every publish ends', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('soak/leader-kill.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

for (const part of ['in-process', 'across']) {
  const missing =
    existsSync(`${root}bench/node_modules`) || strict ? false : 'the peers are not installed: npm ci --prefix bench';
  test(`the benchmark runs beside its peers and loses no message: ${part}`, {
    timeout: 120_000,
    skip: missing,
  }, async () => {
    const { code, output } = await run(`bench/${part}.ts`);
    assert.equal(code, 0, output);
    assert.match(output, /Mailvan emit : /);
  });
}
