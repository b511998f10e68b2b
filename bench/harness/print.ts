import type { Comparison, Table } from './result.ts';

/** A figure with as many digits as it deserves. */
export function figure(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString('en');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function targetOf({ target, unit }: Comparison): string {
  if (target === undefined) return '';
  const sign = unit === '' ? '' : ` ${unit}`;
  return 'atLeast' in target ? `at least ${target.atLeast}${sign}` : `at most ${target.atMost}${sign}`;
}

export function verdict({ met }: Comparison): string {
  return met === undefined ? '' : met ? 'met' : 'MISSED';
}

export function spreadOf({ spread }: Comparison): string {
  return spread === undefined ? '' : `${figure(spread[0])} to ${figure(spread[1])}`;
}

/** The tables for a terminal. */
export function printTables(tables: readonly Table[]): void {
  for (const table of tables) {
    console.log(`\n${table.title}`);
    print(
      table.rows.map(({ name, median, rounds }) => [
        name,
        `${figure(median)} ${table.unit}`,
        `${figure(Math.min(...rounds))} to ${figure(Math.max(...rounds))}`,
      ]),
    );
    print(
      table.comparisons.map((comparison) => [
        comparison.what,
        `${figure(comparison.value)} ${comparison.unit}`.trimEnd(),
        spreadOf(comparison),
        targetOf(comparison),
        verdict(comparison),
      ]),
    );
    for (const line of table.curve ?? []) console.log(`  ${line}`);
  }
}

function print(lines: readonly (readonly string[])[]): void {
  const widths = [46, 20, 24, 16, 6];
  for (const line of lines) {
    const cells = line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)));
    console.log(`  ${cells.join(' ')}`.trimEnd());
  }
}
