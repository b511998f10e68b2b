// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces.
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/**
 * A text of somebody else as part of one line of a log or of an error: without what would break the line, steer a terminal
 * or turn the direction of writing, and at most `most` characters long.
 */
export function oneLine(text: string, most = 300): string {
  const cut = text.length > most ? `${text.slice(0, most - 1).toWellFormed()}…` : text;
  return cut.replace(control, '?');
}
