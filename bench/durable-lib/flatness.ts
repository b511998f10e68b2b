import { type Row, ratio, row, single, type Table } from '../harness/result.ts';
import { oursFsync, oursOs } from './stage.ts';

/** How much more a message may cost than with one empty mailbox. */
const most = 1.5;

/**
 * Says how much more a message costs than with one empty mailbox: what each of the tables after the first has of ours, beside
 * the first. Rates of a table that gives them become times.
 */
export function compareWithFirst([first, ...others]: readonly Table[]): Table[] {
  if (first === undefined) return [];
  const compared = others.map((table): Table => {
    const condition = table.title.replace(/^Durable: (the cost of a message )?/, '');
    const comparisons = [oursOs, oursFsync].flatMap(({ name }) => {
      const below = first.rows.find((each) => each.name === name);
      const above = costOf(table, name);
      const what = `${name}, a message ${condition} : with one empty mailbox`;
      return above === undefined || below === undefined ? [] : [ratio(what, above, below, { atMost: most })];
    });
    return { ...table, comparisons: [...table.comparisons, ...comparisons] };
  });
  return [first, ...compared];
}

/** What a message costs in a table of costs, or in one of rates: there each is published and, behind others, settled. */
function costOf({ rows }: Table, name: string): Row | undefined {
  const cost = rows.find((each) => each.name === name);
  if (cost !== undefined) return cost;
  const rate = rows.find((each) => each.name === `${name}, published`);
  return rate === undefined
    ? undefined
    : row(
        name,
        rate.rounds.map((each) => 1e6 / each),
      );
}

/** The most memory that ours may take with a large backlog, in MiB. */
const mostMemory = 400;

export function compareMemory(table: Table): Table {
  const ours = table.rows.filter(({ name }) => name.startsWith(oursOs.name)).map(({ median }) => median);
  if (ours.length === 0) return table;
  const what = `${oursOs.name}: anonymous memory with the backlog, at its highest`;
  return {
    ...table,
    comparisons: [single(what, Math.max(...ours), 'MiB', { atMost: mostMemory }), ...table.comparisons],
  };
}
