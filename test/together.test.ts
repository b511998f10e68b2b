import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { filesOf, groups } from './groups.ts';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('npm test runs every test file, and each once', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const given = (scripts['test:only'] ?? '').split(' ').filter((word) => word.startsWith('test/'));
  const together = readdirSync(new URL('together/', import.meta.url)).map((file) => {
    const name = file.replace(/\.ts$/, '');
    assert.match(read(`test/together/${file}`), new RegExp(`^await run\\('${name}'\\);$`, 'm'));
    return groups[name] ?? assert.fail(`${file} is no group`);
  });
  const run = given.flatMap((glob) => {
    if (glob === 'test/together/*.ts') return together.flat();
    const folder = /^test\/(?:(\w+)\/)?\*\.test\.ts$/.exec(glob);
    assert.ok(folder, glob);
    return filesOf(folder[1] ?? '.');
  });
  const folders = readdirSync(new URL('.', import.meta.url), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  assert.deepEqual(run.sort(), ['.', ...folders].flatMap(filesOf).sort());
});
