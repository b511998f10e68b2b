import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Line, Process } from './durable/process.ts';

// Three processes consume one durable mailbox. One is killed and one frozen (SIGSTOP, later SIGCONT) midway: everything is
// handled, one key's messages one at a time and in order as the home settled them. Then a message that kills its process at
// every attempt: it is a dead letter after 5, and its neighbours are handled at attempt 1 or 2. `--brief` does less of it.

const brief = process.argv.includes('--brief');
const frozen = brief ? 6_000 : 25_000;
const folder = mkdtempSync(join(tmpdir(), 'mailvan-competing-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** What each process had done when it failed. */
let tell = (): string[] => [];

async function run(): Promise<string[]> {
  const problems: string[] = [];
  const address = `tcp://127.0.0.1:${await freePort()}`;
  const home = new Process({ node: 'home', listen: address, dataDir: join(folder, 'home'), keep: true });
  await home.up();
  const all: Process[] = [];
  const consume = (node: string): Process => {
    const made = new Process({ node, leader: address, consume: { concurrency: 4, time: 20 } });
    all.push(made);
    return made;
  };
  const [a, b, c] = [consume('a'), consume('b'), consume('c')] as [Process, Process, Process];
  for (const each of [a, b, c]) await each.up();
  const pub = new Process({
    node: 'pub',
    leader: address,
    dataDir: join(folder, 'pub'),
    publish: { from: 1, pace: 4, keys: 10 },
  });
  await pub.up();
  tell = () =>
    [home, pub, ...all].map(
      (each) =>
        `${each.name}: ${each.ended ? 'ended' : 'runs'}, ok ${each.said('ok').length}, begun ${each.said('begun').length}, handled ${each.said('handled').length}, failed ${JSON.stringify(each.said('failed').slice(0, 2))}`,
    );
  await Promise.all([a, b, c].map((each) => each.until('it handles', () => each.said('handled').length > 50)));
  await a.kill();
  b.child.kill('SIGSTOP');
  const stopped = b.lines.length;
  const stoppedAt = Date.now();
  await wait(frozen);
  b.child.kill('SIGCONT');
  await b.until(
    'it handles again',
    () => b.lines.slice(stopped).filter((line) => 'handled' in line).length > 50,
    60_000,
  );
  pub.tell('stop');
  await wait(1_500);
  const owed = pub.said('ok').map(({ ok: n }) => Number(n));
  const handled = (): Line[] => all.flatMap((each) => each.said('handled'));
  const missing = (): number[] => {
    const done = new Set(handled().map(({ handled: n }) => Number(n)));
    return owed.filter((n) => !done.has(n));
  };
  for (const end = performance.now() + 60_000; missing().length > 0 && performance.now() < end; ) await wait(100);
  if (missing().length > 0) problems.push(`${missing().length} were never handled, e.g. ${missing().slice(0, 5)}`);
  // As the home settled them: a message of a key is begun for the first time only when the one before it has been settled.
  const show = (...which: number[]): void => {
    for (const { name, lines } of all)
      for (const line of lines)
        if (which.includes(Number(line.begun ?? line.handled)))
          console.log(name, Number(line.at) - stoppedAt, JSON.stringify(line));
  };
  const lastRun = new Map<string, number>();
  let disordered = 0;
  const begun = all
    .flatMap((each) => each.said('begun'))
    .filter(({ key, attempt }) => key !== undefined && attempt === 1);
  begun.sort((x, y) => Number(x.at) - Number(y.at));
  for (const { key, begun: n } of begun) {
    if (Number(n) < (lastRun.get(String(key)) ?? 0)) {
      disordered++;
      if (process.env.MAILVAN_DEBUG !== undefined) show(Number(n), lastRun.get(String(key)) ?? 0);
    }
    lastRun.set(String(key), Number(n));
  }
  // A process that was frozen may begin what has been taken from it: its settlement is refused. This is what counts.
  const settled = new Map<string, number[]>();
  for (const { settled: n, of } of home.said('settled'))
    settled.set(String(of), [...(settled.get(String(of)) ?? []), Number(n)]);
  const lists = [...settled.values()];
  const misplaced = lists
    .map((list) => list.filter((n, i) => n < (list[i - 1] ?? n)).length)
    .reduce((x, y) => x + y, 0);
  const late = lists.map((list) => list.length - new Set(list).size).reduce((x, y) => x + y, 0);
  const taken = new Set(lists.flat());
  const unsettled = owed.filter((n) => n % 2 === 1 && !taken.has(n)).length;
  if (misplaced > 0) problems.push(`${misplaced} of a key were settled out of order`);
  if (late > 0) problems.push(`${late} were settled twice: a late settlement was taken`);
  if (unsettled > 0) problems.push(`${unsettled} with a key were never settled`);
  const twice = all
    .flatMap((each) => each.said('begun'))
    .filter(({ attempt }) => attempt === 1)
    .map(({ begun: n }) => Number(n));
  const doubled = twice.length - new Set(twice).size;
  if (doubled > 0) problems.push(`${doubled} were entered twice`);

  // A message that kills.
  let victim: Process | undefined = consume('victim');
  for (const each of [b, c]) await each.kill();
  await victim.up();
  await wait(brief ? 6_000 : 16_000);
  const kills = all.length;
  pub.tell('publish -1');
  for (let n = 1_000_001; n <= 1_000_050; n++) pub.tell(`publish ${n}`);
  const dead = (): Line | undefined => home.said('dead')[0];
  for (const end = performance.now() + 120_000; dead() === undefined && performance.now() < end; ) {
    if (victim === undefined || victim.ended) {
      victim = consume('victim');
      await victim.up().catch(() => undefined);
    }
    await wait(100);
  }
  if (victim === undefined || victim.ended) {
    victim = consume('victim');
    await victim.up();
  }
  const neighbours = (): Line[] => handled().filter(({ handled: n }) => Number(n) > 1_000_000);
  for (
    const end = performance.now() + 60_000;
    new Set(neighbours().map(({ handled: n }) => n)).size < 50 && performance.now() < end;
  ) {
    await wait(100);
  }
  const deaths = all
    .slice(kills - 1)
    .flatMap((each) => each.said('begun'))
    .filter(({ begun: n }) => n === -1);
  if (dead() === undefined) problems.push('the message that kills is no dead letter');
  else if (dead()?.attempts !== 5 || dead()?.reason !== 'crash')
    problems.push(`the dead letter: ${JSON.stringify(dead())}`);
  if (home.said('dead').length > 1) problems.push(`dead letters: ${JSON.stringify(home.said('dead'))}`);
  const worst = Math.max(...neighbours().map(({ attempt }) => Number(attempt)));
  if (new Set(neighbours().map(({ handled: n }) => n)).size < 50) problems.push('a neighbour was not handled');
  if (worst > 2) problems.push(`a neighbour was handled at attempt ${worst}`);
  console.log(
    `competing: ${owed.length} published, ${handled().length} handled by ${all.length} processes, settled with a key ${taken.size}: out of order ${misplaced}, twice ${late}, never ${unsettled}; begun out of order ${disordered}, entered twice ${doubled}; ` +
      `the message that kills died after ${deaths.length} deaths, its neighbours were handled at attempt ${worst} at the latest — ${problems.length === 0 ? 'PASS' : 'FAIL'}`,
  );
  return problems;
}

const problems = await run().catch((error: unknown) => [`FAIL: ${(error as Error).message}`, ...tell()]);
for (const problem of problems) console.log(`competing: ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
