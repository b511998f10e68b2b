import fc from 'fast-check';

/** Characters that bring the rules of sets, case, words and surrogates to bear. */
const letters = [
  'a',
  'b',
  'A',
  'K',
  'k',
  '\u212a',
  's',
  '\u017f',
  'é',
  'É',
  'ß',
  'σ',
  'ς',
  '0',
  '7',
  '_',
  '-',
  ' ',
  '.',
  '/',
];
const astral = ['😀', '𐐀', '𐐨'];

const escaped = (char: string): string => (/[.*+?^${}()|[\]\\/]/.test(char) ? `\\${char}` : char);
const literal = fc.constantFrom(...letters, ...astral).map(escaped);
const classEscape = fc.constantFrom('\\d', '\\D', '\\w', '\\W', '\\s', '\\S');
const range = fc.constantFrom('a-c', 'A-Z', '0-9', '\\u0041-\\u005a', 'à-ü', 'k-s');
const member = fc.oneof(
  fc.constantFrom(...letters).map((char) => (/[-\\\]^]/.test(char) ? `\\${char}` : char)),
  classEscape,
  range,
);
const set = fc
  .tuple(fc.boolean(), fc.array(member, { maxLength: 3 }))
  .map(([negated, members]) => `[${negated ? '^' : ''}${members.join('')}]`);
const coded = fc.constantFrom('\\x41', '\\u006b', '\\cA', '\\t', '\\/', '\\uD83D\\uDE00');
const assertion = fc.constantFrom('^', '$', '\\b', '\\B');
const atom = fc.oneof(
  { weight: 6, arbitrary: literal },
  { weight: 2, arbitrary: fc.constant('.') },
  set,
  classEscape,
  coded,
);
const quantifier = fc.constantFrom('*', '+', '?', '*?', '{2}', '{0,2}', '{1,}', '{1,3}?');

const { tree } = fc.letrec<{ tree: string; term: string }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.array(tie('term'), { minLength: 1, maxLength: 4 }).map((terms) => terms.join('')),
    fc.array(tie('tree'), { minLength: 2, maxLength: 3 }).map((branches) => branches.join('|')),
  ),
  term: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    { weight: 6, arbitrary: atom },
    { weight: 1, arbitrary: assertion },
    { weight: 2, arbitrary: fc.tuple(atom, quantifier).map(([one, count]) => one + count) },
    { weight: 1, arbitrary: tie('tree').map((inner) => `(?:${inner})`) },
    { weight: 1, arbitrary: fc.tuple(tie('tree'), quantifier).map(([inner, count]) => `(${inner})${count}`) },
  ),
}));

/** Sources that both engines take, with and without the `u` flag. */
export const sources: fc.Arbitrary<string> = tree;

/** Topics made of the same characters. */
export const topics: fc.Arbitrary<string> = fc
  .array(fc.constantFrom(...letters, ...letters, ...astral), { minLength: 1, maxLength: 8 })
  .map((chars) => chars.join(''));
