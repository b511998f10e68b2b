import { BusError, describe } from './errors.ts';

/** The longest topic, in bytes of UTF-8. */
export const maxTopicBytes = 255;

const namePattern = /^[A-Za-z0-9_.-]{1,128}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses.
const controlPattern = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Refuses what is no topic: 1 to 255 bytes of UTF-8 without control characters, not starting with `$`. */
export function checkTopic(topic: unknown): asserts topic is string {
  const problem = topicProblem(topic);
  if (problem !== undefined) throw new BusError('TOPIC_INVALID', `topic ${describe(topic)} ${problem}`);
}

/** Why a value is no topic that may be published to, or undefined. */
export function topicProblem(topic: unknown): string | undefined {
  if (typeof topic !== 'string') return 'is not a string';
  if (topic.length === 0) return 'is empty; a topic has 1 to 255 bytes';
  if (topic.length > maxTopicBytes || Buffer.byteLength(topic) > maxTopicBytes) {
    return `has ${Buffer.byteLength(topic)} bytes of UTF-8; at most ${maxTopicBytes} are allowed`;
  }
  if (controlPattern.test(topic)) return 'contains a control character';
  if (!topic.isWellFormed()) return 'is not well-formed Unicode (a lone surrogate)';
  if (topic.charCodeAt(0) === 36) return "starts with '$', which is reserved for the bus itself";
  return undefined;
}

/** Whether a text is a name: `[A-Za-z0-9_.-]{1,128}`. */
export function isName(text: string): boolean {
  return namePattern.test(text);
}

/** Refuses what is no name: `[A-Za-z0-9_.-]{1,128}`. `what` says whose name it is. */
export function checkName(what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || !isName(name)) {
    throw new BusError('NAME_INVALID', `${what} ${describe(name)} must be 1 to 128 of A-Z a-z 0-9 _ . -`);
  }
}
