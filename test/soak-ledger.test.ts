import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ledger, readLines } from '../soak/kill/ledger.ts';

test('a ledger whose process was killed in the middle of a line has all others, whoever goes on with it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mailvan-ledger-'));
  try {
    const path = join(folder, 'receipts');
    assert.deepEqual(readLines(path), []);
    const before = new Ledger(folder, 'receipts');
    before.now('1 0 p.1');
    await Promise.all([before.write('2 0 p.2'), before.write('3 0 p.3')]);
    assert.deepEqual(readLines(path), ['1 0 p.1', '2 0 p.2', '3 0 p.3']);
    const whole = readFileSync(path);
    const third = whole.indexOf('\n3');
    for (let cut = third; cut < whole.length; cut++) {
      writeFileSync(path, whole);
      truncateSync(path, cut);
      assert.deepEqual(readLines(path), ['1 0 p.1', '2 0 p.2'], `cut at ${cut}`);
      await new Ledger(folder, 'receipts').write('178878 1 p.178878');
      assert.deepEqual(readLines(path), ['1 0 p.1', '2 0 p.2', '178878 1 p.178878'], `cut at ${cut}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
