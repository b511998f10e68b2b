import { BusError } from '../core/errors.ts';
import type { PlacementSpec } from '../wire/placement-entry.ts';

/** How many nodes an error names. */
const mostNamed = 20;

/** @param placed how many instances have a node. */
export function unplaceable(
  name: string,
  spec: PlacementSpec,
  placed: number,
  reasons: ReadonlyMap<string, string>,
  what = 'cannot be placed',
): BusError {
  const some = spec.instances === 1 ? '' : `: ${placed} of ${spec.instances} instances fit`;
  const text = [...reasons].slice(0, mostNamed).map(([node, reason]) => `${node}: ${reason}`);
  if (reasons.size > mostNamed) text.push(`and ${reasons.size - mostNamed} more`);
  const nodes = reasons.size === 0 ? 'there is no node' : text.join('; ');
  return new BusError('UNPLACEABLE', `placement '${name}' (kind '${spec.kind}') ${what}${some}. ${nodes}`, {
    reasons: Object.fromEntries(reasons),
  });
}

/** Where a placement differs from one of its name that exists, in words. */
export function specDifferences(existing: PlacementSpec, asked: PlacementSpec): string[] {
  const found: string[] = [];
  for (const name of new Set([...Object.keys(existing), ...Object.keys(asked)]) as Set<keyof PlacementSpec>) {
    const old = textOf(existing[name]);
    const now = textOf(asked[name]);
    if (old === now) continue;
    if (name === 'args') found.push('its args are others');
    else found.push(`${name} is ${old}, asked for was ${now}`);
  }
  return found;
}

/** The same for the same data, whatever the order of its members. */
function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString('hex');
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'not given';
  if (Array.isArray(value)) return `[${value.map(textOf).join(', ')}]`;
  const members = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${members
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, each]) => `${name}: ${textOf(each)}`)
    .join(', ')}}`;
}
