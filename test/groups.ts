import { readdirSync } from 'node:fs';

const test = new URL('./', import.meta.url);
const bus = (names: RegExp) => filesOf('bus').filter((file) => names.test(file));

/**
 * Test files that share a process: what each would load for itself takes longer than most of them run. Each can be run
 * alone, too. Names and files are relative to `test/`; they are about as long.
 */
export const groups: Readonly<Record<string, readonly string[]>> = {
  actors: filesOf('actors'),
  storage: filesOf('storage'),
  layers: ['core', 'cluster', 'routing', 'transport', 'wire'].flatMap(filesOf),
  'bus-a-d': bus(/^bus\/[a-d]/),
  'bus-e-o': bus(/^bus\/[e-o]/),
  'bus-p-r': bus(/^bus\/[p-r]/),
  'bus-s-z': bus(/^bus\/[s-z]/),
};

/** Has the tests of a group run in this process. */
export async function run(group: string): Promise<void> {
  for (const file of groups[group] as readonly string[]) await import(new URL(file, test).href);
}

/** The test files of a folder of `test/`. */
export function filesOf(folder: string): string[] {
  const names = readdirSync(new URL(`${folder}/`, test)).filter((name) => name.endsWith('.test.ts'));
  return names.sort().map((name) => `${folder}/${name}`);
}
