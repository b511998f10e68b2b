import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Contents, readContents } from './kill/journal.ts';
import { bundle, freePort, given, type Line, Process, pause } from './kill/process.ts';

// A handler stages outputs, to a mailbox of its own node and to one of another node, and its process, or the other one, is
// killed at points spread over all that happens then: before, in and after the handler, before, in and after each write,
// before and after each send, before what is received is looked at. What is on the disks then is read: an input is settled if
// and only if each of its outputs exists, once. Then all are started again and finish, and it is read again.
//
// 20 points each, `--brief` 3, `--points=`. `--scene=` runs one.

const brief = process.argv.includes('--brief');
const points = given('points', brief ? 3 : 20);
const only = process.argv.find((word) => word.startsWith('--scene='))?.slice('--scene='.length);
const script = await bundle(new URL('./atomic-step/node.ts', import.meta.url));
const inputs = 8;

interface Scene {
  readonly name: string;
  readonly roles: readonly string[];
  readonly victim: string;
  /** Who handles. */
  readonly worker: string;
  /** Who is not there until all is started again. */
  readonly away?: string;
}

const scenes: readonly Scene[] = [
  { name: 'local', roles: ['alone'], victim: 'alone', worker: 'alone' },
  { name: 'spool', roles: ['near', 'far'], victim: 'near', worker: 'near' },
  { name: 'spool-home', roles: ['near', 'far'], victim: 'far', worker: 'near' },
  { name: 'spool-away', roles: ['near', 'far'], victim: 'near', worker: 'near', away: 'far' },
  { name: 'worker', roles: ['both', 'worker'], victim: 'worker', worker: 'worker' },
  { name: 'worker-home', roles: ['both', 'worker'], victim: 'both', worker: 'worker' },
];

const started: Process[] = [];

/** The processes of a scene in one life. */
class Life {
  readonly #processes = new Map<string, Process>();

  static async begin(
    scene: Scene,
    folder: string,
    { killAt = 0, fill = 0, without = '' }: { killAt?: number; fill?: number; without?: string },
  ): Promise<Life> {
    const life = new Life();
    const port = String(await freePort());
    for (const role of scene.roles) {
      if (role === without) continue;
      const consumes = role === scene.worker ? 'yes' : 'no';
      const at = role === scene.victim ? killAt : 0;
      const process = new Process(role, script, [role, folder, port, consumes, String(at), String(fill)]);
      started.push(process);
      life.#processes.set(role, process);
      await process.said('ready');
      fill = 0; // the first role holds what comes in
    }
    return life;
  }

  of(role: string): Process {
    return this.#processes.get(role) as Process;
  }

  go(): void {
    for (const process of this.#processes.values()) process.tell('go');
  }

  /** Resolves when nothing is left to be done, or the victim has ended. */
  async end(victim: string, spooled: boolean): Promise<'done' | 'killed'> {
    let ended = false;
    void this.of(victim).exited.then(() => {
      ended = true;
    });
    for (const from = Date.now(); Date.now() - from < 30_000; ) {
      const lines = await Promise.all([...this.#processes.values()].map(ask));
      if (ended) return 'killed';
      const statuses = lines.filter((line) => line !== undefined);
      const left = statuses.reduce((sum, { waiting }) => sum + ((waiting as Waiting)['soak/in'] ?? 0), 0);
      const kept = statuses.reduce((sum, line) => sum + (line.spooled as number), 0);
      if (statuses.length === this.#processes.size && left === 0 && (kept === 0 || spooled)) return 'done';
      await pause(20);
    }
    const lines = await Promise.all([...this.#processes.values()].map(ask));
    throw new Error(`nothing moves: ${JSON.stringify(lines)}`);
  }

  async kill(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((process) => process.kill()));
  }

  async stop(): Promise<void> {
    for (const process of [...this.#processes.values()].reverse()) {
      process.tell('stop');
      await process.exited;
    }
  }
}

type Waiting = Readonly<Record<string, number>>;

async function ask(process: Process): Promise<Line | undefined> {
  const line = process.next('status', 10_000).catch(() => undefined);
  process.tell('status');
  return line;
}

/** Reads the disks: what is wrong with them. @param whole whether all must be done. */
async function look(scene: Scene, folder: string, whole: boolean): Promise<string[]> {
  const problems: string[] = [];
  const all: Contents[] = [];
  for (const role of scene.roles) {
    if (role !== 'worker') all.push(await readContents(join(folder, role), ['soak/in', 'soak/out']));
  }
  const boxes = (name: string) => all.flatMap(({ mailboxes }) => mailboxes.get(name) ?? []);
  const [into] = boxes('soak/in');
  const left = new Set(into?.left.map(({ payload }) => Number(payload)));
  const parked = into?.recovered.state.parked.count ?? 0;
  if (parked > 0) left.add(2); // it fails the first time
  if (parked > 1) problems.push(`${parked} are parked`);
  for (const { recovered } of [...boxes('soak/in'), ...boxes('soak/out')]) {
    for (const gap of recovered.gaps) problems.push(`gap: ${JSON.stringify(gap)}`);
  }
  // One that is on its way may stand in the spool and in the mailbox, under one id.
  const out = boxes('soak/out').flatMap((box) => [...box.left]);
  const spooled = all.flatMap(({ spools }) => [...spools.values()]).flatMap((box) => [...box.left]);
  const ids = new Map<string, Set<string>>();
  for (const { payload, id } of [...out, ...spooled]) {
    ids.set(String(payload), (ids.get(String(payload)) ?? new Set()).add(id));
  }
  const twice = new Set(out.map(({ payload }) => String(payload)));
  if (twice.size !== out.length) problems.push(`${out.length} outputs are ${twice.size} different ones`);
  for (let s = 0; s < inputs; s++) {
    const counts = Array.from({ length: (s % 3) + 1 }, (_, i) => ids.get(`${s}.${i}`)?.size ?? 0);
    const wanted = left.has(s) ? 0 : 1;
    if (counts.some((count) => count !== wanted)) {
      problems.push(
        `input ${s} is ${left.has(s) ? 'not ' : ''}settled, its outputs are there ${counts.join(', ')} times`,
      );
    }
  }
  if (whole && left.size > 0) problems.push(`${left.size} inputs were not settled`);
  if (whole && spooled.length > 0) problems.push(`${spooled.length} outputs are spooled`);
  for (const { dead } of all) if (dead > 0) problems.push(`${dead} dead letters`);
  return problems;
}

/** One point of one scene. @returns at what it was killed, and what was wrong. */
async function run(scene: Scene, template: string, killAt: number): Promise<{ what: string; problems: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'mailvan-step-'));
  let what = 'not reached';
  const problems: string[] = [];
  try {
    await cp(template, folder, { recursive: true });
    const { away = '' } = scene;
    const life = await Life.begin(scene, folder, { killAt, without: away });
    life.go();
    const outcome = await life.end(scene.victim, away !== '');
    what = String(life.of(scene.victim).lines.find(({ event }) => event === 'killed')?.what ?? 'not reached');
    await life.kill();
    for (const problem of await look(scene, folder, false)) problems.push(`after the ${outcome} one: ${problem}`);
    const next = await Life.begin(scene, folder, {});
    next.go();
    await next.end(scene.victim, false);
    await next.stop();
    for (const problem of await look(scene, folder, true)) problems.push(`at the end: ${problem}`);
  } catch (error) {
    problems.push(String(error));
  }
  if (problems.length === 0) await rm(folder, { recursive: true });
  else problems.push(`its folder is ${folder}`);
  return { what, problems };
}

async function play(scene: Scene): Promise<boolean> {
  const template = await mkdtemp(join(tmpdir(), 'mailvan-step-'));
  const began = performance.now();
  let failures = 0;
  try {
    await (await Life.begin(scene, template, { fill: inputs })).stop();
    // Once without a crash, to know how many points there are.
    const dry = await mkdtemp(join(tmpdir(), 'mailvan-step-'));
    await cp(template, dry, { recursive: true });
    const life = await Life.begin(scene, dry, { without: scene.away ?? '' });
    life.go();
    await life.end(scene.victim, scene.away !== undefined);
    await pause(50);
    life.of(scene.victim).tell('points');
    const passed = (await life.of(scene.victim).next('points')).passed as string[];
    await life.stop();
    await rm(dry, { recursive: true });

    const chosen = Array.from({ length: points }, (_, i) => 1 + Math.floor((i * passed.length) / points));
    const kinds = new Map<string, number>();
    const taken = new Set(chosen);
    let missed = 0;
    const two = async (): Promise<void> => {
      for (let killAt = chosen.shift(); killAt !== undefined; killAt = chosen.shift()) {
        const { what, problems } = await run(scene, template, killAt);
        if (what === 'not reached') {
          // This time there were fewer points: one before it, then.
          missed++;
          let other = killAt - 1;
          while (taken.has(other)) other--;
          if (other > 0) {
            taken.add(other);
            chosen.push(other);
          }
        } else {
          kinds.set(what, (kinds.get(what) ?? 0) + 1);
        }
        if (problems.length === 0) continue;
        failures++;
        process.stdout.write(`  ${scene.name}, point ${killAt} (${what}):\n    ${problems.join('\n    ')}\n`);
      }
    };
    await Promise.all([two(), two()]);
    const reached = [...kinds.values()].reduce((sum, count) => sum + count, 0);
    if (reached < points) {
      failures++;
      process.stdout.write(`  ${scene.name}: only ${reached} points were reached, ${missed} were not\n`);
    }
    const list = [...kinds].map(([what, count]) => `${count} ${what}`).join(', ');
    process.stdout.write(
      `atomic-step, ${scene.name}: ${reached} of ${passed.length} points (${list}), ${failures} with anything but both or ` +
        `neither, ${Math.round((performance.now() - began) / 1000)} s — ${failures === 0 ? 'PASS' : 'FAIL'}\n`,
    );
  } finally {
    await rm(template, { recursive: true, force: true });
  }
  return failures === 0;
}

let passed = true;
try {
  for (const scene of scenes) if (only === undefined || only === scene.name) passed = (await play(scene)) && passed;
} finally {
  for (const { child } of started) child.kill('SIGKILL');
}
process.exitCode = passed ? 0 : 1;
