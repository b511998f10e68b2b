import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Leader } from '../../src/cluster/leader.ts';
import { Membership } from '../../src/cluster/membership.ts';
import { Part, SyncWaiters } from '../../src/cluster/part.ts';
import { PlacementTable } from '../../src/cluster/placement-table.ts';
import { Registry } from '../../src/cluster/registry.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import {
  type ControlFrame,
  type DurableEntry,
  decodeFrame,
  encodeFrame,
  type Hello,
  type SubscriptionEntry,
} from '../../src/wire/frame.ts';
import type { InstanceReport, PlacementEntry } from '../../src/wire/placement-entry.ts';

const nothing = { joined() {}, changed() {}, gone() {}, added() {}, removed() {}, durable() {} };
const retry = { attempts: 5, delay: 100, factor: 2, maxDelay: 30_000, jitter: 0.2 };
const entryOf = (id: string): SubscriptionEntry => ({
  id,
  name: id,
  pattern: { kind: 'string', source: id, flags: '' },
  retry,
});
const durableOf = (name: string, version: number, removed = false): DurableEntry => ({
  name,
  id: `id-${name}`,
  version,
  home: 'home',
  removed,
  pattern: { kind: 'string', source: name, flags: '' },
  policy: {
    retry,
    limits: { messages: 10, bytes: 1000, overflow: 'reject', deadLetters: false },
    latestOnly: false,
    filters: [],
    durability: 'fsync',
  },
});
const placementOf = (name: string, version: number, node: string, removed = false): PlacementEntry => ({
  name,
  id: `id-${name}`,
  version,
  removed,
  spec: {
    kind: 'k',
    where: { writer: true, slots: { gte: 2 } },
    instances: 1,
    singleton: false,
    failover: 'auto',
    restart: true,
    options: {},
    args: new Uint8Array(20_000),
  },
  generation: version,
  assigned: [{ instance: 0, node, incarnation: `i-${node}`, generation: version, state: 'starting', settings: 0 }],
});
const overWire = (frame: ControlFrame): ControlFrame => decodeFrame(encodeFrame(frame).subarray(4));

/** A leader and members, with a queue of frames between each pair that is emptied when the test says so. */
class Net {
  readonly clock = new VirtualClock();
  readonly members = new Map<string, Node>();
  readonly toMember = new Map<string, ControlFrame[]>();
  readonly registry: Registry;
  readonly placements = new PlacementTable();
  readonly leader: Leader;
  readonly part = new Part();
  /** What members have said of their instances. */
  readonly reports = new Map<string, readonly InstanceReport[]>();
  ownSynced = 0;

  constructor() {
    const durable = ({ name }: DurableEntry): void => this.leader?.durableChanged(name);
    this.registry = new Registry({ ...nothing, durable });
    this.leader = new Leader(
      {
        clock: this.clock,
        registry: this.registry,
        placements: this.placements,
        told: ({ node }, { instances }, whole) => {
          if (whole) this.reports.set(node, instances ?? []);
        },
        settled: () => {},
        send: (node, frame) => this.toMember.get(node)?.push(overWire(frame)),
        synced: (version) => {
          this.ownSynced = version;
        },
      },
      { node: 'lead', incarnation: 'L', down: 15_000, settle: 7000, term: 0 },
    );
    this.placements.onChange(({ name }) => this.leader.placementChanged(name));
  }

  /** Delivers frames until nothing moves. */
  run(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const [name, frames] of this.toMember) {
        const frame = frames.shift();
        if (frame === undefined) continue;
        moved = true;
        this.members.get(name)?.membership.take(frame);
      }
      for (const [name, member] of this.members) {
        const frame = member.toLeader.shift();
        if (frame === undefined) continue;
        moved = true;
        this.#lead(name, member, frame);
      }
    }
  }

  #lead(name: string, member: Node, frame: ControlFrame): void {
    if (frame.type === 'join') {
      member.joining.push(...frame.subscriptions);
      member.joiningDurables.push(...frame.durables);
      member.joiningPlacements.push(...(frame.placements ?? []));
      if (frame.more) return;
      this.toMember.set(name, []);
      const hello = { node: name, incarnation: member.incarnation } as Hello;
      const [subscriptions, durables] = [member.joining.splice(0), member.joiningDurables.splice(0)];
      const placements = member.joiningPlacements.splice(0);
      const { version, instances = [] } = frame;
      this.leader.join(hello, { version, subscriptions, durables, placements, instances });
    } else if (frame.type === 'part') this.leader.part(name, frame);
    else if (frame.type === 'applied') this.leader.applied(name, frame.version);
    else if (frame.type === 'resync') this.leader.resync(name);
  }

  join(name: string): Node {
    const member = this.members.get(name) ?? new Node(name);
    this.members.set(name, member);
    member.linked = true;
    member.membership.join(this.leader.epoch, member.part);
    return member;
  }

  lose(name: string): void {
    const member = this.members.get(name);
    if (member === undefined || !member.linked) return;
    member.linked = false;
    member.toLeader.length = 0;
    member.joining.length = member.joiningDurables.length = member.joiningPlacements.length = 0;
    this.toMember.delete(name);
    member.membership.lost();
    this.leader.lost(name, 0);
  }

  /** Every member that is linked holds what the leader holds, but for itself. */
  check(): void {
    for (const [name, member] of this.members) {
      if (!member.linked) continue;
      const expected = viewOf(this.registry, name);
      assert.deepEqual(viewOf(member.registry, name), expected, name);
      assert.deepEqual(durablesOf(member.registry), durablesOf(this.registry), name);
      assert.deepEqual(placementsOf(member.placements), placementsOf(this.placements), name);
      assert.deepEqual(
        [...(this.registry.get(name)?.subscriptions.keys() ?? [])].sort(),
        member.part.entries.map(({ id }) => id).sort(),
      );
    }
  }
}

class Node {
  readonly incarnation: string;
  readonly registry = new Registry(nothing);
  readonly toLeader: ControlFrame[] = [];
  readonly joining: SubscriptionEntry[] = [];
  readonly joiningDurables: DurableEntry[] = [];
  readonly joiningPlacements: PlacementEntry[] = [];
  readonly placements = new PlacementTable();
  readonly part = new Part();
  readonly membership: Membership;
  linked = false;
  held = 0;
  synced = 0;

  constructor(name: string) {
    this.incarnation = `i-${name}`;
    this.membership = new Membership({
      registry: this.registry,
      placements: this.placements,
      send: (frame) => {
        if (this.linked) this.toLeader.push(overWire(frame));
      },
      denied: () => {},
      held: () => {
        this.held++;
      },
      synced: (version) => {
        this.synced = version;
      },
    });
  }

  change(add: string[], remove: string[]): number {
    const entries = add.map(entryOf);
    const change = { add: entries, remove, durables: [] };
    const version = this.part.change(change);
    if (this.linked) this.membership.announce(version, change);
    return version;
  }

  /** Says something of a durable subscription. */
  durable(entry: DurableEntry): void {
    this.registry.applyDurable(entry);
    const change = { add: [], remove: [], durables: [entry] };
    const version = this.part.change(change);
    if (this.linked) this.membership.announce(version, change);
  }
}

function durablesOf(registry: Registry): unknown {
  return [...registry.durables]
    .map(({ name, version, removed }) => ({ name, version, removed }))
    .sort((x, y) => (x.name < y.name ? -1 : 1));
}

function placementsOf(table: PlacementTable): unknown {
  return [...table].sort((x, y) => (x.name < y.name ? -1 : 1));
}

function viewOf(registry: Registry, self: string): unknown {
  return [...registry.members]
    .filter((member) => member.node !== self)
    .map(({ node, incarnation, state, subscriptions }) => ({
      node,
      incarnation,
      state,
      subscriptions: [...subscriptions.keys()].sort(),
    }))
    .sort((x, y) => (x.node < y.node ? -1 : 1));
}

test('whatever joins, leaves, subscribes and gets lost in whatever order, every linked member ends with what the leader has', () => {
  const step = fc.oneof(
    fc.record({ op: fc.constant('join' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('lose' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('add' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('remove' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('own' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('run' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('durable' as const), who: fc.nat(4) }),
    fc.record({ op: fc.constant('place' as const), who: fc.nat(4) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const net = new Net();
      let serial = 0;
      for (const { op, who } of steps) {
        const name = `m${who}`;
        const member = net.members.get(name);
        if (op === 'join' && member?.linked !== true) net.join(name);
        else if (op === 'lose') net.lose(name);
        else if (op === 'add') member?.change([`s${serial++}`], []);
        else if (op === 'remove' && member !== undefined)
          member.change(
            [],
            member.part.entries.slice(0, 1).map(({ id }) => id),
          );
        else if (op === 'own') {
          const entry = entryOf(`own${serial++}`);
          const change = { add: [entry], remove: [], durables: [] };
          net.leader.own(net.part.change(change), change);
        } else if (op === 'durable') {
          const name = `d${serial++ % 3}`;
          const version = (member?.registry.durableEntry(name)?.version ?? 0) + 1;
          member?.durable(durableOf(name, version, serial % 4 === 0));
        } else if (op === 'place') {
          // Only the leader writes it, sometimes in an earlier life, of which a member tells.
          const placed = `p${serial++ % 5}`;
          const table = serial % 3 === 0 && member?.linked === false ? member.placements : net.placements;
          table.apply(placementOf(placed, (net.placements.entry(placed)?.version ?? 0) + 1, name, serial % 4 === 0));
        } else if (op === 'run') net.run();
      }
      net.run();
      net.check();
      for (const member of net.members.values()) if (member.linked) assert.ok(member.synced >= 0);
      assert.equal(net.ownSynced, net.part.version);
      net.leader.close();
    }),
    { numRuns: 400 },
  );
});

test('a part is synced only when every linked member has applied it', () => {
  const net = new Net();
  const [a] = [net.join('a'), net.join('b')];
  net.run();
  const version = a.change(['x'], []);
  const frame = a.toLeader.shift();
  assert.ok(frame?.type === 'part');
  net.leader.part('a', frame);
  assert.ok((net.toMember.get('a') ?? []).every(({ type }) => type !== 'synced'));
  assert.equal(a.synced, 0);
  net.run();
  assert.equal(a.synced, version);
});

test('a member that is lost holds up nobody', () => {
  const net = new Net();
  const [a] = [net.join('a'), net.join('b')];
  net.run();
  const version = a.change(['x'], []);
  const frame = a.toLeader.shift();
  assert.ok(frame?.type === 'part');
  net.leader.part('a', frame);
  net.lose('b');
  net.run();
  assert.equal(a.synced, version);
});

test('while a member has not confirmed, changes are merged into one delta', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  net.run();
  for (let i = 0; i < 500; i++) a.change([`s${i}`], i > 0 ? [`s${i - 1}`] : []);
  for (let frame = a.toLeader.shift(); frame !== undefined; frame = a.toLeader.shift()) {
    if (frame.type === 'part') net.leader.part('a', frame);
  }
  assert.equal(net.toMember.get('b')?.length, 1);
  net.run();
  assert.deepEqual([...(b.registry.get('a')?.subscriptions.keys() ?? [])], ['s499']);
});

test('thousands of subscriptions travel in several frames, and a member that rejoins with them loses none on the way', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  const ids = Array.from({ length: 3500 }, (_, i) => `s${i}`);
  a.change(ids, []);
  net.run();
  const gone: string[] = [];
  assert.equal(b.registry.get('a')?.subscriptions.size, 3500);
  net.lose('a');
  net.run();
  const watched = b.registry.get('a');
  net.join('a');
  for (let i = 0; i < 100; i++) {
    net.run();
    if (watched?.subscriptions.size !== 3500) gone.push(String(watched?.subscriptions.size));
  }
  assert.deepEqual(gone, []);
  net.check();
});

test('what many members have registered travels in as many frames as it takes, and no frame is too large to be read', () => {
  const net = new Net();
  const ids = (who: number): string[] => Array.from({ length: 600 }, (_, i) => `m${who}s${i}`);
  for (let who = 0; who < 20; who++) {
    net.join(`m${who}`).change(ids(who), []);
    net.run();
  }
  const late = net.join('late');
  net.run();
  net.check();
  assert.equal(late.held, 1);
  const subscriptions = [...late.registry.members].reduce((sum, each) => sum + each.subscriptions.size, 0);
  assert.equal(subscriptions, 20 * 600);
});

test('a delta that does not follow on what a member has makes it ask for everything', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  net.run();
  a.change(['lost'], []);
  const frame = a.toLeader.shift();
  assert.ok(frame?.type === 'part');
  net.leader.part('a', frame);
  net.toMember.get('b')?.splice(0); // the delta never arrives
  b.membership.take({ type: 'ping', version: 1000 });
  b.membership.take({ type: 'ping', version: 1000 });
  assert.deepEqual(
    b.toLeader.map(({ type }) => type),
    ['resync'],
  );
  net.run();
  net.check();
});

test('a node that goes and comes back with less, before a member has heard of it, leaves no subscription behind', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  a.change(['kept', 'dropped'], []);
  net.run();
  net.leader.part('a', { version: 99, add: [entryOf('more')], remove: ['more'], durables: [] }); // b has a delta under way now
  net.leader.left('a');
  a.part.change({ add: [], remove: ['dropped'], durables: [] });
  const told = { version: 100, subscriptions: a.part.entries, durables: [] };
  net.leader.join({ node: 'a', incarnation: a.incarnation } as Hello, told);
  net.run();
  assert.deepEqual([...(b.registry.get('a')?.subscriptions.keys() ?? [])], ['kept']);
});

test('a removed durable subscription does not come back through a member that was away', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  a.durable(durableOf('x', 1));
  net.run();
  net.lose('b');
  a.durable(durableOf('x', 2, true));
  net.run();
  net.join('b');
  net.run();
  net.check();
  for (const { registry } of [net, a, b]) {
    assert.equal(registry.durable('x'), undefined);
    assert.equal(registry.durableEntry('x')?.version, 2);
  }
});

test('thousands of durable subscriptions travel in several frames, both ways', () => {
  const net = new Net();
  const b = new Node('b');
  net.members.set('b', b);
  for (let i = 0; i < 2500; i++) b.registry.applyDurable(durableOf(`d${i}`, 1));
  const a = net.join('a');
  net.run();
  net.join('b');
  net.run();
  net.check();
  assert.equal([...a.registry.durables].length, 2500);
});

test('a leader goes above every epoch of an earlier life that it hears of', () => {
  const net = new Net();
  const { start } = net.leader.epoch;
  net.leader.outrank({ term: 0, start: start - 5 });
  assert.equal(net.leader.epoch.start, start);
  net.leader.outrank({ term: 0, start: start + 100 });
  assert.equal(net.leader.epoch.start, start + 101);
});

test('waiters for a version are told in order, each once', async () => {
  const waiters = new SyncWaiters();
  const told: number[] = [];
  const all = [1, 2, 3].map((version) => waiters.wait(version).then(() => told.push(version)));
  waiters.reached(2);
  await Promise.all(all.slice(0, 2));
  assert.deepEqual(told, [1, 2]);
  waiters.reached(9);
  await all[2];
  assert.deepEqual(told, [1, 2, 3]);
});

test('placements travel in several frames, and what is said of instances comes with the last', () => {
  const net = new Net();
  const [a, b] = [net.join('a'), net.join('b')];
  net.run();
  for (let i = 0; i < 100; i++) net.placements.apply(placementOf(`p${i}`, 1, 'a'));
  net.run();
  net.check();
  assert.equal([...b.placements].length, 100);
  const report: InstanceReport = { id: 'id-p0', instance: 0, generation: 1, state: 'running', settings: 0 };
  a.part.change({ add: [], remove: [], durables: [], instances: [report] });
  net.lose('a');
  net.join('a');
  assert.ok(a.toLeader.length > 1, `${a.toLeader.length} frames`);
  net.run();
  net.check();
  assert.deepEqual(net.reports.get('a'), [report]);
});
