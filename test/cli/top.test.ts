import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { runCommand } from 'citty';
import { createBus } from '../../src/bus/bus.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import { type Keyboard, top, watchTop } from '../../src/cli/top.ts';
import { type Snapshot, viewOf } from '../../src/cli/top-view.ts';
import { systemClock } from '../../src/core/clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { tempFolder } from '../storage/disk.ts';
import { leader, run } from './child.ts';

/** A screen that remembers what was written to it. */
class Screen extends EventEmitter {
  readonly isTTY = true;
  readonly rows = 14;
  text = '';

  write(text: string): boolean {
    this.text += text;
    this.emit('written');
    return true;
  }
}

/** Keys that a test presses. */
class Keys extends EventEmitter {
  readonly isTTY = true;
  isRaw = false;

  setRawMode(raw: boolean): this {
    this.isRaw = raw;
    return this;
  }

  resume(): this {
    return this;
  }

  pause(): this {
    return this;
  }
}

/** Draws until it has drawn so many times, and then presses a key. @returns everything that was written. */
async function drawn(times: number, key: string): Promise<{ text: string; keys: Keys }> {
  await using lead = await createBus({ node: 'lead', leader: true, listen: 'tcp://127.0.0.1:0', logger: silentLogger });
  lead.handlers.define('writer', () => ({ onMessage: () => undefined }));
  await lead.spawn('writer', { name: 'w', pattern: 'w\\..*' });
  await using bus = await createBus({ leader: lead.address ?? '', logger: silentLogger });
  const screen = new Screen();
  const keys = new Keys();
  const err = new Screen();
  const terminal = new Terminal(false, screen as unknown as NodeJS.WriteStream, err as unknown as NodeJS.WriteStream);
  let left = times;
  screen.on('written', () => {
    if (--left === 0) keys.emit('data', Buffer.from(key));
  });
  await watchTop(bus, terminal, keys as unknown as Keyboard, 1);
  return { text: screen.text, keys };
}

describe('mailvan top', () => {
  it('draws again and again in place until q is pressed, and leaves the terminal as it was', async () => {
    const { text, keys } = await drawn(3, 'q');
    const pictures = text.split('\u001b[H').slice(1);
    assert.equal(pictures.length, 3);
    for (const picture of pictures) {
      assert.match(picture, /Cluster .*default.*, led by .*lead/);
      assert.match(picture, /w +writer +0 +0 +lead:running/);
      assert.ok(picture.split('\n').length <= 14, picture);
    }
    assert.ok(text.startsWith('\u001b[?25l\u001b[?7l\u001b[H\u001b[2J'), 'the cursor is hidden, and nothing wraps');
    assert.ok(text.endsWith('\u001b[?7h\u001b[?25h'), 'the cursor is back');
    assert.deepEqual([keys.isRaw, keys.listenerCount('data')], [false, 0]);
  });

  it('ends on Ctrl-C, which is a key while it draws', async () => {
    const { text, keys } = await drawn(1, '\u0003');
    assert.ok(text.endsWith('\u001b[?25h'));
    assert.equal(keys.isRaw, false);
  });

  it('prints one snapshot where stdout is no terminal, the busiest first', async (t) => {
    const { address } = await leader(t, '--data', tempFolder(t));
    await using home = await createBus({ node: 'home', leader: address, logger: silentLogger });
    home.handlers.define('writer', () => ({ onMessage: () => new Promise(() => {}) }));
    await home.spawn('writer', { name: 'w', pattern: 'w', durable: true });
    await home.spawn('writer', { name: 'v', pattern: 'v' });
    for (let n = 0; n < 3; n++) await home.publish('w', n);
    await home.publish('v', 1);
    const once = await run(t, ['top', '--leader', address]);
    assert.deepEqual([once.code, once.stderr], [0, '']);
    assert.ok(!once.stdout.includes('\u001b') && !once.stdout.includes('cli-top'), once.stdout);
    assert.match(once.stdout, /^Cluster default, led by hub: 2 nodes, 2 instances, \d+ handled\/s\n\nNodes \(2\)\n/);
    assert.match(once.stdout, /\n {2}hub +leader, alive +0 +\d+ +2 +1 /);
    assert.match(once.stdout, /\n {2}home +alive +2 +\d+ +0 +1 /);
    assert.match(once.stdout, /\n {2}v +writer +0 +0 +home:running\n {2}w +writer +0 +2 +home:running\n/);
    assert.match(once.stdout, /\nBusiest \(\d\)\n.*\n {2}hub +mailbox +default\/w +w +0 +2 +1 /);
    const json = await run(t, ['top', '--json', '--leader', address]);
    const { placements, members } = JSON.parse(json.stdout);
    assert.deepEqual([placements.length, members[0].node], [2, 'hub']);
    await home.close({ timeout: 0 });
  });

  it('--once prints one snapshot on a screen, too; --interval says how often it looks', async (t) => {
    const { address } = await leader(t);
    const waits: number[] = [];
    const { timer } = systemClock;
    t.mock.method(systemClock, 'timer', (ms: number, fn: () => void) => {
      waits.push(ms);
      return timer(ms, fn);
    });
    const shown = async (...options: string[]): Promise<string> => {
      const screen = new Screen();
      const terminal = new Terminal(false, screen as unknown as NodeJS.WriteStream);
      screen.on('written', () => {
        if (screen.text.includes('\u001b[H')) screen.emit('error', { code: 'EPIPE' }); // nobody looks any more
      });
      await runCommand(top, { rawArgs: ['--leader', address, ...options], data: { terminal } });
      return screen.text;
    };
    const once = await shown('--once');
    assert.match(once, /Cluster .*default/);
    assert.ok(!once.includes('\u001b[H') && !once.includes('\u001b[?25l'), 'nothing is drawn over');
    assert.ok((await shown()).startsWith('\u001b[?25l'));
    assert.ok(!waits.includes(17 * 60_000));
    await shown('--interval', '17m');
    assert.ok(waits.includes(17 * 60_000));
  });

  it('cuts its tables to the screen, and says how much there is', () => {
    const placements = Array.from({ length: 50 }, (_, i) => ({
      name: `p${i}`,
      kind: 'k',
      singleton: false,
      wanted: 1,
      instances: [],
    }));
    const members = Array.from({ length: 40 }, (_, i) => ({
      node: `n${i}`,
      incarnation: '0',
      leader: i === 0,
      state: 'alive' as const,
      reachable: true,
      error: { code: 'TIMEOUT', message: 'no answer' },
    }));
    const snapshot: Snapshot = { cluster: 'c', leader: undefined, members, leaving: ['n1'], placements };
    for (const rows of [20, 30, 60]) {
      const lines = viewOf(snapshot, (text) => text, rows);
      assert.ok(lines.length <= rows, `${lines.length} of ${rows}`);
      assert.match(
        lines.join('\n'),
        /Nodes \(\d+ of 40\)[\s\S]*n1 +alive, leaving, no answer: TIMEOUT[\s\S]*Placements \(\d+ of 50\)/,
      );
    }
    assert.equal(viewOf(snapshot, (text) => text).length, 1 + 3 + 40 + 3 + 50);
  });

  it('is refused with 2 where its interval is no time', async (t) => {
    const { code, stderr } = await run(t, ['top', '--interval', 'often']);
    assert.equal(code, 2);
    assert.match(stderr, /--interval "often" is no time/);
  });
});
