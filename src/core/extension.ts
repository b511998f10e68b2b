import { BusError } from './errors.ts';

/** The longest extension of an attempt, in milliseconds: a day. */
export const maxExtension = 86_400_000;

/** Refuses what an attempt cannot be extended by. @throws {BusError} `OPTION_INVALID`. */
export function checkExtension(ms: number): void {
  if (ms > 0 && ms <= maxExtension) return;
  throw new BusError('OPTION_INVALID', `extend(${String(ms)}): give 1 to ${maxExtension} milliseconds`);
}
