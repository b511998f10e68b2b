import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type RequestLink, Requests } from '../../src/bus/network/requests.ts';
import { deferred } from '../../src/core/async.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import type { ControlFrame } from '../../src/wire/frame.ts';

setFlagsFromString('--expose_gc');
const gc = runInNewContext('gc') as () => void;

class Wire implements RequestLink {
  readonly sent: ControlFrame[] = [];
  readonly buffer = new Uint8Array(65_536);

  send(frame: ControlFrame): boolean {
    this.sent.push(frame);
    return true;
  }
}

function request(id: number): ControlFrame & { type: 'request' } {
  return { type: 'request', id, source: 'asker', target: 'home', method: 'takes.long', params: null };
}

test('an answer goes over the link that was asked over, and nowhere when that has gone', async () => {
  const requests = new Requests(new VirtualClock(), 'home');
  const [gone, open] = [new Wire(), new Wire()];
  const end = deferred<number>();
  for (const link of [gone, open]) requests.answer(request(1), () => end.promise, link);
  assert.equal(requests.answering('asker'), 2);
  requests.lost(gone);
  end.resolve(42);
  await requests.answered();
  assert.deepEqual(open.sent, [{ type: 'reply', id: 1, target: 'asker', value: 42 }]);
  assert.deepEqual(gone.sent, []);
  await Promise.resolve();
  assert.equal(requests.answering('asker'), 0);
});

test('a request that takes long to answer keeps no link that has gone in memory', async () => {
  const requests = new Requests(new VirtualClock(), 'home');
  const end = deferred<void>();
  const links = Array.from({ length: 20 }, () => {
    const link = new Wire();
    requests.answer(request(1), () => end.promise, link);
    requests.lost(link);
    return new WeakRef(link);
  });
  // What was just held is held until the turn is over.
  await new Promise<void>((done) => setImmediate(done));
  gc();
  const kept = links.filter((link) => link.deref() !== undefined).length;
  assert.ok(kept <= 1, `${kept} of 20 links are kept`);
  end.resolve();
  await requests.answered();
});
