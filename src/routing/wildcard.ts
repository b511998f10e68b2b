import { complement, maxUnit } from './charset.ts';
import { alternate, anything, concat, empty, literal, repeat, type Tree } from './tree.ts';

const dot = literal('.');
const word = repeat({ type: 'set', set: complement([0x2e, 0x2e], maxUnit) }, 0, Number.POSITIVE_INFINITY);

/**
 * An AMQP 0-9-1 topic pattern: words separated by dots, `*` for one word, `#` for zero or more. As in RabbitMQ a word
 * may be empty (`a.*` matches `a.`) and a `*` or `#` within a longer word is a plain character.
 *
 * The branches stand at the top, so that the index sees `a.#` as the text `a` and the prefix `a.`.
 */
export function parseWildcard(text: string): Tree {
  const all = text.split('.');
  const items = all.filter((item, i) => item !== '#' || all[i - 1] !== '#');
  const open = items.length > 1 && items.at(-1) === '#';
  const closed = open ? items.slice(0, -1) : items;
  const heads = opening(closed);
  return alternate(open ? [...heads, ...heads.map((head) => concat([head, dot, anything]))] : heads);
}

/** The items from the start of the topic, where none is preceded by a dot. */
function opening([first, ...rest]: readonly string[]): Tree[] {
  if (first === undefined) return [empty];
  if (first !== '#') return [concat([item(first), following(rest)])];
  if (rest.length === 0) return [anything];
  return [...opening(rest), concat([anything, following(rest)])];
}

/** The items with the dot before each; a `#` brings its own dots. */
function following(items: readonly string[]): Tree {
  return concat(items.map((one) => (one === '#' ? repeat(concat([dot, anything]), 0, 1) : concat([dot, item(one)]))));
}

function item(text: string): Tree {
  return text === '*' ? word : literal(text);
}
