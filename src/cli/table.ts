/** A column: its heading, and whether it holds numbers, which stand to the right. */
export interface Column {
  readonly title: string;
  readonly numeric?: boolean;
}

/** Rows in aligned columns, two spaces apart, without any border. @param strong sets the headings apart. */
export function tableOf(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  strong: (text: string) => string,
): string[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const lineOf = (cells: readonly string[]): string =>
    columns
      .map(({ numeric }, i) => {
        const cell = cells[i] ?? '';
        return numeric === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
      })
      .join('  ')
      .trimEnd();
  return [strong(lineOf(columns.map(({ title }) => title))), ...rows.map(lineOf)].map((line) => `  ${line}`);
}

const grouped = new Intl.NumberFormat('en-US');

/** A number with its thousands apart. */
export function numberOf(value: number): string {
  return grouped.format(value);
}
