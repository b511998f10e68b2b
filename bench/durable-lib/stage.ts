import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Row, ratio, row, type Table } from '../harness/result.ts';
import { alternate } from '../harness/rounds.ts';
import { type DurableSettings, strict } from '../harness/settings.ts';
import { Worker } from '../harness/worker.ts';
import { type Level, named } from './driver.ts';
import { available } from './ours.ts';
import { find, freshFolder, remove, Server } from './servers.ts';
import type { Role, Sending } from './worker.ts';

/** The module that every worker runs. */
export const file = new URL('./worker.ts', import.meta.url);

export const inFlight = 256;

/** Who takes part. */
export interface Entrant {
  readonly name: string;
  readonly library: Role['library'];
  readonly level: Level;
}

export const oursOs: Entrant = { name: 'Mailvan, os', library: 'ours', level: 'os' };
export const oursFsync: Entrant = { name: 'Mailvan, fsync', library: 'ours', level: 'fsync' };
export const jetstream: Entrant = { name: 'JetStream, file storage', library: 'jetstream', level: 'os' };
export const jetstreamApi: Entrant = { ...jetstream, name: 'JetStream, js.publish()', library: 'jetstream-api' };
export const redis: Entrant = { name: 'Redis stream, appendfsync always', library: 'redis', level: 'fsync' };

/** Who stands beside whom. */
const pairs: readonly (readonly [Entrant, Entrant, string])[] = [
  [oursOs, jetstreamApi, 'Mailvan os : JetStream, js.publish()'],
  [oursOs, jetstream, 'Mailvan os : JetStream'],
  [oursFsync, redis, 'Mailvan fsync : Redis'],
];

/** What is to be reached at least, by the text of a pair. */
export type Targets = Readonly<Record<string, number>>;

/** What this machine and this build offer. */
export interface Means {
  readonly nats: string | undefined;
  readonly redis: string | undefined;
  readonly ours: boolean;
}

/** Finds the means and says what is missing. @throws when all must be there. */
export async function findMeans(): Promise<Means> {
  const folder = await freshFolder();
  const means: Means = {
    nats: await find('nats-server'),
    redis: await find('redis-server'),
    ours: await available(folder).finally(() => remove(folder)),
  };
  const missing = [
    ...(means.nats === undefined ? ['nats-server is not installed (Debian: apt-get install nats-server)'] : []),
    ...(means.redis === undefined ? ['redis-server is not installed (Debian: apt-get install redis-server)'] : []),
    ...(means.ours ? [] : ['this build of Mailvan has no durable mailboxes']),
  ];
  if (missing.length > 0 && strict)
    throw new Error(`${missing.join('; ')}, and MAILVAN_TEST_STRICT=1 asks for all comparisons`);
  for (const text of missing) process.stderr.write(`${text}: what needs it is left out\n`);
  return means;
}

/** A folder, the servers that keep their data in it, and the workers. */
export class Stage {
  readonly #folder: string;
  readonly #means: Means;
  readonly #servers = new Map<string, Server>();
  readonly #contestants: Contestant[] = [];
  #last = 0;

  private constructor(folder: string, means: Means) {
    this.#folder = folder;
    this.#means = means;
  }

  /** Runs `act` on a fresh stage, and clears it whatever happens. */
  static async use<T>(means: Means, act: (stage: Stage) => Promise<T>): Promise<T> {
    const stage = new Stage(await freshFolder(), means);
    try {
      return await act(stage);
    } finally {
      await Promise.all(stage.#contestants.map((contestant) => contestant.stop()));
      await Promise.all([...stage.#servers.values()].map((server) => server.kill()));
      await remove(stage.#folder);
    }
  }

  /** Several stages at the same time. */
  static useAll<T>(means: Means, count: number, act: (stages: readonly Stage[]) => Promise<T>): Promise<T> {
    const more = (stages: readonly Stage[]): Promise<T> =>
      stages.length === count ? act(stages) : Stage.use(means, (stage) => more([...stages, stage]));
    return more([]);
  }

  /** Those of the entrants that can take part. */
  present(entrants: readonly Entrant[]): Entrant[] {
    const { nats, redis: server, ours } = this.#means;
    const can = {
      ours,
      redis: server !== undefined,
      jetstream: nats !== undefined,
      'jetstream-api': nats !== undefined,
    };
    return entrants.filter(({ library }) => can[library]);
  }

  /** The server of a library, started when it is first needed. Ours needs none. */
  async server({ library }: Entrant): Promise<Server | undefined> {
    if (library === 'ours') return undefined;
    const isRedis = library === 'redis';
    const key = isRedis ? 'redis' : 'nats';
    let server = this.#servers.get(key);
    if (server === undefined) {
      const program = this.#means[key] ?? '';
      const folder = join(this.#folder, key);
      server = await (isRedis ? Server.redis(program, folder) : Server.jetstream(program, folder));
      this.#servers.set(key, server);
    }
    return server;
  }

  /** What a worker of the entrant is told. @param folder of an earlier one, to open its store again. */
  async place(entrant: Entrant, mailboxes: number, linked: boolean, folder?: string): Promise<Omit<Role, 'role'>> {
    const { library, level } = entrant;
    const prefix = `bench${++this.#last}`;
    const address = (await this.server(entrant))?.address ?? '';
    const ours = folder ?? join(this.#folder, prefix);
    await mkdir(ours, { recursive: true });
    return { library, level, address, folder: ours, linked, mailboxes: named(prefix, mailboxes) };
  }

  /** Starts what is needed for one who publishes and consumes, in one process or in two. */
  async contestant(entrant: Entrant, { mailboxes = 1, linked = false } = {}): Promise<Contestant> {
    const contestant = await Contestant.start(await this.place(entrant, mailboxes, linked));
    this.#contestants.push(contestant);
    return contestant;
  }

  /** Measures all that can take part, round by round. */
  async alternate<T>(
    entrants: readonly Entrant[],
    make: (entrant: Entrant) => Promise<() => Promise<T>>,
    { rounds, patience }: DurableSettings,
    warmUps: number,
  ): Promise<Map<Entrant, T[]>> {
    const present = this.present(entrants);
    const contestants: { measure: () => Promise<T> }[] = [];
    for (const entrant of present) contestants.push({ measure: await make(entrant) });
    await alternate(contestants, warmUps, patience);
    const measured = await alternate(contestants, rounds, patience);
    return new Map(present.map((entrant, i) => [entrant, measured[i] ?? []]));
  }
}

/** The workers of one entrant. */
export class Contestant {
  readonly place: Omit<Role, 'role'>;
  readonly home: Worker;
  readonly publisher: Worker;
  /** Messages a second, as far as is known. */
  #pace = 20_000;

  private constructor(place: Omit<Role, 'role'>, home: Worker, publisher: Worker) {
    this.place = place;
    this.home = home;
    this.publisher = publisher;
  }

  /** @param flags for Node. @param under a program to run Node under. */
  static async start(
    place: Omit<Role, 'role'>,
    flags: readonly string[] = [],
    under: readonly string[] = [],
  ): Promise<Contestant> {
    const start = (role: Role['role'], address: string) =>
      Worker.start(file, [JSON.stringify({ ...place, role, address } satisfies Role)], flags, under);
    const home = start(place.linked ? 'home' : 'both', place.address);
    try {
      const address = (await home.ask('address')) as string; // what the worker's method returns
      return new Contestant(place, home, place.linked ? start('publisher', address) : home);
    } catch (error) {
      await home.stop();
      throw error;
    }
  }

  /** From the first publish until the last ack is settled, in about so many milliseconds. @returns messages a second. */
  async rate(time: number): Promise<number> {
    const count = Math.ceil((this.#pace * time) / 1_000);
    await this.home.ask('expect', count);
    const [end, start] = (await Promise.all([this.home.ask('finished'), this.send(count)])) as [bigint, bigint];
    await this.home.ask('tidy');
    this.#pace = (count * 1e9) / Number(end - start);
    return this.#pace;
  }

  send(count: number, { size = 100, together = inFlight, mailboxes = this.place.mailboxes } = {}): Promise<unknown> {
    return this.publisher.ask('send', { count, size, mailboxes, inFlight: together } satisfies Sending);
  }

  /** Fills a mailbox that nobody consumes, in parts that end in time. */
  async load(count: number, { size = 100, mailboxes = this.place.mailboxes } = {}): Promise<void> {
    for (let left = count; left > 0; left -= 50_000)
      await this.send(Math.min(left, 50_000), { size, mailboxes, together: 2_048 });
  }

  async stop(): Promise<void> {
    if (this.publisher !== this.home) await this.publisher.stop();
    await this.home.stop();
  }

  async kill(): Promise<void> {
    await Promise.all([this.publisher.kill(), this.home.kill()]);
  }
}

/** A table of one figure per entrant, with the ratios of those who stand beside each other. @param what said behind their names. */
export function tableOf(
  { title, method, unit }: Pick<Table, 'title' | 'method' | 'unit'>,
  found: ReadonlyMap<Entrant, readonly number[]>,
  targets: Targets = {},
  what = '',
): Table {
  const rows = new Map([...found].map(([entrant, rounds]) => [entrant, row(entrant.name, rounds)]));
  return { title, method, unit, rows: [...rows.values()], comparisons: ratios(rows, what, targets) };
}

/** @param what said behind the names. */
export function ratios(rows: ReadonlyMap<Entrant, Row>, what = '', targets: Targets = {}): Table['comparisons'] {
  return pairs.flatMap(([ours, peer, text]) => {
    const above = rows.get(ours);
    const below = rows.get(peer);
    const target = targets[text];
    return above === undefined || below === undefined
      ? []
      : [ratio(`${text}${what}`, above, below, target === undefined ? undefined : { atLeast: target })];
  });
}

export function count(value: number): string {
  return value.toLocaleString('en');
}
