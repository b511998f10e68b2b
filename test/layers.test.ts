import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../src', import.meta.url));

/** A folder imports itself and folders of a lower rank. */
const ranks: Readonly<Record<string, number>> = {
  core: 0,
  wire: 1,
  routing: 1,
  storage: 2,
  transport: 2,
  actors: 3,
  cluster: 3,
  channels: 3,
  hosting: 4,
  bus: 5,
  admin: 6,
  testing: 6,
  cli: 7,
};

/** The rooms of the bus, in the same way. The files beside them are above all of them. */
const busRanks: Readonly<Record<string, number>> = {
  options: 0,
  shared: 0,
  streams: 1,
  routes: 2,
  consuming: 2,
  network: 3,
  durable: 4,
  placement: 5,
  watching: 6,
};

/** Which files may import a package. Nothing else comes from npm. */
const packages: Readonly<Record<string, RegExp>> = {
  nact: /^actors\/runtime\.ts$/,
  level: /^storage\/level\.ts$/,
  msgpackr: /^wire\/codec\.ts$/,
  pino: /^(bus\/options\/logger\.ts|cli\/[^/]+\.ts)$/,
  pkijs: /^cli\/pki\.ts$/,
  asn1js: /^cli\/pki\.ts$/,
  citty: /^cli\/[^/]+\.ts$/,
};

const maxLines = 400;

interface Source {
  /** Below `src`, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const sources: readonly Source[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => {
    const text = readFileSync(join(src, path), 'utf8');
    return { path: path.replaceAll('\\', '/'), text, imports: importsOf(text) };
  });

/** The specifiers of everything that a file imports or exports from, types included. */
function importsOf(text: string): string[] {
  const statements = text.matchAll(/^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm);
  const bare = text.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm);
  const dynamic = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g);
  return [...statements, ...bare, ...dynamic].map((match) => match[1] as string); // each has the one group
}

/** The file that a relative specifier means, below `src`. */
function target(from: string, specifier: string): string {
  return normalize(join(dirname(from), specifier)).replaceAll('\\', '/');
}

const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '');

/** Every import of a file of our own. */
const edges = sources.flatMap(({ path, imports }) =>
  imports.filter((specifier) => specifier.startsWith('.')).map((specifier) => [path, target(path, specifier)] as const),
);

test('the files and their imports are found at all', () => {
  assert.ok(sources.length > 60, `${sources.length} files`);
  assert.ok(edges.length > 200, `${edges.length} imports`);
  assert.deepEqual(
    importsOf(
      "import a from 'a';\nimport {\n  b,\n  type c,\n} from './b.ts';\nexport * from 'd';\nimport 'e';\nawait import('f');\nexport type { G } from \"g\";",
    ).sort(),
    ['./b.ts', 'a', 'd', 'e', 'f', 'g'],
  );
});

test('every folder has a rank, and every import leads to a file that exists', () => {
  const paths = new Set(sources.map(({ path }) => path));
  for (const { path } of sources) {
    const folder = folderOf(path);
    assert.ok(folder === '' ? path === 'index.ts' : folder in ranks, `${path} is in a folder without a rank`);
  }
  for (const [from, to] of edges) assert.ok(paths.has(to), `${from} imports ${to}, which does not exist`);
});

test('a file imports its own folder or one of a lower rank', () => {
  const wrong = edges.filter(([from, to]) => {
    if (from === 'index.ts' || to === 'index.ts') return false;
    const [own, other] = [folderOf(from), folderOf(to)];
    return own !== other && !((ranks[other] ?? 99) < (ranks[own] ?? -1));
  });
  assert.deepEqual(wrong, []);
});

test('within the bus, a file imports its own room or one of a lower rank', () => {
  const roomOf = (path: string): string => {
    const [, room = '', file] = path.split('/');
    return file === undefined ? '' : room;
  };
  for (const { path } of sources) {
    const room = folderOf(path) === 'bus' ? roomOf(path) : '';
    assert.ok(room === '' || room in busRanks, `${path} is in a room without a rank`);
  }
  const wrong = edges.filter(([from, to]) => {
    if (folderOf(from) !== 'bus' || folderOf(to) !== 'bus') return false;
    const [own, other] = [roomOf(from), roomOf(to)];
    return own !== other && own !== '' && !((busRanks[other] ?? 99) < (busRanks[own] ?? -1));
  });
  assert.deepEqual(wrong, []);
});

test('nobody inside imports src/index.ts: it is the only barrel', () => {
  assert.deepEqual(
    edges.filter(([, to]) => to === 'index.ts'),
    [],
  );
  const barrels = sources.filter(({ text }) => /^export \*/m.test(text)).map(({ path }) => path);
  assert.deepEqual(barrels, []);
});

test('a package is imported by the one file that hides it, and no other package by anybody', () => {
  const wrong: string[] = [];
  for (const { path, imports } of sources) {
    for (const specifier of imports) {
      if (specifier.startsWith('.')) continue;
      if (isBuiltin(specifier)) {
        if (!specifier.startsWith('node:')) wrong.push(`${path}: write node:${specifier}`);
      } else if (packages[specifier]?.test(path) !== true) {
        wrong.push(`${path}: ${specifier}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test('core does no I/O', () => {
  const io = /^node:(fs|net|tls|http|https|http2|dgram|dns|child_process|worker_threads|cluster|stream|readline)/;
  const wrong = sources.flatMap(({ path, imports }) =>
    folderOf(path) === 'core' ? imports.filter((specifier) => io.test(specifier)).map((s) => `${path}: ${s}`) : [],
  );
  assert.deepEqual(wrong, []);
});

test('no file imports itself, however far around', () => {
  const next = new Map<string, string[]>();
  for (const [from, to] of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path);
    assert.equal(at, -1, `a cycle: ${[...trail.slice(at), path].join(' -> ')}`);
    if (done.has(path)) return;
    for (const to of next.get(path) ?? []) visit(to, [...trail, path]);
    done.add(path);
  };
  for (const { path } of sources) visit(path, []);
});

test(`files have fewer than ${maxLines} lines`, () => {
  const long = sources
    .map(({ path, text }) => [path, text.split('\n').length - 1] as const)
    .filter(([, lines]) => lines >= maxLines);
  assert.deepEqual(long, []);
});

test('the console belongs to the CLI', () => {
  const wrong = sources
    .filter(({ path, text }) => folderOf(path) !== 'cli' && /\bconsole\s*[.[]/.test(withoutComments(text)))
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

test('nothing is of type any', () => {
  const wrong = sources
    .filter(({ text }) => /(:|\bas|<|\||,)\s*any\b(?!\s*\()/.test(withoutComments(text)))
    .map(({ path }) => path);
  assert.deepEqual(wrong, []);
});

/** The code without comments and without what stands in quotes. */
function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
    .replace(/(^|[^:])\/\/.*$/gm, '$1');
}
