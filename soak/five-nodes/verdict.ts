import { readLedger } from '../spawning/ledger.ts';

/** How what was done differs from what was owed. */
export interface Verdict {
  readonly receipts: number;
  /** Had a receipt, and were never handled, and do not wait any more. */
  readonly lost: number;
  /** Entered a mailbox twice. */
  readonly doubled: number;
  readonly outputs: number;
  /** Outputs that entered twice. */
  readonly twice: number;
  /** Messages whose outputs came from two generations. */
  readonly split: number;
  readonly generations: number;
}

/** @param left how many messages still wait in all mailboxes. */
export function judge(folder: string, left: number): Verdict {
  const owed = readLedger(`${folder}/receipts`).map(([n]) => Number(n));
  let [missing, doubled] = [0, 0];
  for (const [box, nodes] of [
    ['box1', ['n1', 'n4']],
    ['box3', ['n3', 'n5']],
  ] as const) {
    const lines = nodes.flatMap((node) => readLedger(`${folder}/${box}.${node}`));
    const handled = new Set(lines.map(([n]) => Number(n)));
    missing += owed.filter((n) => !handled.has(n)).length;
    const first = lines.filter(([, attempt]) => attempt === '1').map(([n]) => n);
    doubled += first.length - new Set(first).size;
  }
  const lines = readLedger(`${folder}/outputs`);
  let [twice, split] = [0, 0];
  for (const topic of ['out', 'raw']) {
    const generations = new Map<number, Set<string>>();
    const first = new Set<number>();
    for (const [, text, generation = '', attempt] of lines.filter(([which]) => which === topic)) {
      const n = Number(text);
      generations.set(n, (generations.get(n) ?? new Set()).add(generation));
      // At a later attempt it is one that its handler has not been able to settle.
      if (attempt === '1' && first.has(n)) twice++;
      if (attempt === '1') first.add(n);
    }
    split += [...generations.values()].filter(({ size }) => size > 1).length;
    missing += owed.filter((n) => !generations.has(n)).length;
  }
  return {
    receipts: owed.length,
    lost: Math.max(0, missing - left),
    doubled,
    outputs: lines.length,
    twice,
    split,
    generations: new Set(lines.map(([, , generation]) => generation)).size,
  };
}
