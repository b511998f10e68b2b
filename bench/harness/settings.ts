/** How much is measured. */
export interface Settings {
  readonly rounds: number;
  /** How long one round in process runs, in milliseconds; every contestant gets as many messages as it can handle in that time. */
  readonly roundTime: number;
  /** How long each contestant in process warms up, in milliseconds. */
  readonly warmUp: number;
  /** How many messages one round across processes sends. */
  readonly sent: number;
  /** How many rounds across processes do not count: after about a million messages all code has been optimised. */
  readonly warmUps: number;
  /** How long a round waits at most for the machine to be at rest, in milliseconds. */
  readonly patience: number;
  /** How many round trips one round makes. */
  readonly roundTrips: number;
  readonly durable: DurableSettings;
  readonly brief: boolean;
}

/** How much is measured of durable mailboxes. */
export interface DurableSettings {
  readonly rounds: number;
  /** About how long one round runs, in milliseconds; every contestant gets as many messages as it can handle in that time. */
  readonly roundTime: number;
  /** How many are published one after the other in a round. */
  readonly oneByOne: number;
  /** As above. */
  readonly patience: number;
  /** How many messages a large backlog has. */
  readonly backlog: number;
  /** How many mailboxes lie idle beside the one that is measured. */
  readonly idle: number;
  /** With backlogs of so many messages a store is opened, the smallest first. */
  readonly recovery: readonly number[];
}

const full: Settings = {
  rounds: 11,
  roundTime: 600,
  warmUp: 1_500,
  sent: 400_000,
  warmUps: 3,
  patience: 3_000,
  roundTrips: 5_000,
  durable: {
    rounds: 11,
    roundTime: 700,
    oneByOne: 3_000,
    patience: 3_000,
    backlog: 1_000_000,
    idle: 1_000,
    recovery: [0, 10_000, 100_000, 1_000_000],
  },
  brief: false,
};
const brief: Settings = {
  rounds: 3,
  roundTime: 200,
  warmUp: 500,
  sent: 100_000,
  warmUps: 1,
  patience: 100,
  roundTrips: 1_000,
  durable: {
    rounds: 3,
    roundTime: 150,
    oneByOne: 500,
    patience: 100,
    backlog: 100_000,
    idle: 100,
    recovery: [0, 1_000, 10_000],
  },
  brief: true,
};

/** As the command line asks for it. */
export function settings(args: readonly string[] = process.argv.slice(2)): Settings {
  return args.includes('--brief') ? brief : full;
}

/** Whether what cannot be measured, or misses its target, makes the run fail. */
export const strict = process.env.MAILVAN_TEST_STRICT === '1';
