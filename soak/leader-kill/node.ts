import { createBus } from 'mailvan';

// One process of soak/leader-kill.ts: `leader` or a leaf's name, and the leader's port. Says what happens as JSON lines on
// stdout, and does what it is told on stdin: a line `stop` ends it in order.

const [name = 'leaf', port = '1900'] = process.argv.slice(2);
const secret = 'the secret of this soak';
const say = (line: object): void => void process.stdout.write(`${JSON.stringify({ node: name, ...line })}\n`);

const address = `tcp://127.0.0.1:${port}`;
const bus = await createBus(
  name === 'leader' ? { node: name, leader: true, listen: address, secret } : { node: name, leader: address, secret },
);
let handled = 0;
await bus.subscribe(`to\\.${name}`, () => void handled++, { name: `inbox-${name}` });

bus.on('leader.found', ({ epoch }) => say({ event: 'found', epoch }));
bus.on('leader.lost', () => say({ event: 'lost' }));
say({ event: 'up', epoch: (await bus.status()).leader?.epoch });

// Traffic to everybody: every publish must end in a receipt or in a typed error.
const counts = { published: 0, complete: 0, unreachable: 0, failed: 0, untyped: 0 };
let running = true;
const traffic = (async (): Promise<void> => {
  const targets = ['to.leader', 'to.a', 'to.b', 'to.c'];
  for (let i = 0; running; i++) {
    counts.published++;
    try {
      const receipt = await bus.publish(targets[i % targets.length] as string, i, { timeout: 5000 });
      if (receipt.unreachable.length > 0) counts.unreachable++;
      else counts.complete++;
    } catch (error) {
      if (typeof (error as { code?: unknown }).code === 'string' && (error as Error).name === 'BusError')
        counts.failed++;
      else counts.untyped++;
    }
    await new Promise((done) => setTimeout(done, 5));
  }
})();

process.stdin.setEncoding('utf8');
for await (const line of process.stdin) {
  const text = String(line).trim();
  if (text === 'status') {
    const { members } = await bus.status();
    const routes = ['leader', 'a', 'b', 'c'].map(
      (to) => bus.explain(`to.${to}`).routes.filter((route) => route.reachable).length,
    );
    say({
      event: 'status',
      members: members.length,
      routes,
      epoch: (await bus.status()).leader?.epoch,
      ...counts,
      handled,
    });
  } else if (text === 'stop') {
    break;
  }
}
running = false;
await traffic;
say({ event: 'end', ...counts, handled });
await bus.close({ timeout: 1000 });
process.exit(0);
