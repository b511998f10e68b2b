import type { Clock } from './clock.ts';
import { hexOf } from './hex.ts';

/**
 * One life of a node: a start counter and 64 random bits, so that not even a restored backup repeats one. Written
 * `<start>-<16 hex digits>`.
 *
 * @param start counts the starts of this identity; a node without a store always counts 0.
 */
export function newIncarnation(clock: Clock, start = 0): string {
  return `${start}-${hexOf(clock.randomBytes(8))}`;
}

/** The random part: what the ids of this life's messages start with. */
export function originOf(incarnation: string): string {
  return incarnation.slice(incarnation.indexOf('-') + 1);
}
