import assert from 'node:assert/strict';
import { test } from 'node:test';
import { partTransitions } from '../../src/actors/restart.ts';
import {
  busTransitions,
  deliveryTransitions,
  Lifecycle,
  sessionTransitions,
  subscriptionTransitions,
  type Transitions,
} from '../../src/core/lifecycle.ts';
import { refusal } from './testbed.ts';

const tables: Readonly<Record<string, Transitions<string>>> = {
  bus: busTransitions,
  subscription: subscriptionTransitions,
  delivery: deliveryTransitions,
  session: sessionTransitions,
  part: partTransitions,
};

for (const [name, table] of Object.entries(tables)) {
  const states = Object.keys(table);

  test(`${name}: every step of the table is allowed, every other one throws and changes nothing`, () => {
    for (const from of states) {
      for (const to of states) {
        const life = new Lifecycle(`the ${name}`, table, from);
        if (table[from]?.includes(to) === true) {
          assert.equal(life.allows(to), true);
          life.to(to);
          assert.equal(life.state, to);
        } else {
          assert.equal(life.allows(to), false);
          assert.throws(() => life.to(to), refusal('INTERNAL', `the ${name}`, `'${from}'`, `'${to}'`));
          assert.equal(life.state, from);
        }
      }
    }
  });

  test(`${name}: every state can be reached, and an end can be reached from every state`, () => {
    const reach = (from: string): Set<string> => {
      const seen = new Set<string>([from]);
      for (const state of seen) for (const next of table[state] ?? []) seen.add(next);
      return seen;
    };
    const [first] = states;
    assert.equal(reach(first as string).size, states.length); // a table has a state
    const ends = states.filter((state) => table[state]?.length === 0);
    assert.ok(ends.length > 0);
    for (const state of states)
      assert.ok(
        ends.some((end) => reach(state).has(end)),
        state,
      );
    for (const nexts of Object.values(table)) for (const next of nexts) assert.ok(states.includes(next), next);
  });
}
