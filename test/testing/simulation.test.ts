import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DeliveryQueue } from '../../src/actors/delivery-queue.ts';
import { DurableMailbox } from '../../src/actors/durable-mailbox.ts';
import { Lanes } from '../../src/actors/lanes.ts';
import type { Slot } from '../../src/actors/slot.ts';
import { Subscriber } from '../../src/actors/subscriber.ts';
import { Tally } from '../../src/actors/tally.ts';
import { MemberRole } from '../../src/bus/network/member-role.ts';
import { DurableRoute } from '../../src/bus/routes/durable-route.ts';
import { Spool } from '../../src/bus/streams/spool.ts';
import { Placements } from '../../src/cluster/placements.ts';
import { Deadlines } from '../../src/core/deadlines.ts';
import { Hosting } from '../../src/hosting/hosting.ts';
import { Journal } from '../../src/storage/journal.ts';
import { TestCluster, type TestClusterOptions } from '../../src/testing/cluster.ts';
import { Disk } from '../../src/testing/disk.ts';
import { PromiseScenario } from '../../src/testing/promises.ts';
import {
  type FaultKind,
  faultKinds,
  type Scenario,
  type SimulationOptions,
  simulate,
} from '../../src/testing/simulation.ts';

const first = Number(process.env.MAILVAN_SEED ?? 1);
const runs = Math.max(5, Math.round((16 * Number(process.env.MAILVAN_RUNS ?? 100)) / 100));

test('whatever befalls a cluster, every promise is kept', { timeout: 300_000 }, async () => {
  for (let seed = first; seed < first + runs; seed++) {
    const { violations, schedule } = await simulate(new PromiseScenario(seed), { seed });
    assert.deepEqual(violations, [], `seed ${seed}\n${schedule.join('\n')}`);
  }
});

test('the same seed is the same run, to the last message', async () => {
  const [one, two] = [await traced(first + 3), await traced(first + 3)];
  assert.ok(one.length > 50, `${one.length} lines`);
  assert.deepEqual(one, two);
  assert.notDeepEqual(await traced(first + 4), one);
});

async function traced(seed: number): Promise<readonly string[]> {
  return (await simulate(new PromiseScenario(seed), { seed, trace: true })).schedule;
}

test('a scenario of one own: its handlers run under the faults that are asked for, and what it finds wrong is told', async () => {
  const kinds = new Set<string>();
  let handled = 0;
  const scenario: Scenario = {
    nodes: { lead: { store: true }, worker: { store: false, options: { capabilities: { fast: true } } } },
    start: (node, bus) =>
      node === 'worker' ? bus.subscribe('jobs', () => void handled++, { name: 'jobs', durable: true }) : undefined,
    step: (simulation) => {
      simulation
        .life('lead')
        ?.bus.publish('jobs', handled)
        .catch(() => undefined);
    },
    check: (simulation) => {
      for (const line of simulation.schedule) kinds.add(line.split(' ')[1] ?? '');
      return handled > 0 ? ['there were jobs'] : [];
    },
  };
  const { violations, seed } = await simulate(scenario, { seed: 5, steps: 20, faults: ['reset', 'disk-fails'] });
  assert.deepEqual([violations, seed], [['there were jobs'], 5]);
  assert.ok(kinds.has('reset') && kinds.has('disk-fails') && !kinds.has('crash'), [...kinds].join());
});

/** A scenario that notes what it is given: two nodes, the second of them without a disk. */
function noting(more: Partial<Scenario> = {}) {
  const seen = { steps: 0, done: 0, ended: 0, nodes: [] as string[], lines: [] as readonly string[] };
  const scenario: Scenario = {
    nodes: { lead: { store: true }, worker: { store: false, options: { capabilities: { fast: true } } } },
    start: async (node, bus) => {
      const about = (await bus.placements.nodes()).find((each) => each.node === node);
      const { home } = await bus.mailboxes.add({ name: node, pattern: node });
      seen.nodes.push(`${node} ${JSON.stringify(about?.capabilities)} ${home}`);
    },
    step: () => void seen.steps++,
    check: (simulation) => {
      seen.ended = simulation.clock.monotonic();
      seen.lines = [...simulation.schedule];
      return [];
    },
    ...more,
  };
  return { seen, scenario };
}

test('a simulation has as many steps as it is told, else 12, and nodes with the options and the disks that the scenario gives', async () => {
  for (const steps of [undefined, 3]) {
    const { seen, scenario } = noting();
    const { violations } = await simulate(scenario, {
      seed: 5,
      faults: ['reset'],
      ...(steps !== undefined && { steps }),
    });
    assert.deepEqual([violations, seen.steps], [[], steps ?? 12]);
    assert.deepEqual(seen.nodes, ['lead {} lead', 'worker {"fast":true} lead'], 'each with where its mailbox is');
  }
});

test('a simulation draws by its seed', async () => {
  const drawn = async (seed: number): Promise<readonly string[]> => {
    const { scenario } = noting({ step: (simulation) => simulation.note(`drew ${simulation.dice(1_000_000)}`) });
    const { schedule } = await simulate(scenario, { seed, steps: 3, faults: ['reset'] });
    return schedule.flatMap((line) => line.split(' drew ')[1] ?? []); // without the time
  };
  const [one, same, other] = [await drawn(5), await drawn(5), await drawn(6)];
  assert.deepEqual(one, same);
  assert.equal(one.length, 3);
  assert.notDeepEqual(one, other);
});

test('a simulation ends 30 s after all is well, or as soon as its scenario is done', async () => {
  const ends = async (more: Partial<Scenario>): Promise<number> => {
    const { seen, scenario } = noting(more);
    await simulate(scenario, { seed: 5, steps: 1, faults: ['reset'] });
    return seen.ended;
  };
  const [plain, early] = [await ends({}), await ends({ done: () => true })];
  assert.equal(plain - early, 30_000);
});

test('bytes travel as long as a simulation is told, and its schedule tells of every message only with trace', async () => {
  const receipts = async (options: Partial<SimulationOptions>): Promise<{ took: number; lines: readonly string[] }> => {
    let took = 0;
    const { seen, scenario } = noting({
      step: async (simulation) => {
        const start = simulation.clock.monotonic();
        simulation.trace('a message');
        await simulation.until(simulation.life('worker')?.bus.status({ node: 'lead' }) ?? assert.fail());
        took = simulation.clock.monotonic() - start;
      },
    });
    await simulate(scenario, { seed: 5, steps: 1, faults: ['clock-jump'], ...options });
    return { took, lines: seen.lines };
  };
  const [plain, slow] = [await receipts({}), await receipts({ delay: { min: 40, max: 40 }, trace: true })];
  assert.ok(plain.took <= 20, `${plain.took} ms`);
  assert.ok(slow.took >= 80, `${slow.took} ms`);
  assert.ok(!plain.lines.some((line) => line.includes('a message')));
  assert.ok(slow.lines.some((line) => line.includes('a message')));
});

test('a cluster for tests draws by its seed, and its bytes travel as long as it is told', async () => {
  const run = async (options: TestClusterOptions) => {
    const cluster = new TestCluster(options);
    await cluster.leader();
    const leaf = await cluster.leaf('leaf');
    const start = cluster.clock.monotonic();
    await cluster.until(leaf.status({ node: 'lead' }));
    const took = cluster.clock.monotonic() - start;
    const dice = cluster.clock.random();
    await cluster.close();
    return { took, dice };
  };
  const [plain, same, other] = [await run({}), await run({ seed: 1 }), await run({ seed: 2, delay: 25 })];
  assert.deepEqual(plain, same);
  assert.notEqual(plain.dice, other.dice);
  assert.deepEqual([plain.took, other.took], [2, 50]);
});

/** Puts a bug into a class, and takes it out again. */
type Bug = () => () => void;

/** Puts another method in the place of one of a class. */
function instead<T extends object, K extends keyof T>(
  of: { prototype: T },
  name: K,
  make: (original: T[K]) => T[K],
): Bug {
  return () => {
    const original = of.prototype[name];
    of.prototype[name] = make(original);
    return () => {
      of.prototype[name] = original;
    };
  };
}

function both(...bugs: Bug[]): Bug {
  return () => {
    const ends = bugs.map((bug) => bug());
    return () => {
      for (const end of ends) end();
    };
  };
}

const harmless = faultKinds.filter((kind) => kind !== 'power-off');

/** For each promise, code that breaks it, and what the harness must say. */
const bugs: readonly { promise: string; bug: Bug; finds: RegExp; faults?: readonly FaultKind[]; from?: number }[] = [
  {
    promise: '1: a disk that confirms what it has not written',
    bug: instead(
      Disk,
      'apply',
      (original) =>
        function (this: Disk, operations) {
          original.call(this, operations, false);
        },
    ),
    finds: /^(1: lost|2: lost)/,
    faults: ['power-off'],
  },
  {
    promise: '2: what a consumer gives back counts as handled',
    bug: instead(
      DurableMailbox,
      'giveBack',
      () =>
        function (this: DurableMailbox, slot) {
          return this.ack(slot, false);
        },
    ),
    finds: /^(2: lost|5: handled, and its output is missing)/,
    faults: harmless,
  },
  {
    promise: '3: a mailbox that remembers neither ids nor numbers',
    bug: both(
      instead(Journal, 'knows', () => () => false),
      instead(Journal, 'knowsNumber', () => () => false),
      instead(Journal, 'watermark', () => () => 0),
    ),
    finds: /^(3: entered twice|5: two outputs)/,
    faults: harmless,
  },
  {
    promise: '4: keys that hold up nobody',
    bug: both(
      instead(Lanes, 'enter', () => () => true),
      instead(Lanes, 'take', () => () => true),
    ),
    finds: /^4: (two messages of|out of order within its key)/,
  },
  {
    promise: '4: a message now and then that lets the next one go first',
    bug: instead(DeliveryQueue, 'arrive', (original) => {
      const kept = new WeakMap<DeliveryQueue, Slot>();
      let count = 0;
      return function (this: DeliveryQueue, slot) {
        const before = kept.get(this);
        kept.delete(this);
        if (before === undefined && ++count % 3 === 0) kept.set(this, slot);
        else original.call(this, slot);
        if (before !== undefined) original.call(this, before);
      };
    }),
    finds: /^4: out of order/,
    faults: ['reset'],
  },
  {
    promise: '5: a settlement that is written without what was staged',
    bug: instead(DurableRoute, 'stage', (original) => {
      let count = 0;
      return function (this: DurableRoute, message, commitment) {
        if (++count % 4 !== 0) original.call(this, message, commitment);
      };
    }),
    finds: /^5: handled, and its output is missing/,
    faults: ['reset'],
  },
  {
    promise: '6: drops that nobody is told of',
    bug: instead(Tally, 'drop', () => () => undefined),
    finds: /^6: /,
    faults: ['reset'],
  },
  {
    promise: '7: deadlines that nobody keeps',
    bug: instead(Deadlines, 'add', () => () => undefined),
    finds: /^7: /,
  },
  {
    promise: '8: a failure that stops the neighbours',
    bug: () => {
      const all = new Set<Subscriber>();
      const ends = both(
        instead(
          Subscriber,
          'offer',
          (original) =>
            function (this: Subscriber, message) {
              all.add(this);
              return original.call(this, message);
            },
        ),
        instead(
          Subscriber,
          'failed',
          (original) =>
            function (this: Subscriber, delivery, thrown) {
              for (const each of all) each.pause();
              original.call(this, delivery, thrown);
            },
        ),
      )();
      return ends;
    },
    finds: /^8: /,
    faults: ['reset'],
  },
  {
    promise: '9: a mailbox that hands out nothing while the leader is away',
    bug: () => {
      const away = new Set<MemberRole>();
      return both(
        instead(
          MemberRole,
          'closed',
          (original) =>
            function (this: MemberRole, ...given) {
              away.add(this);
              original.apply(this, given);
            },
        ),
        instead(
          MemberRole,
          'opened',
          (original) =>
            function (this: MemberRole, ...given) {
              away.delete(this);
              original.apply(this, given);
            },
        ),
        instead(
          DurableMailbox,
          'take',
          (original) =>
            function (this: DurableMailbox, consumer) {
              return away.size > 0 ? undefined : original.call(this, consumer);
            },
        ),
      )();
    },
    finds: /^9: /,
    faults: ['crash'],
    from: 26,
  },
  {
    promise: '10: a spool that forgets',
    bug: instead(Spool, 'append', (original) => {
      let count = 0;
      return function (this: Spool, message, commitment) {
        if (++count % 3 === 0 && commitment !== undefined) setImmediate(() => commitment.committed(true));
        else original.call(this, message, commitment);
      };
    }),
    finds: /^(1: lost|2: lost|5: handled)/,
    faults: ['cut', 'crash'],
    from: 2,
  },
  {
    promise: 'a singleton that goes on although it has not heard the leader',
    bug: instead(Hosting, 'yield', () => () => undefined),
    finds: /^singleton: /,
    faults: ['cut', 'cut-one-way'],
  },
  {
    promise: 'a leader that does not take back what was given up',
    bug: instead(Placements, 'revoke', () => () => undefined),
    finds: /^spawn: .* was refused, and is there/,
    from: 9,
  },
];

describe('a build that breaks a promise is found out', () => {
  for (const { promise, bug, finds, faults = faultKinds, from = 1 } of bugs) {
    test(promise, { timeout: 120_000 }, async () => {
      const seen: string[] = [];
      // From where on it shows soon: another seed may be the first one after the next change.
      for (let seed = from; seed < from + 150; seed++) {
        const end = bug();
        try {
          const { violations } = await simulate(new PromiseScenario(seed), { seed, faults, steps: 16 });
          seen.push(...violations);
        } finally {
          end();
        }
        if (!seen.some((each) => finds.test(each))) continue;
        const { violations } = await simulate(new PromiseScenario(seed), { seed, faults, steps: 16 });
        assert.deepEqual(violations, [], `without the bug, seed ${seed} is well`);
        return;
      }
      assert.fail(`150 seeds have not shown it: ${[...new Set(seen)].slice(0, 5).join(' | ')}`);
    });
  }
});
