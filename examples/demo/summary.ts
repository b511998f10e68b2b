// The end of the demo: a table for a person, and the verdict.
import type { Consumer, Ledger, Phase } from './ledger.ts';

const widths = [12, 24, 17, 9, 9, 14, 10] as const;

function row(...cells: (string | number)[]): string {
  const padded = cells.map((cell, i) => {
    const text = String(cell);
    const width = widths[i] ?? 0;
    return typeof cell === 'number' || i >= 3 ? text.padStart(width) : text.padEnd(width);
  });
  return `  ${padded.join('')}`;
}

/** Every line to be printed, and what does not add up. */
export function summaryOf(
  ledger: Ledger,
  phases: readonly Phase[],
  killed: Phase,
  victim: Consumer,
  other: Consumer,
): { lines: string[]; problems: string[] } {
  const lines = ['', row('CONSUMER', 'PATTERN', 'PHASE', 'MATCHED', 'HANDLED', 'UNREACHABLE*', 'LOST**')];
  for (const consumer of [victim, other]) {
    for (const [i, phase] of phases.entries()) {
      const { matched, handled, named, died } = ledger.tally(consumer, phase);
      const about = i === 0 ? [consumer.name, consumer.pattern] : ['', ''];
      const title = phase === killed && consumer === other ? 'meanwhile' : phase.title;
      lines.push(row(...about, title, matched, handled, named, died));
    }
  }
  lines.push('', '  *  its receipt said so: the publisher knows that it must send it again');
  lines.push('  ** taken by the process that was killed, and not handled yet: what waits in memory dies with it', '');

  const watchers = ['leader', other.name, 'producer'];
  for (const event of ['node.suspect', 'node.joined']) {
    const seen = watchers.map((by) => `${by} ${ledger.seen(event, victim.name, by)}×`);
    lines.push(`  ${event} ${victim.name}, as seen by:  ${seen.join('  ')}`);
  }

  const problems = [...ledger.problems(victim, phases, killed), ...ledger.problems(other, phases, undefined)];
  for (const by of watchers) {
    if (!ledger.sawReturn(victim.name, by)) problems.push(`${by} did not see ${victim.name} suspect and join again`);
  }
  const published = ledger.receipts.size;
  lines.push(
    '',
    problems.length === 0 ? `  ${published} messages published: every sum adds up.` : '  It does not add up:',
  );
  lines.push(...problems.map((problem) => `  - ${problem}`));
  return { lines, problems };
}
