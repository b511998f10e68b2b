import { createBus } from 'mailvan';

// One process of soak/home-away.ts and soak/competing.ts: its role and its options as JSON. Says what happens as JSON lines on
// stdout; the end of stdin ends it in order.

interface Task {
  node: string;
  leader?: string;
  listen?: string;
  dataDir?: string;
  /** Publish numbers from here on. */
  publish?: { from: number; pace: number; keys?: number };
  /** Handle them. */
  consume?: { concurrency: number; time: number };
  /** Only have the mailbox, and another one that tells in which order the home took the settlements. */
  keep?: boolean;
}

const task = JSON.parse(process.argv[2] ?? '{}') as Task;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const { node, leader, listen, dataDir } = task;
const bus = await createBus({
  node,
  service: 'soak',
  secret: 'the secret of this soak',
  ...(leader === undefined ? { leader: true } : { leader }),
  ...(listen === undefined ? {} : { listen }),
  ...(dataDir === undefined ? {} : { dataDir }),
});
bus.on('message.dead', ({ id, attempts, reason }) => say({ dead: id, attempts, reason }));
const options = { name: 'work', durable: true, retry: { attempts: 5, delay: 50 }, timeout: 5_000 };
if (task.keep === true) {
  await bus.subscribe('numbers', null, options);
  const settled = { name: 'settled', durable: true };
  await bus.subscribe('settled', ({ payload, headers }) => say({ settled: payload, of: headers.key }), settled);
}
if (task.consume !== undefined) {
  const { concurrency, time } = task.consume;
  const handler = async (
    message: { payload: unknown; key?: string | undefined },
    context: { attempt: number; publish(topic: string, payload: unknown, options?: object): Promise<void> },
  ) => {
    const { attempt } = context;
    const n = Number(message.payload);
    say({ begun: n, attempt, key: message.key, at: Date.now() });
    if (n < 0) process.kill(process.pid, 'SIGKILL');
    if (time > 0) await wait(Math.random() * time);
    // Written with the settlement, or not at all.
    if (message.key !== undefined) await context.publish('settled', n, { headers: { key: message.key } });
    say({ handled: n, attempt, key: message.key, at: Date.now() });
  };
  await bus.subscribe('numbers', handler, { ...options, concurrency });
}
say({ up: node });

let running = true;
const publishing = (async (): Promise<void> => {
  if (task.publish === undefined) return;
  const { from, pace, keys = 0 } = task.publish;
  for (let n = from; running; n++) {
    say({ tried: n });
    const key = keys === 0 || n % 2 === 0 ? {} : { key: `k${n % keys}` };
    bus.publish('numbers', n, key).then(
      ({ stored, spooled }) => say({ ok: n, stored, spooled }),
      (error: { code?: string }) => say({ failed: n, code: error.code }),
    );
    await wait(pace);
  }
})();
process.stdin.setEncoding('utf8');
for await (const text of process.stdin) {
  for (const line of String(text).split('\n')) {
    if (line === 'stop') running = false;
    if (line.startsWith('publish ')) {
      const n = Number(line.slice(8));
      await bus.publish('numbers', n).then(
        () => say({ ok: n }),
        (error: { code?: string }) => say({ failed: n, code: error.code }),
      );
    }
    if (line === 'dead')
      say({ letters: (await bus.deadLetters.list()).map(({ payload, attempts }) => [payload, attempts]) });
  }
}
running = false;
await publishing;
await bus.close({ timeout: 5_000 });
process.exit(0);
