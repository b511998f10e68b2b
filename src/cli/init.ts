import { defineCommand } from 'citty';
import { definitionsOf } from '../bus/configured.ts';
import { BusError } from '../core/errors.ts';
import { exitCodes, Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { openFor, openingArguments } from './opening.ts';

interface Prepared {
  readonly name: string;
  readonly outcome: 'created' | 'existed' | 'changed' | 'differs';
  /** Of one that differs: how. */
  readonly problem?: string;
}

/** `mailvan init` */
export const init = defineCommand({
  meta: { name: 'init', description: 'Prepare every durable subscription of a file of settings' },
  args: {
    update: { type: 'boolean', description: 'Change those that exist with other options; what they hold stays' },
    ...openingArguments,
  },
  run: async ({ args, data }) => {
    const { terminal } = data as Invocation; // main.ts hands it to every command
    const { bus, config } = await openFor('init', args, { makes: true, reads: true });
    const differing: string[] = [];
    try {
      for (const definition of definitionsOf(config?.subscriptions ?? [])) {
        const prepared = await prepare(bus.mailboxes, { ...definition, update: args.update === true });
        const { name, outcome, problem } = prepared;
        if (outcome === 'differs') differing.push(name);
        const text = `${name} ${outcome}${problem === undefined ? '' : `: ${problem}`}`;
        await terminal.line(terminal.json ? JSON.stringify(prepared) : text);
      }
    } finally {
      await bus.close();
    }
    if (config?.subscriptions.length === 0) terminal.note(`${config.file} names no subscription`, { subscriptions: 0 });
    if (differing.length === 0) return;
    throw new Failure({
      code: 'NAME_TAKEN',
      message: `${differing.join(', ')}: exists with other options [NAME_TAKEN]`,
      exitCode: exitCodes.failed,
      hint: 'change what exists by --update, or the file; what the mailboxes hold stays in any case',
      details: { differing },
    });
  },
});

type Control = Awaited<ReturnType<typeof openFor>>['bus']['mailboxes'];

async function prepare(mailboxes: Control, definition: Parameters<Control['add']>[0]): Promise<Prepared> {
  try {
    const { name, outcome } = await mailboxes.add(definition);
    return { name, outcome };
  } catch (error) {
    if (!(error instanceof BusError) || error.code !== 'NAME_TAKEN') throw error;
    return { name: definition.name, outcome: 'differs', problem: error.message };
  }
}
