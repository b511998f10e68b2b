import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { it } from 'node:test';
import { mailvan, moduleOf, run } from './child.ts';

const alone = ['run', moduleOf('talking.mjs'), '--lead', '--listen', 'tcp://127.0.0.1:0', '--node', 'hub'];

it('mailvan run --syslog sends the log of the bus to syslog, and nothing of it to stderr', async (t) => {
  const lines: string[] = [];
  const server = createSocket('udp4', (data) => lines.push(data.toString()));
  t.after(() => server.close());
  await once(server.bind(0, '127.0.0.1'), 'listening');
  const syslog = `udp://127.0.0.1:${server.address().port}`;
  const child = mailvan(t, [...alone, '--syslog', syslog, '--log-level', 'debug']);
  await child.says('stderr', 'Ctrl-C');
  child.kill('SIGTERM');
  const { code, stderr } = await child.ends();
  assert.equal(code, 0);
  assert.doesNotMatch(stderr, /"level"/);
  while (!lines.some((line) => line.includes('"work"')))
    await once(server, 'message', { signal: AbortSignal.timeout(5000) });
  for (const line of lines) assert.match(line, /^<(31|30|28|27)>1 \S+ \S+ mailvan \d+ - - \{.*"node":"hub".*\}$/);
});

it('--syslog is refused where it says nothing, or contradicts --log-level', async (t) => {
  const [none, silent] = await Promise.all([
    run(t, [...alone, '--syslog', 'localhost']),
    run(t, [...alone, '--syslog', 'udp://127.0.0.1', '--log-level', 'silent']),
  ]);
  assert.deepEqual([none.code, silent.code], [2, 2]);
  assert.match(none.stderr, /syslog "localhost" is no address; write 'udp:\/\/127\.0\.0\.1:514'/);
  assert.match(silent.stderr, /--log-level silent and --syslog contradict each other/);
});
