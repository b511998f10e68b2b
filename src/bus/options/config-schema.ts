import { map, object } from './config-object.ts';
import { type Checked, choice, either, flag, type JsonSchema, list, number, text } from './config-rules.ts';
import { facilityNames, syslogLevels } from './syslog-options.ts';

/** The same names that `checkName()` lets through; a test compares the two. */
const name = (description: string, facts: { default?: string } = {}) =>
  text(description, {
    ...facts,
    pattern: '^[A-Za-z0-9_.-]{1,128}$',
    says: 'must be 1 to 128 of A-Z a-z 0-9 _ . -',
    code: 'NAME_INVALID',
  });

const addresses = "an address such as 'tcp://10.0.8.1:1900' or 'unix:/run/mailvan.sock'";

const address = (description: string, facts: { default?: string; says?: string } = {}) =>
  text(description, { pattern: '^(tcp://|tls://|unix:).', says: `must be ${addresses}`, ...facts });

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

const durability = choice(
  "When a message counts as stored: 'fsync' when it is on the disk, 'os' when the system has it, which a power failure may undo.",
  ['fsync', 'os'],
  { default: 'fsync' },
);

const secretRule = (description: string) =>
  object(
    `${description} It stands elsewhere: name an environment variable or a file.`,
    {
      env: text('The environment variable that holds the secret.', {
        pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
        says: 'must be the name of an environment variable; the secret itself does not belong in this file',
        hidden: true,
      }),
      file: text(
        "A file with the secret and nothing else but a line break at its end; relative to this file's folder.",
        {
          hidden: true,
        },
      ),
    },
    {
      one: ['env', 'file'],
      instead:
        'a secret does not belong in this file, which is copied and committed: write { "env": "NAME" } or { "file": "path" }',
    },
  );

const secret = secretRule('What every node of the cluster shares, at least 16 bytes.');

const secrets = map(
  'Secrets of single nodes that link to this one, by name: such a node proves itself with its own and not with the common one.',
  name('The name of a node.'),
  secretRule('The secret of that node, at least 16 bytes.'),
);

const pemFile = (description: string) =>
  text(`${description} The path of a PEM file; relative to this file's folder.`, {
    pattern: '^(?!\\s*-----BEGIN).',
    says: 'must be the path of a PEM file: what it holds does not belong in this file',
    hidden: true,
  });

const tls = object(
  "This node's certificate and whom it trusts, for tls:// addresses.",
  {
    cert: pemFile("The certificate; a DNS entry of its subject alternative name is the node's name."),
    key: pemFile('Its private key, without a passphrase.'),
    ca: pemFile('The certificates of the authorities that are trusted, and no others.'),
  },
  { required: ['cert', 'key', 'ca'] },
);

const liveness = object('When a silent link is doubted and given up: 2 * ping <= suspect <= down.', {
  ping: number('A link that has sent nothing for so long sends a ping, in milliseconds.', { default: 1000 }),
  suspect: number('A link that has brought nothing for so long is reset, in milliseconds.', { default: 3000 }),
  down: number('A node that has not been heard for so long is down, in milliseconds.', { default: 15_000 }),
});

const redial = object('The waits between attempts to reach the leader.', {
  delay: number('The first wait, in milliseconds; each further one is twice as long.', { default: 100 }),
  maxDelay: number('The longest wait, in milliseconds.', { default: 2000 }),
  timeout: number('How long one attempt to connect may take, in milliseconds.', { default: 2000 }),
});

const busLimits = object('The bounds of this node.', {
  frame: number('The largest frame, in bytes: the same on every node.', { default: 8_388_608 }),
  payload: number('The largest encoded payload, in bytes: at most half of frame.', { default: 1_048_576 }),
  connections: number('How many connections a node that listens accepts.', { default: 1024 }),
  connectionsPerAddress: number('How many of them may come from one address: 512 unless told otherwise.'),
  handshakes: number('How many of them may not have proven yet who they are: 256 unless told otherwise.'),
  handshake: number('How long a handshake may take, in milliseconds.', { default: 2000 }),
  deadLetters: number('How many dead letters are kept.'),
  deadLetterBytes: number('How many bytes of dead letters are kept.'),
});

const capability = either(
  'What it is.',
  flag('Whether the node can do it.'),
  either(
    'A number or a text.',
    number('How much of it there is, say.', { whole: false }),
    text('Which one it is, say.', { says: 'must be true, false, a number, or a text that is not empty' }),
    (value) => typeof value === 'number',
  ),
  (value) => typeof value === 'boolean',
);

const capabilities = map(
  'What this node can do, by name, for placements that ask for it.',
  name('The name of a capability.'),
  capability,
);

const syslogAddress = (description: string) =>
  text(description, {
    pattern: '^(udp://|tcp://|unix:).',
    says: "must be an address such as 'udp://127.0.0.1:514'",
  });

const syslog = either(
  'Where the log goes instead of stderr; needs the package pino-syslog.',
  object(
    'A server for syslog, and what is sent there.',
    {
      address: syslogAddress('udp://host:port, tcp://host:port or unix:path.'),
      level: choice('The least that is sent.', syslogLevels, { default: 'warn' }),
      facility: choice('What the server sorts by.', facilityNames, { default: 'daemon' }),
    },
    { required: ['address'] },
  ),
  syslogAddress('The address alone.'),
  isObject,
);

const store = object(
  'Where durable mailboxes are kept. A node without a store keeps everything in memory.',
  { folder: text("The store's folder; relative to this file's folder."), durability },
  { required: ['folder'], elsewhere: { dataDir: "it is called 'folder'" } },
);

const patternRule = (description: string) =>
  either(
    description,
    object(
      'A regular expression that is searched in the topic as JavaScript would, or a wildcard.',
      {
        regex: text('The source of the expression; anchor it by ^ and $ to match the whole topic.'),
        flags: text("Any of i, s and u, as in 'i'.", {
          pattern: '^(?!.*(.).*\\1)[isu]*$',
          says: 'must be some of i, s and u, each at most once',
          code: 'PATTERN_INVALID',
        }),
        wildcard: text("Words separated by dots: '*' stands for one word, '#' for any number of them."),
      },
      { one: ['regex', 'wildcard'], beside: { flags: 'regex' } },
    ),
    text('The source of a regular expression that must match the whole topic.', {
      says: 'must be the source of a regular expression, { "regex": … } or { "wildcard": … }',
    }),
    isObject,
  );

const pattern = patternRule('Which topics it gets.');

const accessList = (description: string) =>
  object(
    description,
    {
      allow: list('What is allowed.', patternRule('What matches is allowed.')),
      deny: list('What is denied all the same.', patternRule('What matches is denied.')),
    },
    { required: ['allow'] },
  );

const access = list(
  'What other nodes may do here. The first rule that matches a node decides; without one it may do nothing.',
  object(
    'What some nodes may do; what is left out they may not do at all.',
    {
      nodes: patternRule('Whose rule it is: matches the whole name.'),
      publish: accessList('To which topics they may publish.'),
      subscribe: accessList('To what they may subscribe: every topic that their pattern matches has to be allowed.'),
      spawn: accessList('Which kinds of handler actors they may spawn, tell and stop.'),
      manage: flag('Whether they may ask for everything else: status, events, dead letters, clearing mailboxes.', {
        default: false,
      }),
    },
    { required: ['nodes'] },
  ),
);

const retry = object('How failed messages are tried again.', {
  attempts: number('How many attempts in all, the first included.', { default: 5 }),
  delay: number('The wait before the second attempt, in milliseconds.', { default: 100, whole: false }),
  factor: number('What each further wait is multiplied by.', { default: 2, whole: false }),
  maxDelay: number('The longest wait, in milliseconds.', { default: 30_000, whole: false }),
  jitter: number('By which share of itself each wait is varied, from 0 to 1.', { default: 0.2, whole: false }),
});

const outage = either(
  'When failures are taken for an outage of what the handler needs: messages are tried one at a time then.',
  object('What tells an outage.', {
    failures: number('So many failures in a row.', { default: 10 }),
    messages: number('Of at least so many different messages.', { default: 3 }),
    grace: number('For how long what fails spends no attempt then, in milliseconds.', { default: 300_000 }),
  }),
  choice('Never.', [false]),
  isObject,
);

const mailboxLimits = object('How much the mailbox holds, and what happens when it is full.', {
  messages: number('How many messages it holds.', { default: 1_000_000 }),
  bytes: number('How many bytes of messages it holds.', { default: 2_147_483_648 }),
  age: number('How long a message may wait in it, in milliseconds; without it, for ever.'),
  overflow: choice(
    'What happens to a message for a mailbox that is full.',
    ['block', 'reject', 'drop-oldest', 'drop-newest'],
    {
      default: 'reject',
    },
  ),
  deadLetters: flag('Whether messages that leave it by these limits become dead letters.'),
});

const filter = object(
  'What the mailbox admits: exactly one of these.',
  {
    maxSize: number('Messages of at most so many bytes.'),
    minPeriod: number('A message when so much time has passed since the last one admitted, in milliseconds.'),
  },
  { one: ['maxSize', 'minPeriod'] },
);

const consumers = 'it belongs to the consumer: give it to subscribe()';

const subscription = object(
  'A durable subscription: its mailbox is opened with the bus and collects before anybody consumes from it.',
  {
    name: name("The subscription's name, unique in this file."),
    pattern,
    durability,
    retry,
    outage,
    limits: mailboxLimits,
    latestOnly: choice("true keeps the newest message only, 'topic' the newest of each topic.", [true, 'topic']),
    filters: list('What the mailbox admits: a message must pass all of them.', filter),
  },
  {
    required: ['name', 'pattern'],
    elsewhere: {
      durable: 'every subscription in this file is durable; leave it out',
      concurrency: consumers,
      timeout: consumers,
      schema: consumers,
      handler: consumers,
    },
  },
);

/** The one table of what the file may hold: it checks the file and makes the schema. */
export const configRule = object(
  'A Mailvan bus and its durable subscriptions, prepared before runtime. Numbers bear no units.',
  {
    $schema: text('Where an editor finds the schema: "./node_modules/mailvan/mailvan.config.schema.json".'),
    node: name("This node's name in the cluster. By default the store's, else made of host and process."),
    cluster: name('Nodes link only within a cluster of the same name.', { default: 'default' }),
    service: name('Durable names are <service>/<name>.', { default: 'default' }),
    leader: either(
      'Left out: a bus that stands alone.',
      choice('This node leads.', [true]),
      address('The leader to join: tcp://host:port, tls://host:port or unix:path.', {
        says: `must be true or ${addresses}`,
      }),
      (value) => value === true,
    ),
    listen: address('Where a leader listens: tcp://host:port, tls://host:port or unix:path.', {
      default: 'tcp://127.0.0.1:1900',
    }),
    shared: text(
      "Instead of leader, listen and store: the folder that processes share; relative to this file's folder.",
    ),
    secret,
    secrets,
    access,
    tls,
    insecure: flag('Allows listening beyond loopback without a secret or TLS.', { default: false }),
    joinTimeout: number('How long to try to join the leader, in milliseconds.', { default: 10_000 }),
    liveness,
    redial,
    limits: busLimits,
    capabilities,
    syslog,
    store,
    subscriptions: list('The durable subscriptions. No two bear the same name.', subscription),
  },
  {
    elsewhere: {
      dataDir: 'write "store": { "folder": … }',
      durability: 'write "store": { "folder": …, "durability": … }, or give it to a subscription',
      logger: 'a logger is no data: give it to createBus()',
    },
  },
);

/** The file as it is written, checked. */
export type ConfigDocument = Checked<typeof configRule>;

/** A JSON Schema (draft 2020-12) of the file. It cannot see wrong patterns, names given twice, nor whether an address exists. */
export function configSchema(): JsonSchema & { readonly $schema: string; readonly title: string } {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'mailvan.config.json',
    ...configRule.schema,
  };
}
