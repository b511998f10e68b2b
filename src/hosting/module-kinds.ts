import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Clock } from '../core/clock.ts';
import { BusError, describe } from '../core/errors.ts';
import { nearest } from '../core/spelling.ts';
import { importedKind, isolatedKind } from './isolated.ts';
import type { Kind, ModuleKind } from './kinds.ts';

const known = ['module', 'isolation', 'memory', 'start'];

/** The kind that a file has. @throws {BusError} `OPTION_INVALID`. */
export function kindOf(name: string, options: ModuleKind, clock: Clock): Kind {
  const refuse = (problem: string): BusError => new BusError('OPTION_INVALID', `the kind '${name}': ${problem}`);
  if (typeof options !== 'object' || options === null) {
    throw refuse(`${describe(options)} is neither a function that makes an actor nor { module }`);
  }
  for (const key of Object.keys(options)) {
    const near = nearest(key, known);
    const hint = near === undefined ? `; it has ${known.join(', ')}` : `; did you mean '${near}'?`;
    if (!known.includes(key)) throw refuse(`there is no option '${key}'${hint}`);
  }
  const { isolation = 'process', memory = 128, start = 10_000 } = options;
  if (isolation !== 'process' && isolation !== 'none') {
    throw refuse(`isolation ${describe(isolation)} must be one of 'process', 'none'`);
  }
  const whole = (what: string, value: unknown, min: number, max: number): void => {
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return;
    throw refuse(`${what} ${describe(value)} must be a whole number from ${min} to ${max}`);
  };
  whole('memory', memory, 16, 65_536);
  whole('start', start, 1, 600_000);
  const module = moduleUrl(options.module, refuse);
  if (isolation === 'process') return isolatedKind({ module, memory, start }, clock);
  for (const what of ['memory', 'start'] as const) {
    if (options[what] !== undefined) throw refuse(`'${what}' goes only with isolation: 'process'`);
  }
  return importedKind(module);
}

/** The URL of a module's file, which must exist. */
function moduleUrl(module: unknown, refuse: (problem: string) => BusError): string {
  let path: string;
  try {
    if (module instanceof URL || (typeof module === 'string' && module.startsWith('file:')))
      path = fileURLToPath(module);
    else if (typeof module === 'string' && module !== '') path = resolve(module);
    else throw new TypeError('it must be a path or a file: URL');
  } catch (error) {
    throw refuse(`module ${describe(module)}: ${(error as Error).message}`);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) throw refuse(`there is no file ${path}`);
  return pathToFileURL(path).href;
}
