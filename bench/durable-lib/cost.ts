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
  /** @returns what measures a round. */
  prepare(contestant: Contestant): Promise<() => Promise<Rates>>;
  table(found: Found): Table;
}

type Found = ReadonlyMap<Entrant, readonly Rates[]>;

const turns = 'The four conditions take turns, round by round, each with servers of its own.';

/** What a message costs beside an empty store, a large backlog elsewhere, many idle mailboxes, and behind a backlog. */
export async function cost(means: Means, settings: DurableSettings): Promise<Table[]> {
  const conditions = [...beside(settings), behind(settings)];
  const found = await measure(means, settings, conditions);
  return compareWithFirst(conditions.map((condition, i) => condition.table(found[i] ?? new Map())));
}

/** Every round measures all conditions one after the other: the machine may not be as fast a minute later. */
function measure(
  means: Means,
  { rounds, patience }: DurableSettings,
  conditions: readonly Condition[],
): Promise<Found[]> {
  return Stage.useAll(means, conditions.length, async (stages) => {
    const seats: { stage: Stage; entrant: Entrant; measure: () => Promise<Rates> }[] = [];
    for (const [i, { prepare }] of conditions.entries()) {
      const stage = stages[i] as Stage; // one for each
      for (const entrant of stage.present(entrants)) {
        seats.push({ stage, entrant, measure: await prepare(await stage.contestant(entrant)) });
      }
    }
    // The conditions of one entrant follow each other, for they are compared.
    seats.sort((a, b) => entrants.indexOf(a.entrant) - entrants.indexOf(b.entrant));
    await alternate(seats, warmUps, patience);
    const measured = await alternate(seats, rounds, patience);
    return stages.map(
      (stage) =>
        new Map(seats.flatMap((seat, i) => (seat.stage === stage ? [[seat.entrant, measured[i] ?? []] as const] : []))),
    );
  });
}

function beside({ rounds, roundTime, backlog, idle }: DurableSettings): Condition[] {
  const condition = (name: string, put: (contestant: Contestant) => Promise<unknown>): Condition => ({
    async prepare(contestant) {
      await put(contestant);
      await contestant.home.ask('consume');
      return async () => {
        const rate = await contestant.rate(roundTime);
        return { published: rate, settled: rate };
      };
    },
    table: (found) =>
      tableOf(
        {
          title: `Durable: the cost of a message ${name}`,
          method: `From publish to the settled ack in one process, messages of 100 bytes, ${rounds} rounds of about ${count(roundTime)} ms: the time of a round for each of its messages. ${turns}`,
          unit: 'µs a message',
        },
        new Map([...found].map(([who, rates]) => [who, rates.map(({ settled }) => 1e6 / settled)])),
      ),
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
function behind(settings: DurableSettings): Condition {
  const { rounds, roundTime, backlog } = settings;
  return {
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
    table: (found) => tableOfBoth(found, settings),
  };
}

function tableOfBoth(found: Found, { rounds, roundTime, backlog }: DurableSettings): Table {
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
    title: `Durable: behind ${count(backlog)} messages in the same mailbox`,
    method: `The mailbox is filled first; then, for at most ${count(roundTime)} ms a round, and never so long that more than half of the ${count(backlog)} goes in all ${rounds} rounds, a consumer drains it while 256 publishes are in flight. Both rates; between the rounds the consumer is detached. ${turns}`,
    unit: 'messages/s',
    rows: [...published.values(), ...settled.values()],
    comparisons: [...ratios(published, ', published'), ...ratios(settled, ', settled')],
  };
}
