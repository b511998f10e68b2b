// A process of a small system: `publisher <address> <name> <count>` or `subscriber <address> <name> <count>`.
import { createBus } from '../../src/bus/bus.ts';
import { silentLogger } from '../../src/core/log.ts';

const [role = '', leader = '', name = '', count = '0'] = process.argv.slice(2);
const bus = await createBus({ node: name, leader, logger: silentLogger });
if (role === 'publisher') {
  for (let n = 0; n < Number(count); n++) await bus.publish('queue', `${name} ${n}`, { atLeast: 2 });
} else {
  let left = Number(count);
  const all = new Promise<void>((done) => {
    const sub = bus.subscribe<string>(
      'queue',
      ({ payload }) => {
        console.log(payload);
        if (--left === 0) done();
      },
      { name, durable: true },
    );
    sub.then(() => console.log('ready'));
  });
  await all;
  await bus.drain(); // the last settlement is stored
}
await bus.close();
