import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkChoice, checkKnown, checkNumber } from '../core/checks.ts';
import type { Clock } from '../core/clock.ts';
import { BusError, describe } from '../core/errors.ts';
import { importedKind, isolatedKind } from './isolated.ts';
import type { Kind, ModuleKind } from './kinds.ts';

const known = ['module', 'isolation', 'memory', 'start'];

/** The kind that a file has. @throws {BusError} `OPTION_INVALID`. */
export function kindOf(name: string, options: ModuleKind, clock: Clock): Kind {
  const what = `the kind '${name}'`;
  if (typeof options !== 'object' || options === null) {
    throw new BusError(
      'OPTION_INVALID',
      `${what} is ${describe(options)}, neither a function that makes an actor nor { module }`,
    );
  }
  checkKnown(what, options, known);
  const isolation = checkChoice(`${what}: isolation`, options.isolation, 'process', ['process', 'none'] as const);
  const memory = checkNumber(`${what}: memory`, options.memory, 128, { min: 16, max: 65_536 });
  const start = checkNumber(`${what}: start`, options.start, 10_000, { min: 1, max: 600_000 });
  const module = moduleUrl(what, options.module);
  if (isolation === 'process') return isolatedKind({ module, memory, start }, clock);
  for (const option of ['memory', 'start'] as const) {
    if (options[option] !== undefined)
      throw new BusError('OPTION_INVALID', `${what}: '${option}' goes only with isolation: 'process'`);
  }
  return importedKind(module);
}

/** The URL of a module's file, which must exist. */
function moduleUrl(what: string, module: unknown): string {
  const refuse = (problem: string): BusError => new BusError('OPTION_INVALID', `${what}: ${problem}`);
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
