import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Candidate, explain, type Placed, place, rebalance, unfit } from '../../src/cluster/placement.ts';
import type { Condition, PlacementSpec } from '../../src/wire/placement-entry.ts';

/** More: MAILVAN_RUNS=2000 */
const numRuns = Number(process.env.MAILVAN_RUNS ?? 300);

const specOf = (more: Partial<PlacementSpec> = {}): PlacementSpec => ({
  kind: 'k',
  where: {},
  instances: 1,
  singleton: false,
  failover: 'auto',
  restart: true,
  options: {},
  ...more,
});
const candidateOf = (node: string, more: Partial<Candidate> = {}): Candidate => ({
  node,
  state: 'alive',
  leaving: false,
  kinds: new Set(['k']),
  capabilities: {},
  ...more,
});

const anyCandidate = fc.record({
  state: fc.constantFrom('alive' as const, 'alive' as const, 'suspect' as const),
  leaving: fc.constantFrom(false, false, false, true),
  kinds: fc.constantFrom(new Set(['k']), new Set(['k', 'l']), new Set<string>(), undefined),
  capabilities: fc.record(
    { region: fc.constantFrom('eu', 'us', 'asia'), slots: fc.integer({ min: 0, max: 4 }), writer: fc.boolean() },
    { requiredKeys: [] },
  ),
});
const candidates = fc
  .array(anyCandidate, { maxLength: 8 })
  .map((all) => all.map((each, i): Candidate => ({ node: `n${i}`, ...each })));
const condition = fc.oneof(
  fc.constantFrom<Condition>('eu', true, 2),
  fc.record({ gte: fc.integer({ min: 0, max: 4 }) }),
  fc.record({ lte: fc.integer({ min: 0, max: 4 }), exists: fc.constant(true) }),
  fc.record({ in: fc.constant(['eu', 'us', 1, true]) }),
  fc.record({ exists: fc.boolean() }),
);
const anySpec = fc.record(
  {
    where: fc.dictionary(fc.constantFrom('region', 'slots', 'writer'), condition, { maxKeys: 2 }),
    spread: fc.constantFrom('node', 'region'),
    pinned: fc.uniqueArray(fc.constantFrom('n0', 'n1', 'n2', 'n3'), { minLength: 1 }),
  },
  { requiredKeys: ['where'] },
);
const placedElsewhere = fc.array(
  fc.record({ placement: fc.constantFrom('o', 'q'), instance: fc.nat(20), node: fc.nat(7).map((i) => `n${i}`) }),
  { maxLength: 12 },
);

/** Whether the hard rules hold, as one would check them by hand. */
function violations(
  name: string,
  spec: PlacementSpec,
  placed: readonly Placed[],
  nodes: readonly Candidate[],
): string[] {
  const found: string[] = [];
  const seen = new Set<unknown>();
  for (const { placement, node } of placed) {
    if (placement !== name) continue;
    const on = nodes.find((each) => each.node === node);
    if (on === undefined) continue;
    const problem = unfit(spec, on);
    if (problem !== undefined) found.push(`${node}: ${problem}`);
    if (spec.spread === undefined) continue;
    const value = spec.spread === 'node' ? node : on.capabilities[spec.spread];
    if (seen.has(value)) found.push(`two on ${String(value)}`);
    seen.add(value);
  }
  return found;
}

test('whatever the constraints and the nodes, what is placed keeps the rules, and what is not fits nowhere, with a reason for each node', () => {
  fc.assert(
    fc.property(candidates, anySpec, fc.integer({ min: 1, max: 6 }), placedElsewhere, (nodes, some, count, others) => {
      const spec = specOf({ ...some, instances: count });
      const { nodes: chosen, reasons } = place('p', spec, count, others, nodes);
      const placed = [...others, ...chosen.map((node, instance) => ({ placement: 'p', instance, node }))];
      assert.deepEqual(violations('p', spec, placed, nodes), []);
      for (const node of chosen) assert.equal(nodes.find((each) => each.node === node)?.state, 'alive');
      const verdicts = explain('p', spec, placed, nodes);
      if (chosen.length < count) {
        assert.deepEqual(
          [...reasons.keys()],
          nodes.map(({ node }) => node),
        );
        for (const [node, reason] of reasons) {
          assert.ok(reason.length > 0);
          assert.equal(verdicts.get(node), reason);
        }
      } else assert.equal(reasons.size, 0);
    }),
    { numRuns },
  );
});

test('an instance goes where fewest of its own are, then where fewest are at all, then by name', () => {
  const nodes = ['c', 'a', 'b'].map((node) => candidateOf(node));
  assert.deepEqual(place('p', specOf(), 5, [], nodes).nodes, ['a', 'b', 'c', 'a', 'b']);
  const others = [
    { placement: 'o', instance: 0, node: 'a' },
    { placement: 'o', instance: 1, node: 'a' },
    { placement: 'p', instance: 0, node: 'b' },
  ];
  assert.deepEqual(place('p', specOf(), 2, others, nodes).nodes, ['c', 'a']);
});

test('placing is stable: what has a place is never asked for another one, and the order of nodes does not matter', () => {
  fc.assert(
    fc.property(
      candidates,
      anySpec,
      placedElsewhere,
      fc.infiniteStream(fc.double({ min: 0, max: 1 })),
      (nodes, some, others, dice) => {
        const spec = specOf(some);
        const shuffled = [...nodes]
          .map((each) => ({ each, at: dice.next().value as number }))
          .sort((x, y) => x.at - y.at)
          .map(({ each }) => each);
        assert.deepEqual(place('p', spec, 3, others, shuffled).nodes, place('p', spec, 3, others, nodes).nodes);
      },
    ),
    { numRuns },
  );
});

test('rebalancing keeps the rules, leaves no two nodes that could be evened out, and moves nothing twice or for nothing', () => {
  fc.assert(
    fc.property(
      candidates,
      fc.array(anySpec, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(5), { maxLength: 4 }),
      (nodes, some, counts) => {
        const specs = new Map(some.map((each, i) => [`p${i}`, specOf({ ...each, instances: 1 + (counts[i] ?? 0) })]));
        // What was placed when only the first two nodes were there.
        let placed: Placed[] = [];
        for (const [name, spec] of specs) {
          const { nodes: chosen } = place(name, spec, spec.instances, placed, nodes.slice(0, 2));
          placed = [...placed, ...chosen.map((node, instance) => ({ placement: name, instance, node }))];
        }
        const moves = rebalance(specs, placed, nodes);
        const after = placed.map((each) => {
          const all = moves.filter(
            ({ placement, instance }) => placement === each.placement && instance === each.instance,
          );
          assert.ok(all.length <= 1);
          const [move] = all;
          if (move === undefined) return each;
          assert.notEqual(move.to, each.node);
          assert.equal(move.node, each.node);
          return { ...each, node: move.to };
        });
        for (const [name, spec] of specs) assert.deepEqual(violations(name, spec, after, nodes), []);
        assert.deepEqual(rebalance(specs, after, nodes), [], 'it is even now');
        const load = (node: string): number => after.filter((each) => each.node === node).length;
        for (const each of after) {
          const spec = specs.get(each.placement) as PlacementSpec;
          const rest = after.filter((other) => other !== each);
          for (const [node, reason] of explain(each.placement, spec, rest, nodes)) {
            if (reason !== undefined || node === each.node) continue;
            const own = (on: string): number =>
              rest.filter((other) => other.node === on && other.placement === each.placement).length;
            const better = own(each.node) - own(node) || load(each.node) - 1 - load(node);
            assert.ok(better <= 0, `${each.placement}.${each.instance} would be better off on ${node}`);
          }
        }
      },
    ),
    { numRuns },
  );
});

test('conditions: a value, bounds, a choice, being there', () => {
  const check = (condition: Condition, value?: boolean | number | string): boolean =>
    unfit(
      specOf({ where: { c: condition } }),
      candidateOf('n', { capabilities: value === undefined ? {} : { c: value } }),
    ) === undefined;
  assert.deepEqual(
    [check(true, true), check(true, false), check(true), check(true, 'true')],
    [true, false, false, false],
  );
  assert.deepEqual(
    [check({ gte: 2 }, 2), check({ gte: 2 }, 1), check({ gte: 2 }, '3'), check({ gte: 2 })],
    [true, false, false, false],
  );
  assert.deepEqual([check({ lte: 2 }, 2), check({ lte: 2 }, 3), check({ gte: 1, lte: 2 }, 1.5)], [true, false, true]);
  assert.deepEqual(
    [check({ in: ['a', 1] }, 1), check({ in: ['a', 1] }, '1'), check({ in: ['a'] })],
    [true, false, false],
  );
  assert.deepEqual(
    [check({ exists: true }, false), check({ exists: true }), check({ exists: false })],
    [true, false, true],
  );
  const own = candidateOf('n', { capabilities: { c: 1 } });
  assert.equal(unfit(specOf({ where: { node: 'n' } }), own), undefined);
  assert.equal(unfit(specOf({ where: { node: 'm' } }), own), "its 'node' is 'n', wanted is 'm'");
  assert.equal(unfit(specOf({ pinned: ['m', 'o'] }), own), 'it is pinned to m, o');
  assert.equal(
    unfit(specOf({ where: { constructor: { exists: true } } }), own),
    "it has no capability 'constructor', wanted is any",
  );
});
