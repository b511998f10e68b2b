import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Arrivals, addressOf } from '../../src/transport/arrivals.ts';

/** Connections that are named by where they come from, and a number. */
function arrivals(connections: number, connectionsPerAddress: number, handshakes: number) {
  const all = new Arrivals<string>({ connections, connectionsPerAddress, handshakes });
  let last = 0;
  return {
    all,
    /** @returns who had to go for it, the limit that it was refused by, or undefined when there was room. */
    come: (host: string): string | undefined => {
      const remote = host === 'unix' ? '/run/bus.sock' : `${host}:${40_000 + last}`;
      const room = all.room(remote);
      if (room?.startsWith('connections')) return room;
      all.entered(`${host} ${++last}`, remote);
      return room;
    },
  };
}

describe('connections that come in', () => {
  test('are counted by address: without the port, IPv6 by its network, all Unix sockets together', () => {
    assert.equal(addressOf('10.0.0.1:4000'), '10.0.0.1');
    assert.equal(addressOf('[2001:db8:1:2:3:4:5:6]:4000'), '2001:db8:1:2::/64');
    assert.equal(addressOf('[2001:db8:1:2::6]:4001'), '2001:db8:1:2::/64');
    assert.equal(addressOf('[2001:0db8:0001:0002::]:4001'), '2001:db8:1:2::/64');
    assert.equal(addressOf('[::1]:4001'), '0:0:0:0::/64');
    assert.equal(addressOf('[fe80::1%eth0]:4001'), 'fe80:0:0:0::/64');
    assert.equal(addressOf('[1::2:3:4:5:1.2.3.4]:4001'), '1:0:2:3::/64');
    assert.equal(addressOf('/run/mailvan.sock'), 'unix');
    assert.equal(addressOf('gone'), 'gone');
  });

  test('make room by age at their own address, and are refused there when all have proven themselves', () => {
    const { all, come } = arrivals(100, 2, 100);
    assert.equal(come('a'), undefined);
    assert.equal(come('a'), undefined);
    assert.equal(come('b'), undefined);
    assert.equal(come('a'), 'a 1');
    all.proven('a 2');
    assert.equal(come('a'), 'a 4');
    all.proven('a 5');
    assert.equal(come('a'), 'connectionsPerAddress');
    assert.equal(come('b'), undefined);
    assert.ok(all.left('a 2'));
    assert.ok(!all.left('a 2'));
    assert.equal(come('a'), undefined);
    assert.equal(all.size, 4);
  });

  test('that have not proven themselves are bounded: the oldest goes, at the address that has most of them', () => {
    const { all, come } = arrivals(100, 100, 4);
    for (const host of ['b', 'a', 'a', 'a']) assert.equal(come(host), undefined);
    assert.equal(come('c'), 'a 2');
    assert.equal(come('c'), 'a 3'); // as many as 'c' have now: those that came first
    all.proven('b 1');
    assert.equal(come('d'), undefined);
    assert.equal(all.size, 5);
  });

  test('never drive out one that has proven itself, and are refused when there are only those', () => {
    const { all, come } = arrivals(3, 3, 3);
    for (const host of ['a', 'b', 'c']) come(host);
    for (const session of ['a 1', 'b 2']) all.proven(session);
    assert.equal(come('d'), 'c 3');
    all.proven('d 4');
    assert.equal(come('e'), 'connections');
    all.left('a 1');
    assert.equal(come('e'), undefined);
  });

  test('over Unix sockets are not counted by address, but in all', () => {
    const { come } = arrivals(4, 1, 3);
    for (let i = 0; i < 3; i++) assert.equal(come('unix'), undefined);
    assert.equal(come('unix'), 'unix 1');
  });
});
