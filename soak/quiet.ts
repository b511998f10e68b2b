const quiet = (..._: unknown[]): void => undefined;

/** A logger for programs whose output is read by others. */
export const silent = {
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
  fatal: quiet,
  child: () => silent,
};
