import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { capabilitiesOf, readValue, whereOf } from '../../src/cli/constraints.ts';
import { Failure } from '../../src/cli/failure.ts';
import { capabilityText } from '../../src/cli/placed.ts';

function refused(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    assert.ok(error instanceof Failure);
    assert.deepEqual([error.code, error.exitCode], ['USAGE', 2]);
    return error.message;
  }
  return assert.fail('nothing was refused');
}

describe('values of capabilities', () => {
  it('are true, false, numbers or text, and text in quotes whatever it looks like', () => {
    const given = [
      'true',
      'false',
      '5',
      '-1.5',
      '1e3',
      '.5',
      'eu',
      'eu west',
      '5x',
      '"5"',
      '"true"',
      '"a\\"b"',
      '0x10',
    ];
    const values = given.map((text) => readValue('--where', text));
    assert.deepEqual(values, [true, false, 5, -1.5, 1000, 0.5, 'eu', 'eu west', '5x', '5', 'true', 'a"b', '0x10']);
    assert.match(
      refused(() => readValue('--where', '"open')),
      /the closing quote is missing/,
    );
  });

  it('come from --capabilities, with commas between them or option by option', () => {
    assert.deepEqual(capabilitiesOf(['region=eu,gpu=2', 'writer=true']), { region: 'eu', gpu: 2, writer: true });
    assert.deepEqual(capabilitiesOf([]), {});
    assert.match(
      refused(() => capabilitiesOf(['regions=eu,us'])),
      /"us" is no capability/,
    );
    assert.match(
      refused(() => capabilitiesOf(['a=1,a=2'])),
      /gives 'a' twice/,
    );
  });

  it('are shown as they would be given', () => {
    const given = { region: 'eu', gpu: 2, writer: true, version: '5', word: 'true' };
    const text = capabilityText(given);
    assert.equal(text, 'gpu=2,region=eu,version="5",word="true",writer=true');
    assert.deepEqual(capabilitiesOf([text]), given);
  });
});

describe('conditions', () => {
  it('say equal, one of several, bounds, there and not there', () => {
    assert.deepEqual(whereOf(['region=eu', 'zone=a|b|3', 'gpu>=2', 'gpu<=8', 'ssd', '!spot', 'label=a=b']), {
      region: 'eu',
      zone: { in: ['a', 'b', 3] },
      gpu: { gte: 2, lte: 8 },
      ssd: { exists: true },
      spot: { exists: false },
      label: 'a=b',
    });
  });

  it('are refused where they say nothing, or two things of one capability', () => {
    for (const text of ['', '=', 'a=', '!a=1', 'a b', 'a>5', '>=5'])
      assert.match(
        refused(() => whereOf([text])),
        /is no condition/,
        text,
      );
    assert.match(
      refused(() => whereOf(['a>=many'])),
      /compares with a number/,
    );
    for (const two of [
      ['a=1', 'a=2'],
      ['a>=1', 'a>=2'],
      ['a', 'a<=2'],
    ])
      assert.match(
        refused(() => whereOf(two)),
        /says two things of 'a'/,
      );
  });
});
