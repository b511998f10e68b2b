import { nearest } from '../core/spelling.ts';
import { misuse } from './failure.ts';

/** What each action of a command takes beside its own name, in order. */
export type Actions = Readonly<Record<string, readonly string[]>>;

/**
 * Checks that a command has this action, and that it was given what the action takes and nothing else.
 *
 * @param given the positional arguments, by name.
 * @throws {Failure} with exit code 2, naming the nearest action that exists.
 */
export function checkAction(
  command: string,
  actions: Actions,
  action: string,
  given: Readonly<Record<string, string | undefined>>,
): void {
  const help = `'mailvan ${command} --help' tells more`;
  const takes = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (takes === undefined) {
    const near = nearest(action, Object.keys(actions));
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw misuse(`${command} has no action ${JSON.stringify(action)}${hint}`, help);
  }
  for (const [slot, value] of Object.entries(given)) {
    const needed = takes.includes(slot);
    const may = needed || takes.includes(`${slot}?`);
    if (needed && value === undefined) throw misuse(`<${slot}> is missing`, help);
    if (!may && value !== undefined) throw misuse(`${action} takes no ${slot}`, help);
  }
}

/**
 * Refuses options that are for other actions.
 *
 * @param takes which actions take an option; those that are not listed go with all of them.
 * @throws {Failure} with exit code 2.
 */
export function checkOptions(
  command: string,
  takes: Readonly<Record<string, readonly string[]>>,
  action: string,
  given: Readonly<Record<string, unknown>>,
): void {
  for (const [option, actions] of Object.entries(takes)) {
    if (given[option] === undefined || actions.includes(action)) continue;
    throw misuse(`--${option} is for ${actions.join(' and ')}`, `'mailvan ${command} --help' tells more`);
  }
}
