/** The middle of some values; of an even number of them the upper one. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** @param part 0.5 is the median, 0.99 what only one of a hundred exceeds. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/**
 * How a quantity grows with a size: 1 is in proportion, 2 with its square. The slope of the line through the logarithms of
 * both, by least squares.
 */
export function exponentOf(points: readonly (readonly [size: number, value: number])[]): number {
  const logs = points.map(([size, value]) => [Math.log(size), Math.log(value)] as const);
  const mean = (pick: 0 | 1): number => logs.reduce((sum, each) => sum + each[pick], 0) / logs.length;
  const [x, y] = [mean(0), mean(1)];
  let [above, below] = [0, 0];
  for (const [size, value] of logs) {
    above += (size - x) * (value - y);
    below += (size - x) ** 2;
  }
  return above / below;
}
