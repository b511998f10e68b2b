import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

// The leader is killed (SIGKILL) and restarted under traffic between all nodes: each time all nodes register again by
// themselves, epochs grow, no subscription is lost, also none that was made meanwhile, every publish ends in a receipt or a
// typed error. The traffic between two nodes that listen does not stop: of theirs, every message arrives.
// `--brief` does it twice, otherwise 50 times.

const rounds = process.argv.includes('--brief') ? 2 : 50;
/** How long all nodes may take to be registered again, in milliseconds. */
const allowed = 10_000;
const script = fileURLToPath(new URL('./leader-kill/node.ts', import.meta.url));

interface Line {
  node: string;
  event: string;
  epoch?: string;
  members?: number;
  routes?: number[];
  published?: number;
  complete?: number;
  unreachable?: number;
  failed?: number;
  untyped?: number;
  /** Routes to the subscription that was made while the leader was away. */
  extra?: number;
  links?: string[];
  longest?: number;
}

class Process {
  readonly name: string;
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  #waiting: ((line: Line) => void)[] = [];

  constructor(name: string, port: number, to: string, listens: boolean) {
    this.name = name;
    this.child = spawn(
      process.execPath,
      ['--import', 'tsx', script, name, String(port), to, ...(listens ? ['listens'] : [])],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
      },
    );
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      this.lines.push(line);
      for (const waiter of this.#waiting) waiter(line);
    });
  }

  /** The next line that tells of `event`. */
  next(event: string): Promise<Line> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name} did not say '${event}' in time`)), 30_000);
      const waiter = (line: Line): void => {
        if (line.event !== event) return;
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        resolve(line);
      };
      this.#waiting.push(waiter);
    });
  }

  /** Tells it something. @returns what it says to that. */
  async ask(text: string, event = text): Promise<Line> {
    const line = this.next(event);
    this.child.stdin?.write(`${text}\n`);
    return line;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Whether every node knows every subscription and can reach it. */
function whole(lines: readonly Line[]): boolean {
  return lines.every(
    ({ members, routes, extra }) => members === 6 && extra === 2 && routes?.every((count) => count === 1) === true,
  );
}

const port = await freePort();
const started: Process[] = [];
const start = async (name: string, to = 'leader,a,b,c', listens = false): Promise<Process> => {
  const node = new Process(name, port, to, listens);
  started.push(node);
  await node.next('up');
  return node;
};

let failures = 0;
try {
  let leader = await start('leader');
  const leaves = [await start('a'), await start('b'), await start('c')];
  const pair = [await start('d', 'e', true), await start('e', 'd', true)];
  const members = [...leaves, ...pair];
  for (;;) {
    const lines = await Promise.all(pair.map((node) => node.ask('status')));
    if (lines.every(({ links }) => links?.length === 2)) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  for (const node of pair) await node.ask('reset');
  const took: number[] = [];
  let epoch = '';
  const totals = { published: 0, complete: 0, unreachable: 0, failed: 0, untyped: 0 };
  for (let round = 0; round < rounds; round++) {
    await new Promise((done) => setTimeout(done, 300 + Math.random() * 700));
    const lost = members.map((node) => node.next('lost'));
    leader.child.kill('SIGKILL');
    await Promise.all(lost);
    for (const node of members) await node.ask(`extra ${round}`, 'extra');
    const from = performance.now();
    leader = await start('leader');
    await leader.ask(`extra ${round}`, 'extra');
    const up = performance.now();
    let lines: Line[] = [];
    for (;;) {
      lines = await Promise.all([leader, ...members].map((node) => node.ask('status')));
      if (whole(lines) || performance.now() - up > allowed) break;
      await new Promise((done) => setTimeout(done, 20));
    }
    took.push(performance.now() - up);
    const epochs = new Set(lines.map((line) => line.epoch));
    const [now = ''] = epochs;
    const grew = epoch === '' || Number(now.split('.')[1]) > Number(epoch.split('.')[1]);
    if (!whole(lines) || epochs.size !== 1 || !grew) {
      failures++;
      process.stdout.write(
        `round ${round + 1}: not whole ${Math.round(performance.now() - from)} ms after the kill: ${JSON.stringify(lines)}\n`,
      );
    }
    epoch = now;
  }
  for (const node of members) await node.ask('quiet');
  for (const leaf of leaves) {
    const line = await leaf.ask('stop', 'end');
    for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += line[key] ?? 0;
  }
  let [direct, arrived, longest] = [0, 0, 0];
  for (const node of pair) {
    const line = await node.ask('stop', 'end');
    direct += line.published ?? 0;
    arrived += line.complete ?? 0;
    longest = Math.max(longest, line.longest ?? Number.POSITIVE_INFINITY);
  }
  if (arrived !== direct || direct === 0) failures++;
  const { published, complete, unreachable, failed, untyped } = totals;
  if (untyped > 0 || published !== complete + unreachable + failed) failures++;
  took.sort((x, y) => x - y);
  const ms = (share: number): number =>
    Math.round(took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0);
  process.stdout.write(
    `leader-kill: ${rounds} kills, all registered again after ${ms(0.5)} ms (median; slowest ${ms(1)} ms, allowed ${allowed}), epochs grew, ` +
      `${published} publishes = ${complete} complete + ${unreachable} naming somebody unreachable + ${failed} typed errors, ${untyped} untyped; ` +
      `between two that listen ${arrived} of ${direct} arrived, never ${Math.ceil(longest)} ms without one — ${failures === 0 ? 'PASS' : 'FAIL'}\n`,
  );
} finally {
  for (const { child } of started) child.kill('SIGKILL');
}
process.exitCode = failures === 0 ? 0 : 1;
