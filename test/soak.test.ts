import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

// The soak programs in brief; `npm run soak` runs them at their full count. (Two hosts: examples.test.ts.)

const root = fileURLToPath(new URL('..', import.meta.url));
const strict = process.env.MAILVAN_TEST_STRICT === '1';
const patience = 240_000;

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

/** What each program shows. Those that mostly wait come first. */
const programs: Record<string, string> = {
  'five-nodes':
    'five nodes that are cut off, half heard, unplugged, frozen and restarted heal, and lose and double nothing',
  'home-away':
    'a home that is away for a while gets everything, in order and once, though publisher and leader died meanwhile',
  competing:
    'of competing consumers one is killed and one frozen, and one message kills: everything is handled, and it dies',
  'atomic-step': 'a step whose process is killed at any point has settled and published, or neither',
  kill: 'publisher, home and consumer are killed again and again: nothing is lost, doubled or out of order',
  isolation:
    'handlers in processes of their own spin, leak and exit: each ends alone, and the plain one beside them goes on',
  'leader-kill': 'a leader that is killed again and again is joined by itself, and every publish ends',
  sockets:
    'silent and slow sockets go while an honest node joins, and a crowd that came and went leaves nothing behind',
  shared:
    'who serves a shared folder is killed again and again: another takes its place, and nothing is lost or doubled',
  outage: 'a database that is away for a while costs no dead letter: everything is handled when it is back',
  spawning: 'a leader that is killed in the middle of spawning: what resolved runs once, and what rejected not at all',
  package: 'the packed package installs, type-checks under strict and runs',
  simulation: 'simulated clusters under faults keep every promise',
  frames: 'frames that are nearly right, by thousands, crash nothing, make nothing but data, and end no other link',
  'slow-consumer':
    'beside a consumer that is slow, under each overflow policy: sums add up, and memory stays within bounds',
  damage: 'a log that is cut opens to an exact prefix, and a bit that is flipped is reported',
  'power-loss': 'no receipt comes before an fdatasync that covers its message',
  'full-disk': 'a full disk refuses, and frees itself of nothing that has a receipt: space makes it go on',
  access:
    'outside its rules a node is refused, typed and counted, by thousands, and the rest of its traffic is unharmed',
  refusals: 'who has no business in a cluster is refused, no frame of it is looked at, and the log holds no secret',
};

/** What each benchmark prints when it has lost nothing. Speed is not judged here. */
const benchmarks: Record<string, [title: string, printed: RegExp]> = {
  'in-process': ['the benchmark runs beside its peers and loses no message: in-process', /Mailvan emit : /],
  across: ['the benchmark runs beside its peers and loses no message: across', /Mailvan emit : /],
  cluster: [
    'the benchmark of large clusters runs: what a change costs on the wire grows in proportion to the nodes',
    /Bytes for one more subscription, all links, 20 to 80 nodes: exponent .* met/,
  ],
};
const noPeers =
  existsSync(`${root}bench/node_modules`) || strict ? false : 'the peers are not installed: npm ci --prefix bench';

describe('in brief', { concurrency: 2 }, () => {
  for (const [name, title] of Object.entries(programs)) {
    it(title, { timeout: patience }, async (t) => {
      const { code, output } = await run(`soak/${name}.ts`);
      assert.equal(code, 0, output);
      if (/(: |— )skipped/i.test(output)) t.skip(output);
      else assert.match(output, /PASS/);
    });
  }
  for (const [name, [title, printed]] of Object.entries(benchmarks)) {
    it(title, { timeout: patience, skip: name === 'cluster' ? false : noPeers }, async () => {
      const { code, output } = await run(`bench/${name}.ts`);
      assert.equal(code, 0, output);
      assert.match(output, printed);
    });
  }
});
