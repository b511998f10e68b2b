import type { Assignment } from '../wire/placement-entry.ts';

/** Names an instance, of all placements that ever were. */
export function keyOf(id: string, instance: number): string {
  return `${id}.${instance}`;
}

export function inOrder(assigned: readonly Assignment[]): Assignment[] {
  return [...assigned].sort((a, b) => a.instance - b.instance);
}

export function same(a: readonly Assignment[], b: readonly Assignment[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}

/** The instances that have no node. */
export function absent(instances: number, assigned: readonly Assignment[]): number[] {
  const all = Array.from({ length: instances }, (_, i) => i);
  return all.filter((i) => !assigned.some(({ instance }) => instance === i));
}
