import { createBus } from 'mailvan';

// One process of soak/leader-kill.ts: `leader` or a member's name, the leader's port, and to whom it publishes; one that is
// told `listens` links to the others of its kind directly. Says what happens as JSON lines on stdout, and does what it is told
// on stdin: a line `stop` ends it in order.

const [name = 'leaf', port = '1900', to = '', listens] = process.argv.slice(2);
const secret = 'the secret of this soak';
const say = (line: object): void => void process.stdout.write(`${JSON.stringify({ node: name, ...line })}\n`);

const address = `tcp://127.0.0.1:${port}`;
const bus = await createBus(
  name === 'leader'
    ? { node: name, leader: true, listen: address, secret }
    : { node: name, leader: address, secret, ...(listens && { listen: 'tcp://127.0.0.1:0' }) },
);
let handled = 0;
/** The subscription that was made last while the leader was away. */
let extra = 'none';
await bus.subscribe(`to\\.${name}`, () => void handled++, { name: `inbox-${name}` });

bus.on('leader.found', ({ epoch }) => say({ event: 'found', epoch }));
bus.on('leader.lost', () => say({ event: 'lost' }));
say({ event: 'up', epoch: (await bus.status()).leader?.epoch });

// Every publish must end in a receipt or in a typed error.
let counts = { published: 0, complete: 0, unreachable: 0, failed: 0, untyped: 0 };
/** The longest time without a message that has arrived, in milliseconds. */
let longest = 0;
let last = performance.now();
let running = true;
const traffic = (async (): Promise<void> => {
  const targets = to.split(',').map((node) => `to.${node}`);
  for (let i = 0; running; i++) {
    const now = counts; // what is under way at a reset counts with what was before
    now.published++;
    try {
      const receipt = await bus.publish(targets[i % targets.length] as string, i, { timeout: 5000 });
      if (receipt.unreachable.length > 0) now.unreachable++;
      else {
        now.complete++;
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
      }
    } catch (error) {
      if (typeof (error as { code?: unknown }).code === 'string' && (error as Error).name === 'BusError') now.failed++;
      else now.untyped++;
    }
    await new Promise((done) => setTimeout(done, 5));
  }
})();

process.stdin.setEncoding('utf8');
for await (const line of process.stdin) {
  const text = String(line).trim();
  if (text === 'status') {
    const reached = (topic: string): number => bus.explain(topic).routes.filter((route) => route.reachable).length;
    const routes = ['leader', 'a', 'b', 'c', 'd', 'e'].map((node) => reached(`to.${node}`));
    const { members, links, leader } = await bus.status();
    say({
      event: 'status',
      members: members.length,
      routes,
      extra: reached(`extra.${extra}`),
      links: links.map(({ node }) => node),
      epoch: leader?.epoch,
      ...counts,
      handled,
    });
  } else if (text.startsWith('extra ')) {
    extra = text.slice(6);
    if (listens) await bus.subscribe(`extra\\.${extra}`, () => {});
    say({ event: 'extra' });
  } else if (text === 'reset') {
    counts = { published: 0, complete: 0, unreachable: 0, failed: 0, untyped: 0 };
    longest = 0;
    last = performance.now();
    say({ event: 'reset' });
  } else if (text === 'quiet') {
    running = false;
    await traffic;
    say({ event: 'quiet' });
  } else if (text === 'stop') {
    break;
  }
}
running = false;
await traffic;
say({ event: 'end', longest, ...counts, handled });
await bus.close({ timeout: 1000 });
process.exit(0);
