import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { readArguments, readCount, readDuration } from '../../src/cli/arguments.ts';
import { Failure } from '../../src/cli/failure.ts';
import { linesOf } from '../../src/cli/lines.ts';
import { tableOf } from '../../src/cli/table.ts';
import { nearest } from '../../src/core/spelling.ts';
import { pathOf, run } from './child.ts';

const definitions = {
  topic: { type: 'positional', required: true },
  message: { type: 'positional', required: false },
  header: { type: 'string' },
  'at-least': { type: 'string' },
  json: { type: 'boolean' },
} as const;

function refusal(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    assert.ok(error instanceof Failure);
    assert.equal(error.exitCode, 2);
    return error.message;
  }
  return assert.fail('nothing was refused');
}

describe('the command line', { concurrency: 3 }, () => {
  it('is refused with 2 where it is wrong, naming the nearest', async (t) => {
    const [none, command, option, early] = await Promise.all([
      run(t, []),
      run(t, ['statsu']),
      run(t, ['status', '--tiemout', '5s']),
      run(t, ['--leader', 'tcp://127.0.0.1:1', 'status']),
    ]);
    assert.deepEqual(
      [none, command, option, early].map(({ code, stdout }) => [code, stdout]),
      Array(4).fill([2, '']),
    );
    assert.match(none.stderr, /^mailvan: there is no command\n {2}→ the commands are run, pub, sub, status/);
    assert.match(command.stderr, /there is no command statsu; did you mean status\?/);
    assert.match(option.stderr, /there is no option --tiemout; did you mean --timeout\?/);
    assert.match(early.stderr, /options follow the command/);
  });

  it('explains itself', async (t) => {
    const [all, pub, promote, version] = await Promise.all([
      run(t, ['--help']),
      run(t, ['pub', '--help']),
      run(t, ['help', 'promote']),
      run(t, ['--version']),
    ]);
    assert.deepEqual([all.code, pub.code, promote.code, version.code], [0, 0, 0, 0]);
    for (const word of ['run', 'pub', 'sub', 'status', 'promote', 'EXIT CODES', 'MAILVAN_LEADER'])
      assert.ok(all.stdout.includes(word));
    for (const word of ['--header', '--at-least', '--secret-file', 'EXAMPLES']) assert.ok(pub.stdout.includes(word));
    for (const word of ['TARGET', 'where the node', '--timeout', '--json', 'mailvan promote orders-2'])
      assert.ok(promote.stdout.includes(word), word);
    assert.ok(!pub.stdout.includes('\u001b'));
    const { version: expected } = JSON.parse(readFileSync(pathOf('package.json'), 'utf8'));
    assert.equal(version.stdout, `${expected}\n`);
  });

  it('is wrong with options that do not exist, lack a value or have one too many', () => {
    const read = (...raw: string[]) => readArguments('pub', raw, definitions);
    assert.equal(
      refusal(() => read('t', '--at-laest', '3')),
      'there is no option --at-laest; did you mean --at-least?',
    );
    assert.equal(
      refusal(() => read('t', '--zzz')),
      'there is no option --zzz',
    );
    assert.equal(
      refusal(() => read('t', '-x')),
      'there is no option -x',
    );
    assert.equal(
      refusal(() => read('t', '--no-json')),
      'there is no option --no-json',
    );
    assert.equal(
      refusal(() => read('t', '--header')),
      '--header needs a value',
    );
    assert.equal(
      refusal(() => read('t', '--header', '--json')),
      '--header needs a value, and --json looks like an option',
    );
    assert.equal(
      refusal(() => read('t', '--json=yes')),
      '--json takes no value',
    );
    assert.equal(
      refusal(() => read()),
      '<topic> is missing',
    );
    assert.equal(
      refusal(() => read('t', 'a', 'b')),
      '"b" is one argument too many',
    );
    const given = read('t', '--header', 'a=1', '--header=--b', '--', '-m');
    assert.deepEqual(
      [given.values('header'), given.positionals],
      [
        ['a=1', '--b'],
        ['t', '-m'],
      ],
    );
  });

  it('takes times and counts', () => {
    const times = ['250', '250ms', '1.5s', '2m', '24h'].map((text) => readDuration('--timeout', text));
    assert.deepEqual(times, [250, 250, 1500, 120_000, 86_400_000]);
    for (const text of ['', '0', '-1', '5 s', '25h', '1d']) refusal(() => readDuration('--timeout', text));
    assert.equal(readCount('--count', '12', 1), 12);
    for (const text of ['', '0', '1.5', 'x', '1e3']) refusal(() => readCount('--count', text, 1));
  });

  it('finds the word that was meant', () => {
    const words = ['run', 'pub', 'sub', 'status'];
    const meant = ['stat', 'staus', 'rnu', 'publish', 'x', 'frobnicate'].map((word) => nearest(word, words));
    assert.deepEqual(meant, ['status', 'status', 'run', undefined, undefined, undefined]);
  });
});

describe('lines', () => {
  const read = async (...chunks: string[]): Promise<string[]> => {
    const lines: string[] = [];
    for await (const line of linesOf(Readable.from(chunks.map((chunk) => Buffer.from(chunk))))) lines.push(line);
    return lines;
  };

  it('are found wherever the chunks are cut', async () => {
    assert.deepEqual(await read('a\nb', 'c\r', '\n\nd'), ['a', 'bc', '', 'd']);
    assert.deepEqual(await read('a\n'), ['a']);
    assert.deepEqual(await read(), []);
  });

  it('are refused when they have no end', async () => {
    await assert.rejects(read('x'.repeat(9 * 1024 * 1024)), /a line has more than/);
  });
});

describe('tables', () => {
  it('align text to the left and numbers to the right', () => {
    const lines = tableOf(
      [{ title: 'NAME' }, { title: 'N', numeric: true }],
      [
        ['a', '1,000'],
        ['longer', '2'],
      ],
      (s) => s,
    );
    assert.deepEqual(lines, ['  NAME        N', '  a       1,000', '  longer      2']);
  });
});
