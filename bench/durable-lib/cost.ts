import { row, type Table } from '../harness/result.ts';
import { alternate } from '../harness/rounds.ts';
import type { DurableSettings } from '../harness/settings.ts';
import { named } from './driver.ts';
import { compareWithFirst } from './flatness.ts';
import {
  type Contestant,
  count,
  type Entrant,
  inFlight,
  jetstream,
  type Means,
  oursFsync,
  oursOs,
  ratios,
  redis,
  Stage,
  tableOf,
} from './stage.ts';

const entrants = [oursOs, jetstream, oursFsync, redis];
const warmUps = 2;

interface Rates {
  readonly published: number;
  readonly settled: number;
}

/** What lies beside or before the messages that are measured. */
interface Condition {
  /** As a title goes on. */
  readonly name: string;
  /** @returns what measures a round. */
  prepare(contestant: Contestant): Promise<() => Promise<Rates>>;
}

type Found = ReadonlyMap<Entrant, readonly Rates[]>;

/** What a message costs beside an empty store, a large backlog elsewhere, many idle mailboxes, and behind a backlog. */
export async function cost(means: Means, settings: DurableSettings): Promise<Table[]> {
  const { rounds, roundTime } = settings;
  const turns = 'The four conditions take turns, round by round, each with servers of its own.';
  const conditions = [...beside(settings), behind(settings)];
  const [last, ...others] = (await measure(means, settings, conditions)).reverse();
  const tables = others.reverse().map(({ name, found }) =>
    tableOf(
      {
        title: `Durable: the cost of a message ${name}`,
        method: `From publish to the settled ack in one process, messages of 100 bytes, ${rounds} rounds of about ${count(roundTime)} ms: the time of a round for each of its messages. ${turns}`,
        unit: 'µs a message',
      },
      new Map([...found].map(([who, rates]) => [who, rates.map(({ settled }) => 1e6 / settled)])),
    ),
  );
  return compareWithFirst(last === undefined ? tables : [...tables, tableOfBoth(last, settings, turns)]);
}

/** Every round measures all conditions one after the other: the machine may not be as fast a minute later. */
function measure(means: Means, { rounds }: DurableSettings, conditions: readonly Condition[]) {
  return Stage.useAll(means, conditions.length, async (stages) => {
    const results = conditions.map(({ name }) => ({ name, found: new Map<Entrant, readonly Rates[]>() }));
    const seats: { found: Map<Entrant, readonly Rates[]>; entrant: Entrant; measure: () => Promise<Rates> }[] = [];
    for (const [i, stage] of stages.entries()) {
      const found = results[i]?.found ?? new Map();
      for (const entrant of stage.present(entrants)) {
        const contestant = await stage.contestant(entrant);
        const measure = await conditions[i]?.prepare(contestant);
        if (measure !== undefined) seats.push({ found, entrant, measure });
      }
    }
    // The conditions of one entrant follow each other, for they are compared.
    seats.sort((a, b) => entrants.indexOf(a.entrant) - entrants.indexOf(b.entrant));
    await alternate(seats, warmUps);
    const measured = await alternate(seats, rounds);
    for (const [i, { found, entrant }] of seats.entries()) found.set(entrant, measured[i] ?? []);
    return results;
  });
}

function beside({ roundTime, backlog, idle }: DurableSettings): Condition[] {
  const condition = (name: string, put: (contestant: Contestant) => Promise<unknown>): Condition => ({
    name,
    async prepare(contestant) {
      await put(contestant);
      await contestant.home.ask('consume');
      return async () => {
        const rate = await contestant.rate(roundTime);
        return { published: rate, settled: rate };
      };
    },
  });
  return [
    condition('with one empty mailbox', async () => undefined),
    condition(`with ${count(backlog)} messages in another mailbox`, async (contestant) => {
      await contestant.home.ask('collect', ['other-0']);
      await contestant.load(backlog, { mailboxes: ['other-0'] });
    }),
    condition(`with ${count(idle)} idle mailboxes`, (contestant) =>
      contestant.home.ask('collect', named('idle', idle)),
    ),
  ];
}

/** Publishing into a mailbox while a consumer works on what is in front. */
function behind({ rounds, roundTime, backlog }: DurableSettings): Condition {
  return {
    name: `behind ${count(backlog)} messages in the same mailbox`,
    async prepare(contestant) {
      await contestant.load(backlog);
      const question = {
        milliseconds: roundTime,
        most: backlog / (2 * (rounds + warmUps)),
        count: 0,
        size: 100,
        inFlight,
        mailboxes: contestant.place.mailboxes,
      };
      return async () => (await contestant.home.ask('window', question)) as Rates; // what the worker's method returns
    },
  };
}

function tableOfBoth(
  { name, found }: { name: string; found: Found },
  { rounds, roundTime, backlog }: DurableSettings,
  turns: string,
): Table {
  const rowsOf = (part: 'published' | 'settled') =>
    new Map(
      [...found].map(([who, rates]) => [
        who,
        row(
          `${who.name}, ${part}`,
          rates.map((rate) => rate[part]),
        ),
      ]),
    );
  const published = rowsOf('published');
  const settled = rowsOf('settled');
  return {
    title: `Durable: ${name}`,
    method: `The mailbox is filled first; then, for at most ${count(roundTime)} ms a round, and never so long that more than half of the ${count(backlog)} goes in all ${rounds} rounds, a consumer drains it while 256 publishes are in flight. Both rates; between the rounds the consumer is detached. ${turns}`,
    unit: 'messages/s',
    rows: [...published.values(), ...settled.values()],
    comparisons: [...ratios(published, ', published'), ...ratios(settled, ', settled')],
  };
}
