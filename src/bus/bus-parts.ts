import type { Runtime } from '../actors/runtime.ts';
import type { Parts } from './options/options.ts';

/** What tests and the simulation put in the place of the real parts. */
export interface BusParts extends Parts {
  /** Makes the runtime of that name. */
  runtime?: (name: string) => Runtime;
}
