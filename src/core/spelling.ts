/** The known word that `word` was most likely meant to be: the one with the fewest edits, when they are few. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const typed = word.toLowerCase();
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const name = candidate.toLowerCase();
    const distance = typed !== '' && name.startsWith(typed) ? 1 : edits(typed, name);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** How many letters have to be added, left out or replaced: Levenshtein's distance, row by row. */
function edits(from: string, to: string): number {
  let costs = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= to.length; j++) {
      const [corner = 0, above = 0, left = 0] = [costs[j - 1], costs[j], next[j - 1]];
      next.push(Math.min(corner + (letter === to[j - 1] ? 0 : 1), above + 1, left + 1));
    }
    costs = next;
  }
  return costs[to.length] ?? 0;
}
