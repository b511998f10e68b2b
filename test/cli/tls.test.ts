import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { nodeNamesOf } from '../../src/transport/tls-problem.ts';
import { tempFolder } from '../storage/disk.ts';
import { leader, mailvan, ownerOfSuite, run } from './child.ts';

describe('mailvan secret', () => {
  it('prints a new secret of 256 bits and nothing else', async (t) => {
    const [one, two] = await Promise.all([run(t, ['secret']), run(t, ['secret'])]);
    assert.deepEqual([one.code, one.stderr], [0, '']);
    assert.match(one.stdout, /^[A-Za-z0-9_-]{43}\n$/);
    assert.notEqual(one.stdout, two.stdout);
  });
});

describe('mailvan cert gen', { concurrency: 2 }, () => {
  it('makes an authority and a certificate for each node, with keys that only their owner can read', async (t) => {
    const folder = join(tempFolder(t), 'pki');
    const { code, stdout, stderr } = await run(t, ['cert', 'gen', folder, 'orders-1', 'b_2.x', '--days', '30']);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /for a test/);
    const names = ['b_2.x.crt', 'b_2.x.key', 'ca.crt', 'ca.key', 'orders-1.crt', 'orders-1.key'];
    assert.deepEqual(readdirSync(folder).sort(), names);
    for (const name of names) {
      assert.ok(stdout.includes(name) || name === 'ca.key', `${name} is not told of`);
      if (name.endsWith('.key')) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
    }
    const certificate = (name: string): X509Certificate => new X509Certificate(readFileSync(join(folder, name)));
    const ca = certificate('ca.crt');
    for (const node of ['orders-1', 'b_2.x']) {
      const made = certificate(`${node}.crt`);
      assert.deepEqual(nodeNamesOf(made.subjectAltName), [node]);
      assert.ok(made.checkIssued(ca) && made.verify(ca.publicKey) && !made.ca);
      assert.equal(made.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
      const days = (Date.parse(made.validTo) - Date.now()) / 86_400_000;
      assert.ok(days > 29.9 && days <= 30, `${days} days`);
    }
  });

  it('adds nodes by the authority that is there, and overwrites nothing', async (t) => {
    const folder = tempFolder(t);
    await run(t, ['cert', 'gen', folder, 'a']);
    const before = readFileSync(join(folder, 'ca.crt'), 'utf8');
    const json = await run(t, ['cert', 'gen', folder, 'b', '--json']);
    const [line] = json.stdout.trim().split('\n');
    assert.deepEqual(JSON.parse(line ?? '').cert, join(folder, 'b.crt'));
    assert.equal(readFileSync(join(folder, 'ca.crt'), 'utf8'), before);
    const again = await run(t, ['cert', 'gen', folder, 'c', 'b']);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /b\.crt, .*b\.key exist, and nothing is overwritten/);
    assert.ok(!readdirSync(folder).includes('c.crt'), 'half of it was done');
  });

  it('refuses what it cannot do, before anything is made', async (t) => {
    const folder = join(tempFolder(t), 'none');
    for (const [args, problem] of [
      [['gen', folder, 'ca'], /no node can be named 'ca'/],
      [['gen', folder, 'a', 'a'], /a is there twice/],
      [['gen', folder, 'a b'], /node "a b" must be/],
      [['gen', folder, 'a', '--days', '9999'], /--days 9999 is more than 3650/],
      [['gen', folder], /<node\.\.\.> is missing/],
      [['make', folder, 'a'], /cert has no action "make"/],
    ] as const) {
      const { code, stderr } = await run(t, ['cert', ...args]);
      assert.equal(code, 2, stderr);
      assert.match(stderr, problem);
    }
    assert.deepEqual(readdirSync(join(folder, '..')), []);
  });

  it('does not sign with half an authority, or with what is none', async (t) => {
    const folder = tempFolder(t);
    writeFileSync(join(folder, 'ca.crt'), 'nothing');
    const half = await run(t, ['cert', 'gen', folder, 'a']);
    assert.match(half.stderr, /cannot sign: only .*ca\.crt is there/);
    writeFileSync(join(folder, 'ca.key'), 'nothing');
    const none = await run(t, ['cert', 'gen', folder, 'a']);
    assert.deepEqual([half.code, none.code], [1, 1]);
    assert.match(none.stderr, /ca\.crt is no certificate of an authority/);
  });
});

describe('commands by tls://', () => {
  const owner = ownerOfSuite();
  let folder = '';
  let address = '';
  const given = (node: string): string[] => [
    ...['--tls-cert', join(folder, `${node}.crt`), '--tls-key', join(folder, `${node}.key`)],
    ...['--tls-ca', join(folder, 'ca.crt')],
  ];
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mailvan-'));
    owner.after(() => rmSync(folder, { recursive: true, force: true }));
    await run(owner, ['cert', 'gen', folder, 'hub', 'cli', 'other']);
    ({ address } = await leader(owner, '--listen', 'tls://127.0.0.1:0', ...given('hub')));
  });

  it('join by the certificate that is given, under the name that it bears', async (t) => {
    const sub = mailvan(t, ['sub', 'news', '--count', '1', '--leader', address, ...given('cli')]);
    await sub.says('stderr', 'listens');
    const status = await run(t, ['status', '--json', '--leader', address, ...given('other')]);
    const { members } = JSON.parse(status.stdout) as { members: { node: string }[] };
    assert.deepEqual(members.map(({ node }) => node).sort(), ['cli', 'hub']);
    const pub = await run(t, ['pub', 'news', 'hello', '--leader', address, ...given('other')]);
    assert.equal(pub.code, 0, pub.stderr);
    assert.match((await sub.ends()).stdout, /hello/);
  });

  it('take the certificate from the environment where an address asks for TLS', async (t) => {
    const env = {
      MAILVAN_TLS_CERT: join(folder, 'other.crt'),
      MAILVAN_TLS_KEY: join(folder, 'other.key'),
      MAILVAN_TLS_CA: join(folder, 'ca.crt'),
    };
    const secured = await mailvan(t, ['status', '--leader', address], env).ends();
    assert.equal(secured.code, 0, secured.stderr);
    const plain = await leader(t);
    const open = await mailvan(t, ['status', '--leader', plain.address], env).ends();
    assert.equal(open.code, 0, open.stderr);
  });

  it('say what is missing, and why they are refused', async (t) => {
    const missing = await run(t, ['status', '--leader', address, '--tls-ca', join(folder, 'ca.crt')]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /missing: --tls-cert \(or MAILVAN_TLS_CERT\), --tls-key \(or MAILVAN_TLS_KEY\)/);
    const misnamed = await run(t, ['status', '--leader', address, ...given('cli'), '--node', 'x']);
    assert.equal(misnamed.code, 2);
    assert.match(misnamed.stderr, /bears 'cli' and not 'x'/);
    const plain = await run(t, ['status', '--leader', address.replace('tls', 'tcp')]);
    assert.equal(plain.code, 3);
    assert.match(plain.stderr, /it speaks no TLS/);
  });
});
