import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mailbox, type MailboxLimits } from '../../src/actors/mailbox.ts';
import { MailboxBed, mailboxSuite } from '../../src/testing/mailbox-suite.ts';

mailboxSuite('in memory', (host, limits) => new Mailbox(host, limits));

/** A memory mailbox, seen whole. */
function memory(limits: Partial<MailboxLimits>): { bed: MailboxBed; mailbox: Mailbox } {
  let mailbox: Mailbox | undefined;
  const bed = new MailboxBed(
    (host, resolved) => {
      mailbox = new Mailbox(host, resolved);
      return mailbox;
    },
    limits,
    1,
  );
  return { bed, mailbox: mailbox as Mailbox }; // the bed has made it
}

test('it looks past 10,000 messages of busy keys and no further', () => {
  const { bed } = memory({ messages: 30_000, bytes: 100_000_000 });
  bed.offer('first', 'k', 1);
  const first = bed.expect('first');
  for (let i = 0; i < 9_999; i++) bed.offer(`k${i}`, 'k', 1);
  bed.offer('free', undefined, 1);
  bed.expect('free');
  bed.offer('k9999', 'k', 1);
  bed.offer('beyond', undefined, 1);
  assert.equal(bed.take(), undefined);
  assert.equal(bed.mailbox.ready, false, 'nothing can be taken until the key is free');
  bed.settle(first);
  assert.equal(bed.mailbox.ready, true);
  bed.expect('k0');
  bed.expect('beyond');
});

test('it looks past 8 MiB of busy keys and no further', () => {
  const { bed } = memory({ messages: 100, bytes: 100_000_000 });
  const mebibyte = 1024 * 1024;
  bed.offer('first', 'k', 1);
  bed.expect('first');
  for (let i = 0; i < 7; i++) bed.offer(`k${i}`, 'k', mebibyte);
  bed.offer('free', undefined, 1);
  bed.expect('free');
  bed.offer('k7', 'k', mebibyte);
  bed.offer('beyond', undefined, 1);
  assert.equal(bed.take(), undefined);
});

test('a busy key lets what is behind it pass while other keys come and go', () => {
  const { bed } = memory({ messages: 10_000 });
  bed.offer('slow', 'slow');
  bed.expect('slow');
  const order: string[] = [];
  for (let i = 0; i < 1000; i++) {
    bed.offer(`behind${i}`, 'slow');
    bed.offer(`m${i}`, `k${i % 7}`);
    const next = bed.take();
    assert.ok(next !== undefined);
    order.push(next.message.id);
    bed.settle(next);
  }
  assert.deepEqual(
    order,
    Array.from({ length: 1000 }, (_, i) => `m${i}`),
  );
  assert.equal(bed.mailbox.waiting, 1000);
});

test('the room that publishers on other nodes are told of is shared among those who wait, and none without space', () => {
  const { bed, mailbox } = memory({ messages: 100, bytes: 10_000 });
  assert.equal(mailbox.room, 100);
  for (let i = 0; i < 50; i++) bed.offer(`m${i}`);
  assert.equal(mailbox.room, 50);
  mailbox.wait(bed.waiter(100, true));
  assert.equal(mailbox.room, 25);
  for (const overflow of ['reject', 'drop-oldest', 'drop-newest'] as const) {
    const other = memory({ messages: 1, overflow });
    other.bed.offer('a');
    assert.equal(other.mailbox.room, Number.MAX_SAFE_INTEGER, `${overflow} makes nobody wait`);
  }
  const heavy = memory({ bytes: 10 });
  heavy.bed.offer('a', undefined, 10);
  assert.equal(heavy.mailbox.room, 0);
});
