import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { configSchema } from '../../src/bus/options/config-schema.ts';
import { mailvan, type Owner, pathOf, run } from './child.ts';

/** A new folder with a `mailvan.config.json`. */
function fileWith(owner: Owner, content: unknown): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-config-'));
  owner.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'mailvan.config.json');
  writeFileSync(path, JSON.stringify(content));
  return { folder, path };
}

const subscriptions = [{ name: 'orders', pattern: 'orders\\..*' }];
const sound = { node: 'hub', leader: true, store: { folder: './data' }, subscriptions };

describe('mailvan config', { concurrency: 3 }, () => {
  it('check says in one line what a file would open', async (t) => {
    const { folder, path } = fileWith(t, sound);
    const { code, stdout, stderr } = await run(t, ['config', 'check', path]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(
      stdout,
      `${path}: opens node hub that leads cluster 'default' at tcp://127.0.0.1:1900, with its store in ${folder}/data (fsync) and 1 durable subscription\n`,
    );
  });

  it('check tells a program the same, but never the secret', async (t) => {
    const leader = 'tcp://10.0.8.1:1900';
    const capabilities = { region: 'eu', gpu: 2 };
    const { folder, path } = fileWith(t, {
      leader,
      capabilities,
      secret: { env: 'SHOP_SECRET' },
      store: { folder: '.' },
      subscriptions,
    });
    const child = mailvan(t, ['config', 'check', path, '--json'], { SHOP_SECRET: 'a secret of some length' });
    const { code, stdout } = await child.ends();
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), {
      ...{
        file: path,
        role: 'leaf',
        cluster: 'default',
        service: 'default',
        leader,
        secret: true,
        tls: false,
        dataDir: folder,
      },
      capabilities,
      subscriptions,
    });
  });

  it('check ends with 2 where the file is wrong, and names the place', async (t) => {
    const wrong = { ...sound, subscriptions: [...subscriptions, { ...subscriptions[0], limits: { mesages: 5 } }] };
    const pattern = { subscriptions: [{ name: 'a', pattern: 'a(' }] };
    const [first, second] = [fileWith(t, wrong), fileWith(t, pattern)];
    const [text, json] = await Promise.all([
      run(t, ['config', 'check', first.path]),
      run(t, ['config', 'check', second.path, '--json']),
    ]);
    assert.deepEqual([text.code, text.stdout, json.code, json.stdout], [2, '', 2, '']);
    assert.equal(
      text.stderr,
      `mailvan: ${first.path}: subscriptions[1].limits: there is no 'mesages'; did you mean 'messages'? [OPTION_INVALID]\n` +
        "  → 'mailvan config schema' prints everything that the file may hold\n",
    );
    const { error } = JSON.parse(json.stderr);
    assert.deepEqual([error.code, error.exitCode], ['PATTERN_INVALID', 2]);
    assert.ok(error.message.startsWith(`${second.path}: subscriptions[0].pattern: `), error.message);
  });

  it('check looks for mailvan.config.json in the working folder', async (t) => {
    const { code, stderr } = await run(t, ['config', 'check']);
    assert.equal(code, 2);
    assert.match(stderr, /^mailvan: mailvan\.config\.json: cannot be read: there is no such file in \//);
    assert.ok(stderr.includes(pathOf('.').replace(/\/$/, '')));
  });

  it('schema prints the JSON Schema', async (t) => {
    const [pretty, line] = await Promise.all([run(t, ['config', 'schema']), run(t, ['config', 'schema', '--json'])]);
    assert.deepEqual([pretty.code, line.code], [0, 0]);
    assert.deepEqual(JSON.parse(pretty.stdout), configSchema());
    assert.equal(line.stdout, `${JSON.stringify(configSchema())}\n`);
  });

  it('is refused with 2 where it is not called as it should be, naming the nearest', async (t) => {
    const [none, action, file, many] = await Promise.all([
      run(t, ['config']),
      run(t, ['config', 'chekc']),
      run(t, ['config', 'schema', 'a.json']),
      run(t, ['config', 'check', 'a.json', 'b.json']),
    ]);
    assert.deepEqual(
      [none, action, file, many].map(({ code, stdout }) => [code, stdout]),
      Array(4).fill([2, '']),
    );
    assert.match(none.stderr, /<action> is missing/);
    assert.match(action.stderr, /no action "chekc"; did you mean check\?/);
    assert.match(file.stderr, /schema takes no file, and "a\.json" was given/);
    assert.match(many.stderr, /"b\.json" is one argument too many/);
  });

  it('explains itself', async (t) => {
    const [all, own] = await Promise.all([run(t, ['--help']), run(t, ['config', '--help'])]);
    assert.deepEqual([all.code, own.code], [0, 0]);
    assert.match(all.stdout, / {2}config {2}Check a file of settings/);
    for (const word of ['ACTION', 'check', 'schema', 'mailvan.config.json', 'EXAMPLES']) {
      assert.ok(own.stdout.includes(word), word);
    }
  });
});
