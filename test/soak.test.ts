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

test('who serves a shared folder is killed again and again: another takes its place, and nothing is lost or doubled', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/shared.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('simulated clusters under faults keep every promise', { timeout: 240_000 }, async () => {
  const { code, output } = await run('soak/simulation.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('a leader that is killed in the middle of spawning: what resolved runs once, and what rejected not at all', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/spawning.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('five nodes that are cut off, half heard, unplugged, frozen and restarted heal, and lose and double nothing', {
  timeout: 240_000,
}, async (t) => {
  const { code, output } = await run('soak/five-nodes.ts');
  assert.equal(code, 0, output);
  if (/skipped/.test(output)) t.skip(output);
  else assert.match(output, /PASS/);
});

test('publisher, home and consumer are killed again and again: nothing is lost, doubled or out of order', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/kill.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('a home that is away for a while gets everything, in order and once, though publisher and leader died meanwhile', {
  timeout: 240_000,
}, async (t) => {
  const { code, output } = await run('soak/home-away.ts');
  assert.equal(code, 0, output);
  if (/skipped/.test(output)) t.skip(output);
  else assert.match(output, /PASS/);
});

test('of competing consumers one is killed and one frozen, and one message kills: everything is handled, and it dies', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/competing.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('no receipt comes before an fdatasync that covers its message', { timeout: 120_000 }, async (t) => {
  const { code, output } = await run('soak/power-loss.ts');
  assert.equal(code, 0, output);
  if (/SKIPPED/.test(output)) t.skip('there is no strace');
  else assert.match(output, /PASS/);
});

test('a full disk refuses, and frees itself of nothing that has a receipt: space makes it go on', {
  timeout: 120_000,
}, async (t) => {
  const { code, output } = await run('soak/full-disk.ts');
  assert.equal(code, 0, output);
  if (/SKIPPED/.test(output)) t.skip('no volume can be mounted');
  else assert.match(output, /PASS/);
});

test('a log that is cut opens to an exact prefix, and a bit that is flipped is reported', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('soak/damage.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('a step whose process is killed at any point has settled and published, or neither', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/atomic-step.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('handlers in processes of their own spin, leak and exit: each ends alone, and the plain one beside them goes on', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/isolation.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('frames that are nearly right, by thousands, crash nothing, make nothing but data, and end no other link', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/frames.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('beside a consumer that is slow, under each overflow policy: sums add up, and memory stays within bounds', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/slow-consumer.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('silent and slow sockets go while an honest node joins, and a crowd that came and went leaves nothing behind', {
  timeout: 240_000,
}, async () => {
  const { code, output } = await run('soak/sockets.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('a database that is away for a while costs no dead letter: everything is handled when it is back', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('soak/outage.ts');
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

test('the benchmark of large clusters runs: what a change costs on the wire grows in proportion to the nodes', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('bench/cluster.ts');
  assert.equal(code, 0, output);
  assert.match(output, /Bytes for one more subscription, all links, 20 to 80 nodes: exponent .* met/);
});

test('who has no business in a cluster is refused, no frame of it is looked at, and the log holds no secret', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('soak/refusals.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});

test('outside its rules a node is refused, typed and counted, by thousands, and the rest of its traffic is unharmed', {
  timeout: 120_000,
}, async () => {
  const { code, output } = await run('soak/access.ts');
  assert.equal(code, 0, output);
  assert.match(output, /PASS/);
});
