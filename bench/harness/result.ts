import { median } from './statistics.ts';

/** What is measured of one contestant. */
export interface Row {
  readonly name: string;
  /** One value a round, in the unit of its table. */
  readonly rounds: readonly number[];
  readonly median: number;
}

/** One figure beside another, or a figure on its own, against what it should be. */
export interface Comparison {
  readonly what: string;
  readonly value: number;
  /** '×' for a ratio, '' for a bare number. */
  readonly unit: '×' | 'ms' | 'MiB' | 'syncs' | '';
  /** The lowest and highest of the rounds: how much to trust the value. */
  readonly spread: readonly [number, number] | undefined;
  readonly target: { readonly atLeast: number } | { readonly atMost: number } | undefined;
  readonly met: boolean | undefined;
}

/** One table of the report. */
export interface Table {
  readonly title: string;
  /** How it was measured: the sentences below the title. */
  readonly method: string;
  readonly unit: string;
  readonly rows: readonly Row[];
  readonly comparisons: readonly Comparison[];
  /** A drawing of lines of text, below the rows. */
  readonly curve?: readonly string[];
  /** The day on which it was measured, where that is not the day of the run. */
  readonly measured?: string;
}

export function row(name: string, rounds: readonly number[]): Row {
  return { name, rounds, median: median(rounds) };
}

/**
 * The median of the ratios of all rounds, in which both rows were measured one after the other: the machine may have been
 * faster in some of them than in others.
 */
export function ratio(what: string, above: Row, below: Row, target?: Comparison['target']): Comparison {
  const each = above.rounds.map((value, i) => value / (below.rounds[i] ?? Number.NaN));
  const value = median(each);
  return { what, value, unit: '×', spread: [Math.min(...each), Math.max(...each)], target, met: meets(value, target) };
}

export function single(
  what: string,
  value: number,
  unit: Comparison['unit'],
  target: Comparison['target'],
): Comparison {
  return { what, value, unit, spread: undefined, target, met: meets(value, target) };
}

function meets(value: number, target: Comparison['target']): boolean | undefined {
  if (target === undefined) return undefined;
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}
