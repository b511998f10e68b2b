import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { DeadLetterFilter } from '../../src/actors/dead-letter.ts';
import { fingerprintOf, Grouping, kindOf } from '../../src/actors/dead-letter-groups.ts';
import { MemorySource } from '../../src/bus/durable/store-source.ts';
import { PermanentError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import type { VirtualClock } from '../../src/core/virtual-clock.ts';
import { MemoryStore } from '../../src/storage/memory.ts';
import { recordKind, unpackRecord } from '../../src/storage/record.ts';
import type { StoreOperation } from '../../src/storage/store.ts';
import { Disk, type Fault } from '../../src/testing/disk.ts';
import { type Outcome, outcomeOf, refusal, type World, world } from '../core/testbed.ts';
import { Life, policyOf } from './durable-bed.ts';

/** The value of a promise that takes as many rounds as it takes. */
async function resolved<T>(clock: VirtualClock, promise: Promise<T>): Promise<T> {
  let outcome: Outcome<T> = await outcomeOf(clock, promise);
  for (let round = 0; outcome.state === 'pending' && round < 1000; round++) outcome = await outcomeOf(clock, promise);
  if (outcome.state === 'resolved') return outcome.value;
  throw outcome.state === 'rejected' ? outcome.error : new Error('the promise is pending');
}

/** A store that remembers what was written with one commit. */
class RecordingStore extends MemoryStore {
  readonly batches: (readonly StoreOperation[])[] = [];

  override async write(operations: readonly StoreOperation[], sync: boolean): Promise<void> {
    this.batches.push(operations);
    await super.write(operations, sync);
  }
}

interface Yard extends World {
  readonly store: RecordingStore;
  /** What was handled. */
  readonly handled: unknown[];
  /** Handlers succeed from now on. */
  cure(): void;
  /** Publishes messages that are given up with these errors, a second apart. */
  bury(...errors: string[]): Promise<void>;
}

/** A bus with a durable and a memory subscription to `d.*` and `m.*`, whose handlers throw their payloads. */
async function yard(t: Parameters<typeof world>[0]): Promise<Yard> {
  const store = new RecordingStore();
  const w = await world(t, {}, { source: new MemorySource(store) });
  let cured = false;
  const handled: unknown[] = [];
  const handler = (message: Message): void => {
    if (!cured) throw new PermanentError(String(message.payload));
    handled.push(message.toJSON());
  };
  await resolved(w.clock, w.bus.subscribe('d\\..*', handler, { name: 'lasting', durable: true }));
  await resolved(w.clock, w.bus.subscribe('m\\..*', handler, { name: 'fleeting' }));
  const bury = async (...errors: string[]): Promise<void> => {
    for (const error of errors) {
      w.bus.emit(/^[dm]\./.test(error) ? error : `d.${error.length}`, error);
      await w.clock.advance(1000);
    }
  };
  return { ...w, store, handled, bury, cure: () => (cured = true) };
}

async function payloads({ bus, clock }: World, filter?: DeadLetterFilter): Promise<unknown[]> {
  return (await resolved(clock, bus.deadLetters.list(filter))).map(({ payload }) => payload);
}

const size = async ({ bus }: World): Promise<number> => (await bus.status()).deadLetters.size;

describe('list() of dead letters', () => {
  test('filters by error: a text in name or message of the first or last one, or a fingerprint', async (t) => {
    const w = await yard(t);
    await w.bury('no order 5', 'no order 77', 'timeout');
    assert.deepEqual(await payloads(w, { error: 'ORDER' }), ['no order 5', 'no order 77']);
    assert.deepEqual(await payloads(w, { error: 'permanenterror' }), ['no order 5', 'no order 77', 'timeout']);
    assert.deepEqual(await payloads(w, { error: 'nothing of that' }), []);
    const [first] = await resolved(w.clock, w.bus.deadLetters.list());
    const fingerprint = fingerprintOf(first ?? assert.fail());
    assert.deepEqual(await payloads(w, { error: fingerprint }), ['no order 5', 'no order 77']);
  });

  test('filters by reason and by times, since included and until not', async (t) => {
    const w = await yard(t);
    const began = w.clock.now();
    await w.bury('a', 'b', 'c');
    assert.deepEqual(await payloads(w, { since: began + 1000, until: began + 2000 }), ['b']);
    assert.deepEqual(await payloads(w, { until: new Date(began) }), []);
    assert.deepEqual(await payloads(w, { reason: 'permanent' }), ['a', 'b', 'c']);
    assert.deepEqual(await payloads(w, { reason: 'crash' }), []);
    for (const subscription of ['lasting', 'default/lasting']) {
      assert.deepEqual(await payloads(w, { subscription }), ['a', 'b', 'c']);
    }
    assert.deepEqual(await payloads(w, { subscription: 'other/lasting' }), []);
    for (const filter of [{ reason: 'bored' }, { error: 5 }, { until: 'noon' }, { after: 7 }] as object[]) {
      await assert.rejects(w.bus.deadLetters.list(filter), refusal('OPTION_INVALID', Object.keys(filter)[0] ?? ''));
    }
  });

  test('goes on behind the last letter of a page, although that is gone', async (t) => {
    const w = await yard(t);
    const given = Array.from({ length: 25 }, (_, i) => `e${i}`);
    await w.bury(...given);
    const found: unknown[] = [];
    for (let after: string | undefined; ; ) {
      const page = await resolved(
        w.clock,
        w.bus.deadLetters.list({ limit: 10, ...(after === undefined ? {} : { after }) }),
      );
      found.push(...page.map(({ payload }) => payload));
      after = page.at(-1)?.id;
      if (after === undefined) break;
      await resolved(w.clock, w.bus.deadLetters.drop([after]));
    }
    assert.deepEqual(found, given);
  });

  test('passes over a letter that cannot be read, and says so in the log', async (t) => {
    const w = await yard(t);
    await w.bury('a', 'b', 'c');
    const [, b] = await resolved(w.clock, w.bus.deadLetters.list());
    const key = `dead/${b?.id}`;
    const value = Uint8Array.from((await w.store.get(key)) ?? []);
    value[value.length - 3] = (value[value.length - 3] ?? 0) ^ 1;
    await w.store.write([{ type: 'put', key, value }], true);
    assert.deepEqual(await payloads(w), ['a', 'c']);
    assert.deepEqual(
      w.log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields.key),
      [key],
    );
    await assert.rejects(resolved(w.clock, w.bus.deadLetters.get(b?.id ?? '')), refusal('STORE_CORRUPT', key));
    assert.equal(await resolved(w.clock, w.bus.deadLetters.drop([b?.id ?? ''])), 1, 'it can be thrown away');
    assert.equal(await size(w), 2);
  });
});

describe('groups() of dead letters', () => {
  test('have one kind of error: numbers, hexadecimal, UUIDs and quoted parts differ within one', () => {
    for (const [message, kind] of [
      ["no order 4711 for 'Ann'", 'no order # for #'],
      ['no order 12 for "Bob B."', 'no order # for #'],
      ['timeout after 1.5 s at 10.0.8.1:5432', 'timeout after # s at #'],
      ["can't find 9f86d081884c7d65", "can't find #"],
      ['address 0xdeadbeef', 'address #'],
      ['job 123e4567-e89b-12d3-a456-426614174000  failed\n', 'job # failed'],
      ['a defaced facade', 'a defaced facade'],
      ['', ''],
    ] as const) {
      assert.equal(kindOf(message), kind);
    }
    const about = (subscription: string, name: string, message: string): string =>
      fingerprintOf({ subscription, lastError: { name, message, at: 0 } });
    assert.equal(about('s', 'Error', 'no order 1'), about('s', 'Error', 'no order 22'));
    assert.notEqual(about('s', 'Error', 'no order 1'), about('s', 'TypeError', 'no order 1'));
    assert.notEqual(about('s', 'Error', 'no order 1'), about('r', 'Error', 'no order 1'));
    assert.equal(about('default/work', 'Error', 'no order 1'), 'ce32e7cf75770eaa', 'it is stable between versions');
  });

  test('tell how many there are, when, on which topics, and show the newest; the largest comes first', async (t) => {
    const w = await yard(t);
    const began = w.clock.now();
    await w.bury('timeout 1', 'no order 5', 'no order 77', 'no order 1');
    const groups = await resolved(w.clock, w.bus.deadLetters.groups());
    assert.deepEqual(
      groups.map(({ count, error }) => [count, error.message]),
      [
        [3, 'no order #'],
        [1, 'timeout #'],
      ],
    );
    const { fingerprint, sample, ...rest } = groups[0] ?? assert.fail();
    assert.match(fingerprint, /^[0-9a-f]{16}$/);
    assert.deepEqual(rest, {
      subscription: 'default/lasting',
      error: { name: 'PermanentError', message: 'no order #' },
      count: 3,
      first: began + 1000,
      last: began + 3000,
      topics: ['d.10', 'd.11'],
    });
    assert.equal(sample.error.message, 'no order 1');
    assert.equal((await resolved(w.clock, w.bus.deadLetters.get(sample.id))).payload, 'no order 1');
    assert.equal((await resolved(w.clock, w.bus.deadLetters.groups({ limit: 1 }))).length, 1);
    assert.equal((await resolved(w.clock, w.bus.deadLetters.groups({ error: 'timeout' })))[0]?.count, 1);
  });

  test('take memory that has a bound, whatever the errors are', () => {
    const grouping = new Grouping();
    for (let i = 0; i < 10_500; i++) {
      const letter = `${i.toString(26).replace(/\d/g, (d) => 'qrstuvwxyz'[Number(d)] ?? '')}`;
      const error = { name: 'Error', message: `no ${letter}`, at: 0 };
      grouping.add({ id: `${i}`, topic: 't', deadAt: i, subscription: 's', lastError: error } as never);
    }
    const groups = grouping.largest(20_000);
    assert.equal(groups.length, 10_001);
    assert.deepEqual([groups[0]?.fingerprint, groups[0]?.count], ['others', 500]);
  });
});

describe('replay()', () => {
  test('is one commit: the letter goes and the message enters', async (t) => {
    const w = await yard(t);
    await w.bury('a');
    w.cure();
    const [letter] = await resolved(w.clock, w.bus.deadLetters.list());
    w.store.batches.length = 0;
    await resolved(w.clock, w.bus.deadLetters.replay([letter?.id ?? '']));
    const parts = w.store.batches.map((batch) => ({
      removes: batch.some(({ type, key }) => type === 'del' && key === `dead/${letter?.id}`),
      enters: batch.some(({ type, key }) => type === 'put' && key.startsWith('sg/')),
      counts: batch.some(({ key }) => key === 'dl'),
    }));
    assert.deepEqual(parts[0], { removes: true, enters: true, counts: true });
    assert.equal(parts.filter(({ removes }) => removes).length, 1);
    await w.clock.advance(100);
    assert.equal((await w.bus.mailboxes.stats('lasting')).handled, 1);
  });

  test('by a filter moves what it names, leaves what is given up meanwhile, and says how many', async (t) => {
    const w = await yard(t);
    await w.bury(...Array.from({ length: 300 }, (_, i) => `e${i}`), 'm.x');
    assert.equal(await resolved(w.clock, w.bus.deadLetters.replay({ filter: { topic: 'd\\..*', limit: 299 } })), 299);
    await w.clock.advance(1000);
    assert.equal(await size(w), 301, 'they failed again, each once');
    w.cure();
    assert.equal(await resolved(w.clock, w.bus.deadLetters.replay({ filter: {} })), 301);
    await w.clock.advance(1000);
    assert.equal(await size(w), 0);
    for (const what of [{}, { filter: null }, { filter: { limt: 5 } }, { filter: {}, ids: [] }] as never[]) {
      await assert.rejects(resolved(w.clock, w.bus.deadLetters.replay(what)), refusal('OPTION_INVALID'));
      await assert.rejects(resolved(w.clock, w.bus.deadLetters.drop(what)), refusal('OPTION_INVALID'));
    }
  });

  test('counts attempts anew, and drops the time to live', async (t) => {
    const w = await yard(t);
    w.bus.emit('d.x', 'late', { ttl: 5000 });
    await w.clock.advance(60_000);
    w.cure();
    await resolved(w.clock, w.bus.deadLetters.replay({ filter: {} }));
    await w.clock.advance(100);
    assert.equal((await w.bus.mailboxes.stats('lasting')).handled, 1);
  });
});

test('drop() by a filter throws away what it names, and says how many', async (t) => {
  const w = await yard(t);
  await w.bury('a 1', 'b', 'a 2', 'm.c');
  assert.equal(await resolved(w.clock, w.bus.deadLetters.drop({ filter: { error: 'a ' } })), 2);
  assert.deepEqual(await payloads(w), ['b', 'm.c']);
  assert.equal(await resolved(w.clock, w.bus.deadLetters.drop({ filter: { subscription: 'nobody' } })), 0);
  assert.equal(await resolved(w.clock, w.bus.deadLetters.drop({ filter: {} })), 2);
  assert.equal(await size(w), 0);
});

describe('edit()', () => {
  test('replays a changed copy in place of the letter, in one commit', async (t) => {
    const w = await yard(t);
    w.bus.emit('d.x', 'wrong', { id: 'mine', key: 'k', headers: { a: '1' } });
    await w.clock.advance(10);
    const [letter] = await resolved(w.clock, w.bus.deadLetters.list());
    w.cure();
    w.store.batches.length = 0;
    const changes = { payload: { right: 1 }, topic: 'd.y', headers: { b: '2' }, key: null };
    assert.equal(await resolved(w.clock, w.bus.deadLetters.edit(letter?.id ?? '', changes)), undefined);
    const [first] = w.store.batches;
    assert.ok(first?.some(({ type, key }) => type === 'del' && key === `dead/${letter?.id}`));
    assert.ok(first?.some(({ type, key }) => type === 'put' && key.startsWith('sg/')));
    await w.clock.advance(100);
    const { publishedAt, source } = letter ?? assert.fail();
    const { key: _, ...changed } = changes;
    assert.deepEqual(w.handled, [{ id: 'mine', ...changed, publishedAt, source }]);
    assert.equal(await size(w), 0);
  });

  test('checks what is changed as publish() does, and then the letter stays', async (t) => {
    const w = await yard(t);
    await w.bury('a');
    const [letter] = await resolved(w.clock, w.bus.deadLetters.list());
    const edit = (changes: object) => resolved(w.clock, w.bus.deadLetters.edit(letter?.id ?? '', changes));
    await assert.rejects(edit({ topic: '$no' }), refusal('TOPIC_INVALID'));
    await assert.rejects(edit({ payload: () => 1 }), refusal('PAYLOAD_INVALID'));
    await assert.rejects(edit({ payload: 'x'.repeat(2 ** 21) }), refusal('PAYLOAD_TOO_LARGE'));
    await assert.rejects(edit({ headers: { a: 1 } }), refusal('OPTION_INVALID', 'header'));
    await assert.rejects(edit({ key: '' }), refusal('OPTION_INVALID', 'key'));
    await assert.rejects(edit({ attempts: 1 }), refusal('OPTION_INVALID', "'attempts'"));
    await assert.rejects(edit(null as never), refusal('OPTION_INVALID'));
    await assert.rejects(resolved(w.clock, w.bus.deadLetters.edit('nope', {})), refusal('NOT_FOUND', '"nope"'));
    assert.deepEqual(await payloads(w), ['a']);
  });
});

describe('how many dead letters there are is known exactly', () => {
  /** A life with a mailbox whose messages are given up at once. */
  async function dying(disk: Disk, epoch?: number): Promise<Life> {
    const life = await Life.start(disk, { ...(epoch === undefined ? {} : { epoch }), deadLimit: 1000, delay: 3 });
    const { mailbox } = await life.mailbox('a/b', policyOf({ retry: { attempts: 1 } }));
    life.consume(mailbox, () => Promise.reject(new Error('no')));
    return life;
  }

  /** What the records themselves say. */
  function counted(disk: Disk): { count: number; bytes: number } {
    const keys = disk.keys('dead/');
    return { count: keys.length, bytes: keys.reduce((sum, key) => sum + (disk.values.get(key)?.length ?? 0), 0) };
  }

  const told = ({ deadLetters: { size: count, bytes } }: Life): { count: number; bytes: number } => ({ count, bytes });

  test('after a crash at any moment', async () => {
    const disk = new Disk();
    let epoch: number | undefined;
    for (let round = 0; round < 30; round++) {
      const life = await dying(disk, epoch);
      const { mailbox } = await life.mailbox('a/b');
      for (let i = 0; i < 5; i++) life.offer(mailbox, i);
      await life.clock.advance(round % 7);
      const ids = (await life.run(() => life.deadLetters.list({ limit: 2 }))).map(({ id }) => id);
      life.deadLetters.drop(ids).catch(() => undefined);
      await life.clock.advance(round % 5);
      epoch = life.kill();
      disk.powerOff((round % 4) / 3);
      const value = disk.values.get('dl');
      const { count, bytes } = value === undefined ? counted(disk) : unpackRecord(recordKind.dead, 'dl', value);
      assert.deepEqual({ count, bytes }, counted(disk), `round ${round}`);
    }
    const life = await dying(disk, epoch);
    await life.clock.advance(60_000);
    assert.deepEqual(told(life), counted(disk));
  });

  for (const fault of ['lost', 'applied'] satisfies Fault[]) {
    test(`after a commit that failed: ${fault}`, async () => {
      const disk = new Disk();
      const life = await dying(disk);
      const { mailbox } = await life.mailbox('a/b');
      for (let i = 0; i < 4; i++) life.offer(mailbox, i);
      await life.clock.advance(100);
      const [a, b] = (await life.run(() => life.deadLetters.list())).map(({ id }) => id);
      for (const verb of ['drop', 'replay'] as const) {
        life.source.behaviour.faults.set(0, fault);
        const id = verb === 'drop' ? a : b;
        await assert.rejects(
          life.run(() => life.deadLetters[verb]([id ?? ''])),
          refusal('STORE_FAILED', 'list them when the store is open again'),
        );
        await life.clock.advance(10_000);
        assert.deepEqual(told(life), counted(disk), verb);
        const there = (await life.run(() => life.deadLetters.list())).some((letter) => letter.id === id);
        assert.equal(there, fault === 'lost', verb);
      }
      assert.equal(life.deadLetters.size, fault === 'lost' ? 4 : 3, 'what was replayed has died again');
    });
  }

  test('without the record that says so, or when it cannot be read', async () => {
    const disk = new Disk();
    const life = await dying(disk);
    const { mailbox } = await life.mailbox('a/b');
    for (let i = 0; i < 4; i++) life.offer(mailbox, i);
    await life.clock.advance(100);
    let epoch = await life.close();
    for (const value of [undefined, new Uint8Array(20)]) {
      disk.tamper('dl', value);
      const next = await Life.start(disk, { epoch });
      assert.deepEqual(told(next), counted(disk));
      epoch = await next.close();
      const { count } = unpackRecord(recordKind.dead, 'dl', disk.values.get('dl') ?? new Uint8Array(0));
      assert.equal(count, 4, 'it is written again');
    }
  });

  test('and a clock that goes back writes no letter over another', async () => {
    const disk = new Disk();
    let life = await dying(disk);
    life.offer((await life.mailbox('a/b')).mailbox, 'first');
    await life.clock.advance(100);
    await life.close();
    life = await dying(disk); // begins at the time of the first one
    life.offer((await life.mailbox('a/b')).mailbox, 'second');
    await life.clock.advance(100);
    const letters = await life.run(() => life.deadLetters.list());
    assert.deepEqual(
      letters.map(({ payload }) => payload),
      ['first', 'second'],
    );
  });
});
