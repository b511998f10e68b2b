/** A small generator of its own (mulberry32), so that a run can be repeated from its seed. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const areas = ['orders', 'payments', 'users', 'stock', 'mail', 'audit', 'search', 'carts', 'returns', 'prices'];
const events = ['created', 'updated', 'deleted', 'failed', 'paid', 'sent', 'opened', 'closed'];
const regions = ['eu', 'us', 'asia', 'latam', 'mea'];

/** The shapes of a pattern, interleaved: each as a regular expression for the number `i`. */
const shapes: readonly ((i: number) => string)[] = [
  // A literal.
  (i) => `${areas[i % 10]}\\.${i}\\.${events[i % 8]}`,
  // A literal prefix.
  (i) => `${areas[i % 10]}\\.${i}\\..*`,
  // Character classes behind a shared prefix.
  (i) => `${areas[i % 10]}\\.[0-9]+\\.${events[i % 8]}\\.[a-z]{2}${i}`,
  // Character classes, and nothing literal at either end.
  (i) => `[^.]+\\.n${i}\\.[a-z]+`,
  // Alternatives.
  (i) => `${areas[i % 10]}\\.(${events[i % 8]}|${events[(i + 3) % 8]})\\.(eu|us|asia)\\.${i}`,
  // A literal suffix.
  (i) => `.*\\.${events[i % 8]}\\.${i}`,
];

/** `count` different patterns of mixed shapes. */
export function patterns(count: number): string[] {
  return Array.from({ length: count }, (_, i) => (shapes[i % shapes.length] as (i: number) => string)(i));
}

/** Distinct topics, nine of ten made to match a pattern of the same numbers. */
export function topics(count: number, patternCount: number, seed: number): string[] {
  const random = generator(seed);
  const pick = (from: readonly string[]) => from[random(from.length)] as string;
  const out = new Set<string>();
  while (out.size < count) {
    const i = random(patternCount);
    const area = areas[i % 10] as string;
    const event = events[i % 8] as string;
    const makers: readonly (() => string)[] = [
      () => `${area}.${i}.${event}`,
      () => `${area}.${i}.${pick(events)}.${random(100_000)}`,
      () => `${area}.${random(100_000)}.${event}.${pick(['ab', 'xy', 'qr'])}${i}`,
      () => `${pick(regions)}${random(1_000)}.n${i}.${pick(events)}`,
      () => `${area}.${random(2) === 0 ? event : (events[(i + 3) % 8] as string)}.${pick(regions)}.${i}`,
      () => `${pick(areas)}.${random(100_000)}.${event}.${i}`,
    ];
    const topic = (makers[i % makers.length] as () => string)();
    out.add(random(10) === 0 ? `${topic}.none${random(100_000)}` : topic);
  }
  return [...out];
}

/** Patterns meant to make a matcher slow, `count` of them, all different; most end in a class, so that no suffix helps. */
export function hostilePatterns(count: number): string[] {
  const makers: readonly ((n: number) => string)[] = [
    (n) => `.*${letter(n)}.{${90 + (n % 20)}}b`,
    (n) => `.*${letter(n)}.{${10 + n}}[b-y]`,
    (n) => `(.*${letter(n)}){20}[a-z]`,
    (n) => `(${letter(n)}+${letter(n)}+)+[x-z]`,
    (n) => `.*${letter(n)}.{10,${20 + n}}[b-y]`,
    (n) => `.*(${letter(n)}.{${12 + n}}|b.{13})[c-z].*`,
    (n) => `([^.]?${letter(n)}?){20}[a-z.]{40}[d-z]+`,
    (n) => `(.*${letter(n)}.*[x-z]){${2 + n}}[a-f]`,
  ];
  return Array.from({ length: count }, (_, n) => (makers[n % makers.length] as (n: number) => string)(n));
}

function letter(n: number): string {
  return String.fromCharCode(97 + (n % 12));
}

/** Topics for the hostile patterns: `length` characters of few letters, so that most positions stay alive. */
export function hostileTopics(count: number, length: number, seed: number): string[] {
  const random = generator(seed);
  return Array.from({ length: count }, (_, n) => {
    const head = `orders.${n}.`;
    return head + Array.from({ length: length - head.length }, () => 'abcdexyz.'[random(9)]).join('');
  });
}
