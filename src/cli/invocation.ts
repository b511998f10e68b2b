import type { SubCommandsDef } from 'citty';
import type { GivenArguments } from './arguments.ts';
import type { Terminal } from './terminal.ts';

/** What a command is handed beside its arguments. */
export interface Invocation {
  readonly terminal: Terminal;
  readonly given: GivenArguments;
}

/** A command with whatever arguments it takes. */
export type Command = Awaited<Extract<SubCommandsDef[string], Promise<unknown>>>;
