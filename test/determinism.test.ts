import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../src', import.meta.url));

/** What reads a real clock, sets a real timer or rolls real dice. `core/clock.ts` alone may. */
const forbidden: readonly [what: string, pattern: RegExp][] = [
  ['Date.now', /\bDate\s*\.\s*now\b/],
  ['new Date() of now', /\bnew\s+Date\s*(\(\s*\)|(?=[;,)\s.]))/],
  ['Date() as a function', /(?<![\w.]|new\s)Date\s*\(/],
  ['setTimeout', /\bsetTimeout\b/],
  ['setInterval', /\bsetInterval\b/],
  ['setImmediate', /\bsetImmediate\b/],
  ['clearTimeout', /\bclearTimeout\b/],
  ['Math.random', /\bMath\s*\.\s*random\b/],
  ['performance.now', /\bperformance\s*\.\s*(now|timeOrigin)\b/],
  ['process.hrtime', /\bprocess\s*\.\s*(hrtime|uptime)\b/],
  ['process.nextTick', /\bprocess\s*\.\s*nextTick\b/],
  ['queueMicrotask', /\bqueueMicrotask\b/],
  ['random bytes', /\b(randomBytes|randomFill|randomFillSync|randomInt|randomUUID|getRandomValues)\b/],
  ['AbortSignal.timeout', /\bAbortSignal\s*\.\s*timeout\b/],
  ['timers as modules', /['"](node:)?timers(\/promises)?['"]/],
  ['the clock of node:perf_hooks', /['"](node:)?perf_hooks['"]/],
];

/** The clock itself, and what implements or calls its methods by the same names. */
const theClock = 'core/clock.ts';

/** Uses of the injected clock that bear a forbidden name. */
const allowed =
  /\b(clock|this\.#clock|options\.clock|systemClock)\s*\.\s*randomBytes\b|^\s*randomBytes\(length: number\)/gm;

/** The code without comments. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:])\/\/.*$/gm, '$1');
}

/** What a text does that only the clock may. */
function breaches(text: string): string[] {
  const plain = code(text).replace(allowed, '');
  return forbidden.filter(([, pattern]) => pattern.test(plain)).map(([what]) => what);
}

test('time and chance come from the injected clock alone', () => {
  const found: string[] = [];
  let files = 0;
  for (const path of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    const name = path.replaceAll('\\', '/');
    if (!name.endsWith('.ts') || name === theClock) continue;
    files++;
    for (const what of breaches(readFileSync(join(src, path), 'utf8'))) found.push(`${name}: ${what}`);
  }
  assert.ok(files > 60, `${files} files`);
  assert.deepEqual(found, []);
});

test('the clock file does what the others may not', () => {
  const found = breaches(readFileSync(join(src, theClock), 'utf8'));
  for (const what of ['Date.now', 'setTimeout', 'setImmediate', 'Math.random', 'performance.now', 'random bytes']) {
    assert.ok(found.includes(what), what);
  }
});

test('what breaks the rule is seen; what only looks like it is not', () => {
  for (const bad of [
    'const t = Date.now();',
    'const t = new Date();',
    'log(new Date)',
    'setTimeout(f, 5);',
    'const { randomBytes } = crypto;',
    "import { setTimeout } from 'node:timers/promises';",
    'Math.random()',
    'x = performance . now()',
  ]) {
    assert.equal(breaches(bad).length > 0, true, bad);
  }
  for (const good of [
    '// Date.now() is forbidden',
    '/** setTimeout */',
    'clock.randomBytes(8)',
    'this.#clock.now()',
    'new Date(message.publishedAt)',
    'value instanceof Date && other',
    'createHmac(secret); timingSafeEqual(a, b)',
  ]) {
    assert.deepEqual(breaches(good), [], good);
  }
});
