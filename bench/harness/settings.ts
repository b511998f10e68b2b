/** How much is measured. */
export interface Settings {
  readonly rounds: number;
  /** How long one round in process runs, in milliseconds; every contestant gets as many messages as it can handle in that time. */
  readonly roundTime: number;
  /** How long each contestant in process warms up, in milliseconds. */
  readonly warmUp: number;
  /** How many messages one round across processes sends. */
  readonly sent: number;
  /** How many round trips one round makes. */
  readonly roundTrips: number;
  readonly brief: boolean;
}

const full: Settings = { rounds: 11, roundTime: 600, warmUp: 1_500, sent: 400_000, roundTrips: 5_000, brief: false };
const brief: Settings = { rounds: 5, roundTime: 200, warmUp: 500, sent: 300_000, roundTrips: 1_000, brief: true };

/** As the command line asks for it. */
export function settings(args: readonly string[] = process.argv.slice(2)): Settings {
  return args.includes('--brief') ? brief : full;
}

/** Whether what cannot be measured, or misses its target, makes the run fail. */
export const strict = process.env.MAILVAN_TEST_STRICT === '1';
