import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bus } from '../../src/bus/bus.ts';
import type { RedialOptions } from '../../src/bus/options/options.ts';
import { silentLogger } from '../../src/core/log.ts';
import { TestCluster } from '../../src/testing/cluster.ts';
import { refusal } from '../core/testbed.ts';
import { Ear } from './stage.ts';

/** Hears what a bus tells of its leader and of other nodes, as `<event> <node>`. */
function events(cluster: TestCluster, bus: Bus): Ear {
  const ear = new Ear(cluster.clock);
  bus.on('*', (event) => {
    if ('node' in event && /^(node|leader)\./.test(event.type)) ear.hear(`${event.type} ${event.node}`);
  });
  return ear;
}

describe('liveness', () => {
  test('a node that pings in time is not suspected where others are', async () => {
    const cluster = new TestCluster();
    const lead = await cluster.leader('lead', { liveness: { ping: 50, suspect: 200 } });
    await cluster.leaf('quick', { liveness: { ping: 50 } });
    await cluster.clock.advance(5_000);
    const heard = events(cluster, lead);
    await cluster.clock.advance(5_000);
    assert.deepEqual(heard.take(), []);
    await cluster.leaf('slow'); // it pings once a second
    await cluster.clock.advance(5_000);
    const suspected = heard.take().filter((what) => what.startsWith('node.suspect'));
    assert.deepEqual([...new Set(suspected)], ['node.suspect slow']);
    await cluster.close();
  });

  test('suspect and down say when a node that has fallen silent is given up, at the leader and at a member', async () => {
    const cluster = new TestCluster();
    const liveness = { ping: 100, suspect: 500, down: 1_200 };
    const lead = await cluster.leader('lead', { liveness });
    const leaf = await cluster.leaf('leaf', { liveness });
    const [atLead, atLeaf] = [events(cluster, lead), events(cluster, leaf)];
    cluster.network.cut('lead', 'leaf');
    await cluster.clock.advance(1_500);
    // What came last may have come up to a ping before the cut.
    const within = (at: number, from: number): void => assert.ok(at >= from - 100 && at <= from, `${at} for ${from}`);
    within(atLead.after('node.suspect leaf'), 500);
    within(atLead.after('node.down leaf'), 1_200);
    within(atLeaf.after('leader.lost lead'), 500);
    within(atLeaf.after('node.down lead'), 1_200);
    await cluster.close();
  });
});

describe('redial', () => {
  /** How long a node waits between its attempts to join, in milliseconds; the first is when it began the first one. */
  async function waits(cluster: TestCluster, redial: Partial<RedialOptions>, joinTimeout: number): Promise<number[]> {
    const times = [cluster.clock.monotonic()];
    const logger = { ...silentLogger, child: () => logger };
    logger.debug = (_fields: object, text: string) => {
      if (text.includes('trying again')) times.push(cluster.clock.monotonic());
    };
    await assert.rejects(cluster.leaf('leaf', { redial, joinTimeout, logger }), refusal('NO_LEADER'));
    return times.slice(1).map((time, i) => time - (times[i] ?? 0));
  }

  test('delay and maxDelay say how long it waits before it tries again: twice as long each time', async () => {
    const cluster = new TestCluster();
    const [first, ...found] = await waits(cluster, { delay: 20, maxDelay: 90 }, 1_000);
    assert.ok(first !== undefined && first <= 5, `${first}`);
    const wanted = [20, 40, 80, 90, 90, 90];
    for (const [i, plain] of wanted.entries()) {
      const wait = found[i] ?? assert.fail(`${found}`);
      assert.ok(wait >= plain * 0.8 && wait <= plain * 1.2 + 5, `${wait} for ${plain}`);
    }
    await cluster.close();
  });

  test('timeout says how long one attempt may take', async () => {
    const cluster = new TestCluster();
    await cluster.leader();
    cluster.network.cut('lead', 'leaf');
    const [first, second] = await waits(cluster, { timeout: 300, delay: 10 }, 1_000);
    assert.equal(first, 300);
    assert.ok(second !== undefined && second >= 308 && second <= 312, `${second}`);
    cluster.network.heal('lead', 'leaf');
    await cluster.close();
  });
});
