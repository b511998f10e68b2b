import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { createBus } from '../../src/bus/bus.ts';
import { isRunning, readPidFile } from '../../src/cli/pid-file.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { mailvan, moduleOf, run } from './child.ts';

const lead = ['--lead', '--listen', 'tcp://127.0.0.1:0', '--node', 'hub'];
const linux = process.platform === 'linux' ? false : 'needs /proc';

/** A folder; what runs by its pid file at the end of the test does so no longer. */
function place(t: TestContext): { folder: string; pidFile: string; logFile: string; log: () => string } {
  const folder = tempFolder(t);
  const pidFile = `${folder}/mailvan.pid`;
  const logFile = `${folder}/mailvan.log`;
  t.after(() => {
    const mark = existsSync(pidFile) ? readPidFile(pidFile) : undefined;
    if (mark !== undefined && isRunning(mark)) process.kill(mark.pid, 'SIGKILL');
  });
  return { folder, pidFile, logFile, log: () => readFileSync(logFile, 'utf8') };
}

/** Waits until something holds. */
async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('mailvan run --detach, mailvan stop', { concurrency: 2 }, () => {
  it('returns when it runs; the handlers go on, and stop ends it in order', async (t) => {
    const { folder, pidFile, logFile, log } = place(t);
    const started = await run(t, ['run', moduleOf('talking.mjs'), ...lead, '--data', folder, '--detach', '--json']);
    assert.equal(started.code, 0, started.stderr);
    const { detached } = JSON.parse(started.stdout);
    assert.deepEqual([detached.node, detached.pidFile, detached.logFile], ['hub', pidFile, logFile]);
    assert.equal(readFileSync(pidFile, 'utf8').split('\n')[0], String(detached.pid));
    {
      await using bus = await createBus({ leader: detached.address, logger: silentLogger });
      const receipt = await bus.publish('work', 'after the start', { atLeast: 1 });
      assert.equal(receipt.matched, 1);
      await until('it is handled', () => log().includes('handled after the start\n'));
    }
    assert.ok(log().includes('started by nobody\n'), 'what the module starts does not take itself for detached');
    const stopped = await run(t, ['stop', '--data', folder]);
    assert.deepEqual([stopped.code, stopped.stdout], [0, `process ${detached.pid} has ended\n`]);
    assert.match(log(), /\{"closing":"SIGTERM"\}\nthe module has ended\n$/);
    assert.ok(!existsSync(pidFile));
    const again = await run(t, ['stop', '--data', folder, '--json']);
    assert.equal(again.code, 1);
    assert.equal(JSON.parse(again.stderr).error.code, 'NOT_FOUND');
  });

  it('tells why it could not start, with the exit code of that, and leaves no pid file', async (t) => {
    const { folder, pidFile } = place(t);
    const data = ['--detach', '--data', folder];
    const throwing = await run(t, ['run', moduleOf('throwing.mjs'), ...lead, ...data]);
    assert.equal(throwing.code, 1);
    assert.match(throwing.stderr, /TypeError: no such table\n\s+at define \(.*throwing\.mjs/);
    const alone = ['run', moduleOf('talking.mjs'), '--leader', 'tcp://127.0.0.1:9', '--timeout', '200ms', '--json'];
    const away = await run(t, [...alone, '--detach', '--pid-file', pidFile, '--log-file', `${folder}/mailvan.log`]);
    assert.equal(away.code, 3);
    assert.equal(JSON.parse(away.stderr).error.code, 'NO_LEADER');
    assert.ok(!existsSync(pidFile));
    const log = await run(t, ['run', moduleOf('talking.mjs'), ...lead, '--log-file', `${folder}/x`]);
    assert.equal(log.code, 2);
    assert.match(log.stderr, /--log-file goes with --detach/);
  });

  it('does not start beside one that runs, replaces the file of one that has crashed, and of a number that was given again', async (t) => {
    const { folder, pidFile, log } = place(t);
    const start = [
      'run',
      moduleOf('talking.mjs'),
      ...lead,
      '--detach',
      '--pid-file',
      pidFile,
      '--log-file',
      `${folder}/mailvan.log`,
    ];
    const first = await run(t, [...start, '--json']);
    assert.equal(first.code, 0, first.stderr);
    const second = await run(t, start);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /process \d+ runs already, as .*mailvan\.pid says\n {2}→ 'mailvan stop' ends it/);
    const mark = readPidFile(pidFile);
    assert.ok(mark !== undefined && isRunning(mark));
    process.kill(mark.pid, 'SIGKILL');
    await until('it has ended', () => !isRunning(mark));
    assert.ok(existsSync(pidFile), 'a crash leaves it');
    const stale = await run(t, ['stop', '--pid-file', pidFile]);
    assert.equal(stale.code, 1);
    assert.match(stale.stderr, /runs no more/);
    assert.ok(!existsSync(pidFile), 'it is taken away');
    writeFileSync(pidFile, `${process.pid}\nsome other start\n`); // this very process runs, but it was never meant
    if (process.platform === 'linux') {
      const third = await run(t, start);
      assert.equal(third.code, 0, third.stderr);
      assert.notEqual(readPidFile(pidFile)?.pid, process.pid);
      assert.equal((await run(t, ['stop', '--pid-file', pidFile])).code, 0);
    }
    assert.ok(log().length > 0);
  });

  it('of two that are started at once with one pid file, one runs', async (t) => {
    const { folder, pidFile } = place(t);
    writeFileSync(pidFile, '999999999\nlong ago\n');
    const start = ['run', moduleOf('talking.mjs'), ...lead, '--detach', '--data'];
    const both = await Promise.all(
      ['a', 'b'].map((data) => run(t, [...start, `${folder}/${data}`, '--pid-file', pidFile])),
    );
    assert.deepEqual(both.map(({ code }) => code).sort(), [0, 1], both.map(({ stderr }) => stderr).join());
    assert.equal((await run(t, ['stop', '--pid-file', pidFile])).code, 0);
  });

  it('a crash before it runs is told with what it said last', async (t) => {
    const { folder } = place(t);
    const file = `${folder}/dying.mjs`;
    writeFileSync(
      file,
      "export default () => { process.stderr.write('the last words\\n'); process.kill(process.pid, 'SIGKILL'); };",
    );
    const { code, stderr } = await run(t, ['run', file, ...lead, '--detach', '--data', folder]);
    assert.equal(code, 1);
    assert.match(stderr, /it ended before it ran, with a signal; it said:\nthe last words\n/);
  });

  it('Ctrl-C before it runs ends it', async (t) => {
    const { folder, pidFile } = place(t);
    const file = `${folder}/slow.mjs`;
    writeFileSync(file, 'setInterval(() => {}, 1000); export default () => new Promise(() => {});');
    const start = performance.now();
    const child = mailvan(t, ['run', file, ...lead, '--detach', '--data', folder]);
    await until('it has begun', () => existsSync(pidFile));
    child.kill('SIGINT');
    const { code, stderr } = await child.ends();
    assert.equal(code, 1);
    assert.match(stderr, /SIGINT: it was ended before it ran/);
    assert.ok(performance.now() - start < 15_000);
    assert.ok(!existsSync(pidFile) || !isRunning(readPidFile(pidFile) as never));
  });

  it('opens its log anew on SIGHUP', { skip: linux }, async (t) => {
    const { folder, logFile, log } = place(t);
    const started = await run(t, ['run', moduleOf('talking.mjs'), ...lead, '--detach', '--data', folder, '--json']);
    const { detached } = JSON.parse(started.stdout);
    renameSync(logFile, `${logFile}.1`);
    process.kill(detached.pid, 'SIGHUP');
    await until('there is a new one', () => existsSync(logFile));
    assert.equal((await run(t, ['stop', '--data', folder])).code, 0);
    assert.match(readFileSync(`${logFile}.1`, 'utf8'), /^started by nobody\n\{"running":/);
    assert.equal(log(), '{"closing":"SIGTERM"}\nthe module has ended\n');
  });

  it('one that does not end in time goes on, unless it is killed by --force', async (t) => {
    const { folder, pidFile } = place(t);
    const started = await run(t, ['run', moduleOf('hanging.mjs'), ...lead, '--detach', '--data', folder]);
    assert.equal(started.code, 0, started.stderr);
    const late = await run(t, ['stop', '--data', folder, '--timeout', '300ms', '--json']);
    assert.equal(late.code, 6);
    assert.equal(JSON.parse(late.stderr).error.code, 'TIMEOUT');
    const mark = readPidFile(pidFile);
    assert.ok(mark !== undefined && isRunning(mark));
    process.kill(mark.pid, 'SIGSTOP'); // a second SIGTERM would end it at once
    const killed = await run(t, ['stop', '--data', folder, '--timeout', '300ms', '--force', '--json']);
    assert.equal(killed.code, 0, killed.stderr);
    assert.deepEqual(JSON.parse(killed.stdout), { stopped: { pid: mark.pid, killed: true, pidFile } });
    assert.ok(!existsSync(pidFile));
  });

  it('without --detach, --pid-file is there while it runs, and stop ends it, too', async (t) => {
    const { pidFile } = place(t);
    const child = mailvan(t, ['run', moduleOf('talking.mjs'), ...lead, '--pid-file', pidFile]);
    await child.says('stderr', 'Ctrl-C');
    assert.equal(readPidFile(pidFile)?.pid, child.process.pid);
    assert.equal((await run(t, ['stop', '--pid-file', pidFile])).code, 0);
    assert.equal((await child.ends()).code, 0);
    assert.ok(!existsSync(pidFile));
    writeFileSync(pidFile, 'shopping list');
    const wrong = await run(t, ['stop', '--pid-file', pidFile]);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /is not a pid file of mailvan/);
  });

  it('a process that has ended and that nobody has asked for its exit code runs no more', {
    skip: linux,
  }, async (t) => {
    // `sh` does not wait for its child, which stays as a zombie until `sh` ends.
    const shell = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    t.after(() => shell.kill('SIGKILL'));
    const [said] = (await once(shell.stdout, 'data')) as [Buffer];
    await until('it is a zombie', () => !isRunning({ pid: Number(said) }));
  });
});
