import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusError } from '../../src/core/errors.ts';
import { formatAddress, isLoopback, maxUnixPath, parseAddress } from '../../src/transport/address.ts';

test('tcp addresses are read with their host and port', () => {
  assert.deepEqual(parseAddress('tcp://10.0.8.1:7000'), { scheme: 'tcp', host: '10.0.8.1', port: 7000 });
  assert.deepEqual(parseAddress('tcp://[fe80::1]:7000'), { scheme: 'tcp', host: 'fe80::1', port: 7000 });
  assert.deepEqual(parseAddress('tcp://db-1.example.org:0'), { scheme: 'tcp', host: 'db-1.example.org', port: 0 });
});

test('tls addresses are read as tcp ones are', () => {
  assert.deepEqual(parseAddress('tls://10.0.8.1:7000'), { scheme: 'tls', host: '10.0.8.1', port: 7000 });
  assert.deepEqual(parseAddress('tls://[fe80::1]'), { scheme: 'tls', host: 'fe80::1', port: 1900 });
  for (const text of ['tls://[::1]:65535', 'tls://a:0']) assert.equal(formatAddress(parseAddress(text)), text);
  assert.throws(() => parseAddress('tls://a:65536'), { code: 'OPTION_INVALID', message: /'tls:\/\/a:1900'/ });
  assert.deepEqual(
    ['tls://127.0.0.1', 'tls://10.0.0.1'].map((text) => isLoopback(parseAddress(text))),
    [true, false],
  );
});

test('a port that is left out is 1900', () => {
  for (const host of ['10.0.8.1', '[::1]', 'leader']) {
    const address = parseAddress(`tcp://${host}`);
    assert.equal(formatAddress(address), `tcp://${host}:1900`);
  }
});

test('unix addresses are read with an absolute or a relative path', () => {
  assert.deepEqual(parseAddress('unix:/run/mailvan.sock'), { scheme: 'unix', path: '/run/mailvan.sock' });
  assert.deepEqual(parseAddress('unix:data/bus'), { scheme: 'unix', path: 'data/bus' });
  assert.deepEqual(parseAddress('unix:///run/mailvan.sock'), { scheme: 'unix', path: '/run/mailvan.sock' });
});

test('what is formatted reads as the same address', () => {
  for (const text of ['tcp://10.0.8.1:1', 'tcp://[::1]:65535', 'tcp://a:0', 'unix:/run/a', 'unix:a/b.sock']) {
    assert.equal(formatAddress(parseAddress(text)), text);
  }
});

test('what is no address is OPTION_INVALID, naming the option, the value and a correct one', () => {
  const wrong = [
    'tcp://',
    'tcp://:1900',
    'tcp://a:',
    'tcp://a:b',
    'tcp://a:65536',
    'tcp://a:1900/',
    'tcp://a b',
    'tcp://::1:1900',
    'tcp://[::1',
    'tcp://[::g]:1',
    'tcp://[10.0.0.1]:1',
    'tcp://300.1.1.1:1',
    'tcp://user@host:1',
    'tls://',
    'tls://user@host:1',
    'TLS://a',
    'tcp://-a',
    'tcp://a-',
    'TCP://a',
    'http://a',
    '10.0.8.1:1900',
    '',
    'unix:',
    'unix:/run/',
    'unix://run/a',
    'unix:/a\0b',
  ];
  for (const text of wrong) {
    assert.throws(
      () => parseAddress(text, 'listen'),
      (error) => {
        assert.ok(error instanceof BusError, text);
        assert.equal(error.code, 'OPTION_INVALID');
        // What stands before an '@' may be a password, which is not for the log.
        const shown = text.replace(/\/\/[^/]*@/, '//…@');
        assert.ok(error.message.startsWith(`listen ${JSON.stringify(shown)} `), error.message);
        assert.match(error.message, /'(tcp:\/\/|unix:\/)/);
        return true;
      },
    );
  }
  for (const value of [undefined, null, 1900, {}]) {
    assert.throws(() => parseAddress(value), { code: 'OPTION_INVALID', message: /^address .* is no text/ });
  }
});

test('the path of a Unix socket has a limit in bytes', () => {
  parseAddress(`unix:/${'a'.repeat(maxUnixPath - 1)}`);
  const long = `unix:/${'ä'.repeat(maxUnixPath / 2)}`;
  assert.throws(() => parseAddress(long), { code: 'OPTION_INVALID', message: /101 bytes.*at most 100/ });
});

test('only this machine reaches loopback addresses and Unix sockets', () => {
  for (const text of [
    'unix:a',
    'tcp://127.0.0.1',
    'tcp://127.8.9.10',
    'tcp://[::1]',
    'tcp://[0:0:0:0:0:0:0:1]',
    'tcp://[::ffff:127.0.0.1]',
    'tcp://localhost',
    'tcp://LOCALHOST:1',
    'tcp://a.localhost',
  ]) {
    assert.equal(isLoopback(parseAddress(text)), true, text);
  }
  for (const text of [
    'tcp://0.0.0.0',
    'tcp://[::]',
    'tcp://10.0.0.127',
    'tcp://128.0.0.1',
    'tcp://127.example.org',
    'tcp://localhost.example.org',
    'tcp://[::ffff:10.0.0.1]',
  ]) {
    assert.equal(isLoopback(parseAddress(text)), false, text);
  }
});
