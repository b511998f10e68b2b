import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PermanentError } from '../../src/core/errors.ts';
import { refusal, resolved, type World, world } from '../core/testbed.ts';

/** Gives up a message on each topic, one second after the other. */
async function bury({ bus, clock }: World, ...topics: string[]): Promise<void> {
  for (const topic of topics) {
    bus.emit(topic, { topic }, { headers: { h: topic }, key: 'k' });
    await clock.advance(1000);
  }
}

/** A bus with a subscription 'graveyard' to `g.*` whose handler gives up every message until it is `cured`. */
async function graveyard(t: Parameters<typeof world>[0], options: Parameters<typeof world>[1] = {}) {
  const w = await world(t, options);
  const state = { cured: false };
  const seen: unknown[] = [];
  const sub = await w.bus.subscribe(
    'g\\..*',
    (message, { attempt }) => {
      seen.push([message.topic, attempt]);
      if (!state.cured) throw new PermanentError(`no ${message.topic}`);
    },
    { name: 'graveyard' },
  );
  return { ...w, w, sub, state, seen };
}

const topics = (letters: readonly { topic: string }[]): string[] => letters.map(({ topic }) => topic);

test('a dead letter tells everything about its message', async (t) => {
  const { w, bus, clock } = await graveyard(t);
  const began = clock.now();
  await bury(w, 'g.a');
  const [letter] = await bus.deadLetters.list();
  assert.ok(letter !== undefined);
  const { id, messageId, ...rest } = letter;
  assert.match(messageId, /^[0-9a-f]{16}\.\d+$/);
  assert.deepEqual(rest, {
    subscription: 'graveyard',
    topic: 'g.a',
    payload: { topic: 'g.a' },
    headers: { h: 'g.a' },
    key: 'k',
    reason: 'permanent',
    attempts: 1,
    firstError: { name: 'PermanentError', message: 'no g.a', at: began },
    lastError: { name: 'PermanentError', message: 'no g.a', at: began },
    source: 'here',
    publishedAt: began,
    deadAt: began,
  });
  assert.deepEqual(await bus.deadLetters.get(id), letter);
});

test('the first and the last error are kept', async (t) => {
  const { bus, clock } = await world(t);
  const began = clock.now();
  await bus.subscribe('t', (_message, { attempt }) => Promise.reject(new TypeError(`failure ${attempt}`)), {
    retry: { attempts: 3, jitter: 0 },
  });
  bus.emit('t', 1);
  await clock.advance(1000);
  const [letter] = await bus.deadLetters.list();
  assert.deepEqual(letter?.firstError, { name: 'TypeError', message: 'failure 1', at: began });
  assert.deepEqual(letter?.lastError, { name: 'TypeError', message: 'failure 3', at: began + 300 });
});

describe('list()', () => {
  test('gives the oldest first, whatever their number', async (t) => {
    const { w, bus } = await graveyard(t);
    const given = Array.from({ length: 40 }, (_, i) => `g.${i}`);
    await bury(w, ...given);
    assert.deepEqual(topics(await bus.deadLetters.list()), given);
  });

  test('filters by subscription, topic, time and number', async (t) => {
    const { w, bus, clock } = await graveyard(t);
    await bus.subscribe('g\\.b', () => Promise.reject(new PermanentError('no')), { name: 'other' });
    const began = clock.now();
    await bury(w, 'g.a', 'g.b', 'g.c');
    const list = async (filter: Parameters<typeof bus.deadLetters.list>[0]): Promise<string[]> =>
      topics(await bus.deadLetters.list(filter));
    assert.deepEqual(await list({}), ['g.a', 'g.b', 'g.b', 'g.c']);
    assert.deepEqual(await list({ subscription: 'other' }), ['g.b']);
    assert.deepEqual(await list({ subscription: 'nobody' }), []);
    assert.deepEqual(await list({ topic: /[ac]$/ }), ['g.a', 'g.c']);
    assert.deepEqual(await list({ topic: 'g\\.c' }), ['g.c']);
    assert.deepEqual(await list({ since: began + 1000 }), ['g.b', 'g.b', 'g.c']);
    assert.deepEqual(await list({ since: new Date(began + 1001) }), ['g.c']);
    assert.deepEqual(await list({ limit: 2 }), ['g.a', 'g.b']);
    assert.deepEqual(await list({ subscription: 'graveyard', topic: /./, since: began + 1, limit: 1 }), ['g.b']);
  });

  test('refuses what is no filter', async (t) => {
    const { bus } = await world(t);
    await assert.rejects(bus.deadLetters.list({ topic: '(' }), refusal('PATTERN_INVALID'));
    for (const [filter, ...texts] of [
      [{ subscriptions: 'x' }, "'subscriptions'", "'subscription'"],
      [{ limit: -1 }, 'limit -1'],
      [{ limit: '5' }, 'limit "5"'],
      [{ since: 'yesterday' }, 'since "yesterday"'],
      [{ since: new Date('nonsense') }, 'since'],
      [{ subscription: 5 }, 'subscription 5'],
      [null, 'null'],
    ] as const) {
      await assert.rejects(async () => bus.deadLetters.list(filter as object), refusal('OPTION_INVALID', ...texts));
    }
  });
});

test('get() of what does not exist is NOT_FOUND, naming it', async (t) => {
  const { bus } = await world(t);
  await assert.rejects(bus.deadLetters.get('nope'), refusal('NOT_FOUND', '"nope"'));
});

describe('replay()', () => {
  test('moves messages back into their mailbox, in the given order, their attempts counted anew', async (t) => {
    const { w, bus, clock, state, seen, sub } = await graveyard(t);
    await bury(w, 'g.a', 'g.b', 'g.c');
    const [a, b, c] = (await bus.deadLetters.list()).map(({ id }) => id);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    state.cured = true;
    seen.length = 0;
    assert.equal(await resolved(clock, bus.deadLetters.replay([c, a, c])), 2, 'twice in the list is once');
    await clock.settle();
    assert.deepEqual(seen, [
      ['g.c', 1],
      ['g.a', 1],
    ]);
    assert.deepEqual(topics(await bus.deadLetters.list()), ['g.b']);
    assert.equal((await bus.status()).deadLetters.size, 1);
    assert.equal(sub.stats().handled, 2);
  });

  test('keeps id, payload, headers, key, source and time of publishing', async (t) => {
    const { w, bus, clock } = await world(t).then(async (w) => ({ ...w, w }));
    const seen: unknown[] = [];
    await bus.subscribe('t', (message) => {
      seen.push(message.toJSON());
      if (seen.length === 1) throw new PermanentError('no');
    });
    bus.emit('t', { n: 1n, at: new Date(0) }, { id: 'mine', key: 'k', headers: { h: 'v' } });
    await w.clock.advance(5000);
    await resolved(clock, bus.deadLetters.replay((await bus.deadLetters.list()).map(({ id }) => id)));
    await clock.settle();
    assert.equal(seen.length, 2);
    assert.deepEqual(seen[1], seen[0]);
  });

  test('joins the tail of its lane', async (t) => {
    const { bus, clock } = await world(t);
    const seen: unknown[] = [];
    let cured = false;
    const sub = await bus.subscribe('t', ({ payload }) => {
      if (!cured) throw new PermanentError('no');
      seen.push(payload);
    });
    bus.emit('t', 'old', { key: 'k' });
    await clock.settle();
    cured = true;
    sub.pause();
    bus.emit('t', 'new', { key: 'k' });
    await resolved(clock, bus.deadLetters.replay((await bus.deadLetters.list()).map(({ id }) => id)));
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['new', 'old']);
  });

  test('a message that dies again is a dead letter again', async (t) => {
    const { w, bus, clock } = await graveyard(t);
    await bury(w, 'g.a');
    const [first] = await bus.deadLetters.list();
    assert.equal(await resolved(clock, bus.deadLetters.replay([first?.id ?? ''])), 1);
    await clock.advance(1000);
    const [second] = await bus.deadLetters.list();
    assert.equal(second?.messageId, first?.messageId);
    assert.notEqual(second?.id, first?.id);
    assert.equal((await bus.status()).deadLetters.size, 1);
  });

  test('unless every id is found, nothing is moved', async (t) => {
    const { w, bus, clock, seen } = await graveyard(t);
    await bury(w, 'g.a');
    seen.length = 0;
    const [a] = (await bus.deadLetters.list()).map(({ id }) => id);
    await assert.rejects(resolved(clock, bus.deadLetters.replay([a ?? '', 'nope'])), refusal('NOT_FOUND', '"nope"'));
    await clock.settle();
    assert.deepEqual(seen, []);
    assert.equal((await bus.status()).deadLetters.size, 1);
  });

  test('without its subscription it is NOT_FOUND, saying what to do', async (t) => {
    const { w, bus, clock, sub } = await graveyard(t);
    await bury(w, 'g.a');
    const [a] = (await bus.deadLetters.list()).map(({ id }) => id);
    await resolved(clock, sub.close());
    await assert.rejects(
      resolved(clock, bus.deadLetters.replay([a ?? ''])),
      refusal('NOT_FOUND', "'graveyard'", 'subscribe it again', 'drop the letter'),
    );
    assert.equal((await bus.status()).deadLetters.size, 1);
  });

  test('into a full mailbox it moves what fits and says how many', async (t) => {
    const { bus, clock, sub, w } = await world(t).then(async (w) => {
      const sub = await w.bus.subscribe('t', () => Promise.reject(new PermanentError('no')), {
        limits: { messages: 2 },
      });
      return { ...w, w, sub };
    });
    for (let i = 0; i < 3; i++) {
      w.bus.emit('t', i);
      await clock.settle();
    }
    sub.pause();
    const ids = (await bus.deadLetters.list()).map(({ id }) => id);
    await assert.rejects(resolved(clock, bus.deadLetters.replay(ids)), refusal('MAILBOX_FULL', '2 of 3'));
    assert.equal(sub.stats().waiting, 2);
    assert.deepEqual(
      (await bus.deadLetters.list()).map(({ payload }) => payload),
      [2],
    );
  });

  test('the same letter twice at a time is moved once', async (t) => {
    const { w, bus, clock, state, seen } = await graveyard(t);
    await bury(w, 'g.a');
    const [a] = (await bus.deadLetters.list()).map(({ id }) => id);
    state.cured = true;
    seen.length = 0;
    await Promise.allSettled([
      resolved(clock, bus.deadLetters.replay([a ?? ''])),
      resolved(clock, bus.deadLetters.replay([a ?? ''])),
    ]);
    await clock.settle();
    assert.deepEqual(seen, [['g.a', 1]]);
    assert.equal((await bus.status()).deadLetters.size, 0);
  });
});

test('a letter whose payload could not be kept is never replayed as something else', async (t) => {
  const { bus, clock } = await world(t);
  const seen: unknown[] = [];
  await bus.subscribe<Record<string, unknown>>('t', ({ payload }) => {
    seen.push(payload);
    payload.self = payload;
    throw new PermanentError('no');
  });
  bus.emit('t', { n: 1 });
  await clock.settle();
  await resolved(clock, bus.deadLetters.replay((await bus.deadLetters.list()).map(({ id }) => id))).catch(() => {});
  await clock.advance(60_000);
  assert.equal(seen.length, 1, `the handler got ${String(seen[1])} instead of what was published`);
  assert.equal((await bus.status()).deadLetters.size, 1);
});

describe('drop()', () => {
  test('throws letters away, each once, or none when one is not there', async (t) => {
    const { w, bus, clock } = await graveyard(t);
    await bury(w, 'g.a', 'g.b');
    const [a, b] = (await bus.deadLetters.list()).map(({ id }) => id);
    await assert.rejects(resolved(clock, bus.deadLetters.drop([a ?? '', 'nope'])), refusal('NOT_FOUND'));
    assert.equal((await bus.status()).deadLetters.size, 2);
    assert.equal(await resolved(clock, bus.deadLetters.drop([a ?? '', a ?? ''])), 1);
    assert.deepEqual(topics(await bus.deadLetters.list()), ['g.b']);
    assert.equal(await resolved(clock, bus.deadLetters.drop([])), 0);
    await assert.rejects(bus.deadLetters.get(a ?? ''), refusal('NOT_FOUND'));
    assert.equal(await resolved(clock, bus.deadLetters.drop([b ?? ''])), 1);
    assert.equal((await bus.status()).deadLetters.size, 0);
  });

  test('the same letter twice at a time counts once', async (t) => {
    const { w, bus, clock } = await graveyard(t);
    await bury(w, 'g.a', 'g.b');
    const [a] = (await bus.deadLetters.list()).map(({ id }) => id);
    await Promise.allSettled([
      resolved(clock, bus.deadLetters.drop([a ?? ''])),
      resolved(clock, bus.deadLetters.drop([a ?? ''])),
    ]);
    assert.equal((await bus.status()).deadLetters.size, 1);
  });
});

test('replay() and drop() take a list of ids, and say so', async (t) => {
  const { bus, clock } = await world(t);
  for (const ids of ['abc', undefined, null, 5, [5]] as unknown as string[][]) {
    await assert.rejects(async () => resolved(clock, bus.deadLetters.replay(ids)), refusal('OPTION_INVALID'));
    await assert.rejects(async () => resolved(clock, bus.deadLetters.drop(ids)), refusal('OPTION_INVALID'));
  }
});

describe('when the dead letters are full', () => {
  test('the subscription pauses and keeps what it gives up; it goes on when letters are dropped', async (t) => {
    const { w, bus, clock, sub, seen } = await graveyard(t, { limits: { deadLetters: 2 } });
    for (const topic of ['g.a', 'g.b', 'g.c', 'g.d']) bus.emit(topic, 1);
    await clock.settle();
    assert.equal(sub.state, 'paused');
    assert.deepEqual(seen.length, 3);
    assert.equal((await bus.status()).deadLetters.size, 2);
    assert.equal(sub.stats().waiting, 2, 'the one that has no place, and the one not tried yet');
    const [paused] = w.seen('subscription.paused');
    assert.match(paused?.reason ?? '', /dead letters are full/);

    const [a, b] = (await bus.deadLetters.list()).map(({ id }) => id);
    await resolved(clock, bus.deadLetters.drop([a ?? '']));
    await clock.settle();
    assert.deepEqual(topics(await bus.deadLetters.list()), ['g.b', 'g.c']);
    assert.equal(sub.state, 'paused', 'the next one has no place, either');
    await resolved(clock, bus.deadLetters.drop([b ?? '']));
    await clock.settle();
    assert.equal(sub.state, 'active');
    assert.deepEqual(topics(await bus.deadLetters.list()), ['g.c', 'g.d']);
    assert.deepEqual(
      w.seen('message.dead').map(({ topic }) => topic),
      ['g.a', 'g.b', 'g.c', 'g.d'],
    );
  });

  test('they are by their bytes, too, and how many of those there may be is limits.deadLetterBytes', async (t) => {
    const { w, bus, clock, sub } = await graveyard(t, { limits: { deadLetterBytes: 2500 } });
    for (const topic of ['g.a', 'g.b', 'g.c', 'g.d']) bus.emit(topic, new Uint8Array(1000));
    await clock.settle();
    assert.equal(sub.state, 'paused');
    assert.match(w.seen('subscription.paused')[0]?.reason ?? '', /dead letters are full/);
    const letters = await bus.deadLetters.list();
    assert.deepEqual(topics(letters), ['g.a', 'g.b']);
    await resolved(clock, bus.deadLetters.drop(letters.map(({ id }) => id)));
    await clock.settle();
    assert.equal(sub.state, 'active');
    assert.deepEqual(topics(await bus.deadLetters.list()), ['g.c', 'g.d']);
  });

  test('a subscription that somebody has paused is not resumed by it', async (t) => {
    const { bus, clock, sub, state } = await graveyard(t, { limits: { deadLetters: 1 } });
    for (const topic of ['g.a', 'g.b']) bus.emit(topic, 1);
    await clock.settle();
    assert.equal(sub.state, 'paused');
    sub.pause();
    state.cured = true;
    await resolved(clock, bus.deadLetters.drop((await bus.deadLetters.list()).map(({ id }) => id)));
    await clock.settle();
    assert.equal(sub.state, 'paused', 'pause() holds until resume()');
    sub.resume();
    assert.equal(sub.state, 'active');
  });

  test('one that was paused before, and whose last running message died meanwhile, is not resumed by it', async (t) => {
    const { bus, clock } = await world(t, { limits: { deadLetters: 1 } });
    const fails: (() => void)[] = [];
    const sub = await bus.subscribe(
      't',
      () => new Promise((_, reject) => fails.push(() => reject(new PermanentError('no')))),
      { concurrency: 2 },
    );
    for (const n of [1, 2, 3]) bus.emit('t', n);
    await clock.settle();
    sub.pause();
    for (const fail of fails) fail();
    await clock.settle();
    await resolved(clock, bus.deadLetters.drop((await bus.deadLetters.list()).map(({ id }) => id)));
    await clock.settle();
    assert.equal(sub.state, 'paused');
  });

  test('resume() before there is room pauses again at the next failure: what is kept aside stays bounded', async (t) => {
    const { bus, clock, sub } = await graveyard(t, { limits: { deadLetters: 1 } });
    for (let i = 0; i < 10; i++) bus.emit(`g.${i}`, 1);
    await clock.settle();
    assert.equal(sub.state, 'paused');
    sub.resume();
    await clock.settle();
    assert.equal(sub.state, 'paused');
    assert.equal(sub.stats().failed, 3);
  });

  test('other subscriptions go on', async (t) => {
    const { bus, clock, sub } = await graveyard(t, { limits: { deadLetters: 1 } });
    const healthy: unknown[] = [];
    await bus.subscribe('g\\..*', ({ topic }) => void healthy.push(topic));
    for (const topic of ['g.a', 'g.b', 'g.c']) bus.emit(topic, 1);
    await clock.settle();
    assert.equal(sub.state, 'paused');
    assert.deepEqual(healthy, ['g.a', 'g.b', 'g.c']);
  });

  test('the order of a key is kept: what follows waits until the dead one is stored', async (t) => {
    const { bus, clock } = await world(t, { limits: { deadLetters: 1 } });
    const seen: unknown[] = [];
    const sub = await bus.subscribe(
      't',
      ({ payload }) => {
        seen.push(payload);
        if (payload !== 'good') throw new PermanentError('no');
      },
      { concurrency: 4 },
    );
    for (const payload of ['bad', 'worse', 'good']) bus.emit('t', payload, { key: 'k' });
    await clock.settle();
    sub.resume();
    await clock.settle();
    assert.deepEqual(seen, ['bad', 'worse']);
    await resolved(clock, bus.deadLetters.drop((await bus.deadLetters.list()).map(({ id }) => id)));
    await clock.settle();
    assert.deepEqual(seen, ['bad', 'worse', 'good']);
  });

  test('what has no place when the bus closes is dropped, counted and told', async (t) => {
    const { w, bus, clock, sub } = await graveyard(t, { limits: { deadLetters: 1 } });
    for (const topic of ['g.a', 'g.b']) bus.emit(topic, 1);
    await clock.settle();
    await w.close();
    assert.equal(sub.stats().dropped, 1);
    assert.deepEqual(
      w.seen('message.dropped').map(({ count, reason }) => [count, reason]),
      [[1, 'dead-letters-full']],
    );
  });
});

test('after close() the dead letters are CLOSED', async (t) => {
  const w = await world(t);
  await w.close();
  await assert.rejects(w.bus.deadLetters.list(), refusal('CLOSED'));
  await assert.rejects(w.bus.deadLetters.get('x'), refusal('CLOSED'));
  await assert.rejects(resolved(w.clock, w.bus.deadLetters.drop(['x'])), refusal('CLOSED'));
});
