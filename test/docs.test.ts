import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorCodes } from '../src/core/errors.ts';
import { flow } from '../src/wire/flow.ts';
import { frameType, protocolRange, protocolVersion } from '../src/wire/frame.ts';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('every error code is a heading of docs/errors.md, and every heading is a code', () => {
  const headings = [...read('docs/errors.md').matchAll(/^## (\S+)$/gm)].map(([, code]) => code);
  assert.deepEqual(headings.sort(), Object.keys(errorCodes).sort());
});

test('docs/errors.md says of each code whether it is retryable', () => {
  const sections = read('docs/errors.md').split(/^## /m).slice(1);
  for (const section of sections) {
    const code = section.slice(0, section.indexOf('\n')) as keyof typeof errorCodes;
    const says = /\bNot\s+retryable\b/.test(section) ? false : /\bRetryable\b/.test(section) ? true : undefined;
    assert.equal(says, errorCodes[code], code);
  }
});

test('every frame type stands in docs/wire.md with its number, and the version too', () => {
  const text = read('docs/wire.md');
  for (const [name, code] of Object.entries(frameType)) {
    const row =
      name === 'data' || name === 'flow'
        ? new RegExp(`^Type ${code}[.:]`, 'm')
        : new RegExp(`^\\| ${code} \\| \`${name}\` \\|`, 'm');
    assert.match(text, row, name);
  }
  for (const [name, code] of Object.entries(flow)) assert.match(text, new RegExp(`^\\| ${code} ${name} \\|`, 'm'));
  const [lowest, highest] = protocolRange;
  assert.match(text, new RegExp(`this build knows ${lowest} and ${highest}\\.`));
  assert.match(text, new RegExp(`\\| 1 \\| the layout of frames: ${protocolVersion} \\|`));
});

for (const document of ['docs/semantics.md', 'docs/options.md']) {
  test(`every test that ${document} names exists`, () => {
    const named = [...read(document).matchAll(/^\s*- (?:.*: )?`(test\/[^`]+)`: (.+)$/gm)];
    assert.ok(named.length > 10);
    const sources = new Map<string, string>();
    for (const [, file = '', name = ''] of named) {
      const source = sources.get(file) ?? read(file).replace(/\s+/g, ' ').replaceAll("\\'", "'");
      sources.set(file, source);
      assert.ok(source.includes(name), `${file} has no test '${name}'`);
    }
  });
}

/** What docs/options.md has below each heading: the file that the heading names, and the options that are listed. */
function documented(): Map<string, { file: string; options: Set<string> }> {
  const sections = read('docs/options.md').split(/^## /m).slice(1);
  return new Map(
    sections.map((section) => {
      const [, title = '', file = ''] = /^(.+?)(?:, in (\S+))?\n/.exec(section) ?? [];
      return [
        title,
        { file, options: new Set([...section.matchAll(/^- `([^`]+)`: /gm)].map(([, name = '']) => name)) },
      ];
    }),
  );
}

test('every member of every type for options stands in docs/options.md', () => {
  const sections = documented();
  for (const index of ['src/index.ts', 'src/testing/index.ts']) {
    const exported = read(index).matchAll(/\b\w+(?:Options|Limits|Policy|Rule|List|Filter|Changes|ModuleKind)\b/g);
    for (const [name] of exported) {
      if (!['FrontOptions', 'DeclarativeFilter'].includes(name)) assert.ok(sections.has(name), `${name} is missing`);
    }
  }
  for (const [name, { file, options }] of sections) {
    if (file === '') continue;
    const pattern = new RegExp(`export (?:interface|type) ${name}\\b([^]*?)\\n(?:\\}|    \\};)\\n`);
    const [, text = ''] = pattern.exec(read(file)) ?? assert.fail(`${file} has no ${name}`);
    const own = [...text.matchAll(/^ +(?:readonly )?(\w+)\??: /gm)].map(([, member]) => member);
    const picked = [...text.slice(0, text.indexOf('{')).matchAll(/'(\w+)'/g)].map(([, member]) => member);
    assert.ok(own.length > 0);
    for (const member of [...own, ...picked]) assert.ok(options.has(member ?? ''), `${name}.${member} is missing`);
  }
});

test('every option of the command stands in docs/options.md, and no other', () => {
  const files = readdirSync(new URL('../src/cli', import.meta.url)).map((name) => read(`src/cli/${name}`));
  const options = files.flatMap((text) =>
    [...text.matchAll(/^ +'?([a-z][a-z-]*)'?: \{\s*type: '(?:string|boolean)'/gm)].map(([, name]) => `--${name}`),
  );
  assert.deepEqual([...(documented().get('The command')?.options ?? [])].sort(), [...new Set(options)].sort());
});

test("the README's first snippet is the first example", () => {
  const snippet = /```ts\n(import \{ createBus \}[\s\S]*?)```/.exec(read('README.md'))?.[1];
  const example = read('examples/1-hello.ts').replace(/^(\/\/.*\n)+\n?/, '');
  assert.equal(snippet, example);
});

test('links between the documents lead somewhere', () => {
  for (const file of [
    'README.md',
    'CHANGELOG.md',
    ...readdirSync(new URL('../docs', import.meta.url)).map((name) => `docs/${name}`),
  ]) {
    for (const [, target = ''] of read(file).matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (/^https?:/.test(target)) continue;
      const folder = file.includes('/') ? 'docs/' : '';
      assert.doesNotThrow(() => read(`${folder}${target}`), `${file} links to ${target}`);
    }
  }
});
