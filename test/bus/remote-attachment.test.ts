import assert from 'node:assert/strict';
import { test } from 'node:test';
import { once } from '../../src/bus/consuming/patience.ts';
import { RemoteAttachment } from '../../src/bus/consuming/remote-attachment.ts';
import type { RemoteConsumer } from '../../src/bus/consuming/remote-consumer.ts';
import { BusError, type ErrorCode } from '../../src/core/errors.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';

test('a home that refuses a consumer for good is warned of once; one that is away is not', async () => {
  const clock = new VirtualClock();
  const said: string[] = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    error: () => undefined,
    warn: ({ err }: { err: BusError }) => void said.push(err.code),
    child: () => log,
  };
  const answers: (ErrorCode | undefined)[] = [
    'NODE_UNREACHABLE',
    'MAILBOX_FULL',
    'MAILBOX_FULL',
    'NODE_UNREACHABLE',
    'MAILBOX_FULL',
    'DENIED',
    undefined,
    'DENIED',
  ];
  const host = {
    clock,
    log: log as never,
    asking: once,
    reachable: () => true,
    ended: () => undefined,
    ask: async () => {
      const code = answers.shift();
      if (code !== undefined) throw new BusError(code, 'not now');
    },
  };
  const entry = { id: 'ee', name: 'default/work', home: 'home' };
  const attachment = new RemoteAttachment(host, entry as never, 'aa', 1, 1000, undefined);
  // Never linked, so it is asked for again and again.
  const consumer = { busy: [], begin: () => 1, linked: false, state: 'active' };
  await attachment.start(consumer as unknown as RemoteConsumer);
  while (answers.length > 0) await clock.advance(500);
  assert.deepEqual(said, ['MAILBOX_FULL', 'DENIED', 'DENIED']);
});
