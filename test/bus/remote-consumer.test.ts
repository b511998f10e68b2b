import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RemoteConsumer, type RemoteConsumerOptions } from '../../src/bus/consuming/remote-consumer.ts';
import type { Link } from '../../src/bus/streams/link.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { flow } from '../../src/wire/flow.ts';

/** A consumer that has what opening streams needs, and how often one of them ended. */
function consumer(): { consumer: RemoteConsumer; ends: () => number } {
  let ended = 0;
  const options: Partial<RemoteConsumerOptions> = {
    clock: new VirtualClock(),
    handler: () => undefined,
    concurrency: 1,
    timeout: 1000,
    consumer: 'cc',
    most: () => 3,
    ended: () => void ended++,
  };
  return { consumer: new RemoteConsumer(options as RemoteConsumerOptions), ends: () => ended };
}

/** A link, by what is told over it. */
function link(): { link: Link; told: string[] } {
  const told: string[] = [];
  const tell = (kind: number, stream: number): void => void told.push(`${kind} ${stream}`);
  return { link: { tell } as unknown as Link, told };
}

test('a stream that comes late over another link does not take the place of the one that was asked for since', () => {
  const { consumer: it, ends } = consumer();
  const [relayed, direct] = [link(), link()];
  const first = it.begin();
  const second = it.begin(); // the first one did not come in time
  assert.ok(second > first);
  assert.equal(it.open(direct.link, 1, second, false), true);
  assert.equal(it.open(relayed.link, 1, first, false), false);
  assert.equal(it.open(relayed.link, 2, first, true), false, 'nor when its home has moved it meanwhile');
  it.ended(relayed.link, 1);
  assert.deepEqual([it.linked, ends()], [true, 0]);
  assert.deepEqual([direct.told, relayed.told], [[`${flow.confirm} 1`], []]);
});

test('one that was asked for before, and comes before the one that was asked for since, is none', () => {
  const { consumer: it } = consumer();
  const [relayed, direct] = [link(), link()];
  const first = it.begin();
  const second = it.begin();
  assert.equal(it.open(relayed.link, 1, first, false), false);
  assert.equal(it.open(direct.link, 1, second + 3, false), true, 'the home may begin higher');
  assert.ok(it.begin() > second + 3);
});

test('a stream goes on over another link, also when nothing has come by it, and its end is told', () => {
  const { consumer: it, ends } = consumer();
  const [relayed, direct] = [link(), link()];
  const from = it.begin();
  assert.equal(it.open(relayed.link, 7, from, false), true);
  assert.equal(it.open(direct.link, 1, from, true), true);
  assert.deepEqual(relayed.told, [`${flow.confirm} 7`, `${flow.unlinked} 7`]);
  it.ended(relayed.link, 7);
  assert.deepEqual([it.linked, ends()], [true, 0]);
  it.ended(direct.link, 1);
  assert.deepEqual([it.linked, ends()], [false, 1]);
});
