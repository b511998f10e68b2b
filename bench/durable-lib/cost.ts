import { row, type Table } from '../harness/result.ts';
import type { DurableSettings } from '../harness/settings.ts';
import { named } from './driver.ts';
import { compareWithFirst } from './flatness.ts';
import {
  type Contestant,
  count,
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

/** What a message costs beside an empty store, a large backlog elsewhere, many idle mailboxes, and behind a backlog. */
export async function cost(means: Means, settings: DurableSettings): Promise<Table[]> {
  const { rounds, roundTime, backlog, idle } = settings;
  const beside = (prepare: (contestant: Contestant) => Promise<unknown>) =>
    Stage.use(means, (stage) =>
      stage.alternate(
        entrants,
        async (entrant) => {
          const contestant = await stage.contestant(entrant);
          await prepare(contestant);
          await contestant.home.ask('consume');
          return async () => 1e6 / (await contestant.rate(roundTime));
        },
        { rounds, warmUps },
      ),
    );
  const conditions: Record<string, (contestant: Contestant) => Promise<unknown>> = {
    'with one empty mailbox': async () => undefined,
    [`with ${count(backlog)} messages in another mailbox`]: async (contestant) => {
      await contestant.home.ask('collect', ['other-0']);
      await contestant.load(backlog, { mailboxes: ['other-0'] });
    },
    [`with ${count(idle)} idle mailboxes`]: (contestant) => contestant.home.ask('collect', named('idle', idle)),
  };
  const tables: Table[] = [];
  for (const [condition, prepare] of Object.entries(conditions)) {
    tables.push(
      tableOf(
        {
          title: `Durable: the cost of a message ${condition}`,
          method: `From publish to the settled ack in one process, messages of 100 bytes, ${rounds} rounds of about ${count(roundTime)} ms: the time of a round for each of its messages.`,
          unit: 'µs a message',
        },
        await beside(prepare),
      ),
    );
  }
  return compareWithFirst([...tables, await behind(means, settings)]);
}

/** Publishing into a mailbox while a consumer works on what is in front. */
async function behind(means: Means, { rounds, roundTime, backlog }: DurableSettings): Promise<Table> {
  const found = await Stage.use(means, (stage) =>
    stage.alternate(
      entrants,
      async (entrant) => {
        const contestant = await stage.contestant(entrant);
        await contestant.load(backlog);
        const mailboxes = contestant.place.mailboxes;
        const question = {
          milliseconds: roundTime,
          most: backlog / (2 * (rounds + warmUps)),
          count: 0,
          size: 100,
          inFlight,
          mailboxes,
        };
        return async () => (await contestant.home.ask('window', question)) as Rates; // what the worker's method returns
      },
      { rounds, warmUps },
    ),
  );
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
    method: `The mailbox is filled first; then, for at most ${count(roundTime)} ms a round, and never so long that more than half of the backlog goes in all ${rounds} rounds, a consumer drains it while 256 publishes are in flight. Both rates; between the rounds the consumer is detached.`,
    unit: 'messages/s',
    rows: [...published.values(), ...settled.values()],
    comparisons: [...ratios(published, ', published'), ...ratios(settled, ', settled')],
  };
}
