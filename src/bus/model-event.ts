import { BusError, describe } from '../core/errors.ts';
import type { PublishOptions } from './options/publish-options.ts';

/** Where an event of a model is published, and with which options. */
export interface ModelEvent {
  readonly topic: string;
  readonly options: PublishOptions;
}

/**
 * What has happened to a model, as a topic of two words that `wildcard('Booking.*')` matches: of a dotted name such as
 * `shop.models.Booking` the topic bears the last part, and the header `model` the whole.
 *
 * @throws {BusError} `TOPIC_INVALID` when either is no name.
 */
export function modelEvent(model: string, event: string, options: PublishOptions = {}): ModelEvent {
  const name = checkWord('model', model, typeof model === 'string' ? model.slice(model.lastIndexOf('.') + 1) : '');
  const topic = `${name}.${checkWord('event', event, event)}`;
  return { topic, options: { ...options, headers: { ...options.headers, model, event } } };
}

function checkWord(what: string, given: unknown, word: unknown): string {
  if (typeof word === 'string' && word !== '' && !word.includes('.')) return word;
  const way = what === 'model' ? "write 'Booking' or 'shop.models.Booking'" : "write one word such as 'updated'";
  throw new BusError('TOPIC_INVALID', `the ${what} ${describe(given)} is no name: ${way}`);
}
