import { once } from 'node:events';
import { connect as connectPlain, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { inspect } from 'node:util';
import { type Issued, issue, makeAuthority, type Purpose } from '../src/cli/pki.ts';
import { systemClock } from '../src/core/clock.ts';
import { type Bus, type BusEvent, createBus, type Logger } from '../src/index.ts';
import { prove } from '../src/transport/proof.ts';
import { FrameDecoder } from '../src/wire/decoder.ts';
import { type ControlFrame, decodeFrame, encodeFrame, type Hello } from '../src/wire/frame.ts';
import { silent } from './quiet.ts';

// Who has no business in a cluster, over real sockets: two leaders, one by TLS and one in plain text, both with a secret.
// Every attack sends more frames behind its handshake, which must never be looked at; it must be cut off, and told why where
// it can hear it. Meanwhile honest nodes join and publish. At the end the whole log, at every level, is searched for the
// secret, every key, nonce and proof. `--brief` does 1 round instead of 40.

const brief = process.argv.includes('--brief');
const rounds = brief ? 1 : 40;
const day = 86_400_000;
const began = performance.now();

const problems: string[] = [];
function check(holds: boolean, problem: string): void {
  if (!holds && problems.length < 50) problems.push(problem);
}
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error) => problems.push(`${event}: ${String(error)}`));
}

const secret = Buffer.from(systemClock.randomBytes(32)).toString('base64url');
const secretBytes = new TextEncoder().encode(secret);
/** What must stand nowhere in the log. */
const hidden: [what: string, bytes: Uint8Array][] = [['the secret', secretBytes]];

const now = systemClock.now();
const current = { from: now - day, until: now + day };
const authority = await makeAuthority(systemClock, current);
const foreign = await makeAuthority(systemClock, current);

type Credentials = Issued & { readonly ca: string };

async function certificate(
  name: string,
  facts: { from?: number; until?: number; purposes?: readonly Purpose[]; by?: Issued } = {},
): Promise<Credentials> {
  const { by = authority, ...rest } = facts;
  const made = { ...(await issue(systemClock, by, { names: [name], ...current, ...rest })), ca: authority.cert };
  hide(made.key);
  return made;
}

function hide(key: string): void {
  const body = key.replace(/-----[^-]*-----|\s/g, '');
  // The number that matters stands at a fixed place in a P-256 key (RFC 5915).
  hidden.push(
    ['a private key', Buffer.from(body, 'base64').subarray(36, 68)],
    ['a key file', Buffer.from(body.slice(0, 64))],
  );
}
hide(authority.key);

const own = {
  hub: await certificate('hub'),
  honest: await certificate('honest'),
  mallory: await certificate('mallory'),
  expired: await certificate('mallory', { from: now - 2 * day, until: now - day }),
  foreign: await certificate('mallory', { by: foreign }),
  server: await certificate('mallory', { purposes: ['serverAuth'] }),
};

const log: string[] = [];
const whole = {
  depth: 20,
  showHidden: true,
  maxArrayLength: null,
  maxStringLength: null,
  breakLength: Infinity,
  compact: true,
} as const;
function keep(fields: object, text: string): void {
  log.push(
    `${text} ${inspect(fields, whole)} ${JSON.stringify(fields, (_, value) => (value instanceof Error ? String(value.stack) : value))}`,
  );
}
const logger: Logger = { debug: keep, info: keep, warn: keep, error: keep, child: () => logger };

const secured = await createBus({
  node: 'hub',
  leader: true,
  listen: 'tls://127.0.0.1:0',
  tls: own.hub,
  secret,
  logger,
});
const plain = await createBus({ node: 'hub', leader: true, listen: 'tcp://127.0.0.1:0', secret, logger });
const events: BusEvent[] = [];
let handled = 0;
for (const bus of [secured, plain]) {
  bus.on('*', (event) => void events.push(event));
  await bus.subscribe('honest', () => void handled++);
}
const portOf = (bus: Bus): number => Number(bus.address?.split(':').pop());

/** One end of an attack: frames out, frames in. */
class Line {
  readonly frames: ControlFrame[] = [];
  readonly socket: Socket;
  readonly ended: Promise<void>;
  /** All that was written. */
  readonly sent: Uint8Array[] = [];
  #heard = (): void => {};

  constructor(socket: Socket) {
    this.socket = socket;
    const decoder = new FrameDecoder({ maxFrame: 65_536 });
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      try {
        decoder.push(chunk, (body) => void this.frames.push(decodeFrame(body)));
      } catch {
        socket.destroy(); // no frames: an alert of TLS
      }
      this.#heard();
    });
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        this.#heard();
        resolve();
      });
    });
  }

  send(frame: ControlFrame): void {
    if ('nonce' in frame) hidden.push(['a nonce', frame.nonce]);
    if ('proof' in frame) hidden.push(['a proof', frame.proof]);
    this.raw(encodeFrame(frame));
  }

  raw(bytes: Uint8Array): void {
    this.sent.push(bytes);
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** The next frame that comes in, or undefined when the connection ends. */
  async next(): Promise<ControlFrame | undefined> {
    while (this.frames.length === 0 && !this.socket.destroyed) {
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
    const frame = this.frames.shift();
    if (frame !== undefined && 'nonce' in frame) hidden.push(['a nonce', frame.nonce]);
    if (frame !== undefined && 'proof' in frame) hidden.push(['a proof', frame.proof]);
    return frame;
  }
}

/** Each attack comes from an address of its own, where the system has more than one for itself. */
const sourceOf = (index: number): { localAddress?: string } =>
  process.platform === 'linux' ? { localAddress: `127.0.7.${index + 1}` } : {};

async function byTls(index: number, credentials: Credentials | undefined): Promise<Line> {
  const socket = connectTls({
    ...{ host: '127.0.0.1', port: portOf(secured), ...sourceOf(index), rejectUnauthorized: false },
    ...(credentials === undefined ? {} : { cert: credentials.cert, key: credentials.key }),
  });
  const line = new Line(socket);
  await Promise.race([new Promise((agreed) => socket.once('secureConnect', agreed)), line.ended]);
  return line;
}

async function byTcp(index: number, bus: Bus): Promise<Line> {
  const socket = connectPlain({ host: '127.0.0.1', port: portOf(bus), ...sourceOf(index) });
  const line = new Line(socket);
  await Promise.race([new Promise((connected) => socket.once('connect', connected)), line.ended]);
  return line;
}

const helloOf = (node: string): Hello => ({
  ...{ type: 'hello', protocol: [1, 2], cluster: 'default', node, incarnation: '1-00112233aabbccdd' },
  ...{ epoch: { term: 0, start: 0 }, maxFrame: 8_388_608, nonce: systemClock.randomBytes(16) },
});

/** What stands behind a handshake that fails: it must never be looked at. */
const behind: readonly ControlFrame[] = [{ type: 'ping', version: 0 }, { type: 'resync' }, { type: 'leave' }];

type Proof = (hello: Hello, challenge: ControlFrame & { type: 'challenge' }) => Uint8Array;
const proofBy =
  (key: Uint8Array | undefined): Proof =>
  (hello, challenge) =>
    prove(key, 'dialler', hello, challenge);

/** Shakes hands, with a proof of some kind, and goes on at once as if it had been let in. */
async function shake(line: Line, node: string, proof: Proof): Promise<void> {
  const hello = helloOf(node);
  line.send(hello);
  const challenge = await line.next();
  if (challenge?.type === 'challenge') line.send({ type: 'proof', proof: proof(hello, challenge) });
  else if (challenge !== undefined) line.frames.unshift(challenge);
  for (const frame of behind) line.send(frame);
}

async function replay(line: Line, recorded: readonly Uint8Array[]): Promise<void> {
  const [hello, ...rest] = recorded;
  if (hello === undefined) throw new Error('nothing was recorded');
  line.raw(hello);
  await line.next(); // the challenge, which is another one
  for (const bytes of rest) line.raw(bytes);
}

/** An honest handshake, written down; then the node goes again. */
async function record(line: Line, node: string): Promise<readonly Uint8Array[]> {
  const hello = helloOf(node);
  line.send(hello);
  const challenge = await line.next();
  if (challenge?.type !== 'challenge') throw new Error(`no challenge, but ${challenge?.type}`);
  line.send({ type: 'proof', proof: proofBy(secretBytes)(hello, challenge) });
  const welcome = await line.next();
  check(welcome?.type === 'welcome', `an honest handshake ended as ${welcome?.type}: the recording shows nothing`);
  line.send({ type: 'leave' });
  line.socket.end();
  await line.ended;
  return line.sent;
}

/** Records what an honest node sends by TLS, as somebody sees it who can read the network. */
async function recordTls(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const proxy = createServer((near) => {
    const far = connectPlain(portOf(secured), '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => {});
    near.on('data', (chunk) => void chunks.push(chunk));
    near.pipe(far).pipe(near);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as { port: number };
  const { cert, key } = own.mallory;
  const socket = connectTls({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  await record(new Line(socket), 'mallory');
  proxy.close();
  return Buffer.concat(chunks);
}

const recorded = {
  tcp: await record(await byTcp(0, plain), 'mallory'),
  tls: await record(await byTls(0, own.mallory), 'mallory'),
  bytes: await recordTls(),
};
const joinedBefore = events.filter(({ type }) => type === 'node.joined').length;

/** @returns how it went on; `why` is what it must be told, undefined where there is nobody to tell. */
type Attack = readonly [name: string, why: RegExp | undefined, logged: RegExp, run: (index: number) => Promise<Line>];

const attempt = async (line: Line, node: string, proof: Proof = proofBy(secretBytes)): Promise<Line> => {
  await shake(line, node, proof);
  return line;
};
const wrong = new TextEncoder().encode('this is not the secret of the cluster');
const reflect: Proof = (_, challenge) => challenge.proof;

const attacks: readonly Attack[] = [
  ...(['tcp', 'tls'] as const).flatMap((kind): Attack[] => {
    const dial = (index: number): Promise<Line> => (kind === 'tcp' ? byTcp(index, plain) : byTls(index, own.mallory));
    const unfit = /proof does not fit the secret/;
    return [
      [`${kind}: a wrong secret`, unfit, unfit, async (i) => attempt(await dial(i), 'mallory', proofBy(wrong))],
      [`${kind}: no secret`, unfit, unfit, async (i) => attempt(await dial(i), 'mallory', proofBy(undefined))],
      [`${kind}: a reflected proof`, unfit, unfit, async (i) => attempt(await dial(i), 'mallory', reflect)],
      [
        ...([`${kind}: a reflected challenge`, undefined, /before the handshake was over/] as const),
        async (i) => {
          const line = await dial(i);
          line.send(helloOf('mallory'));
          const challenge = await line.next();
          if (challenge?.type === 'challenge') line.send(challenge);
          for (const frame of behind) line.send(frame);
          return line;
        },
      ],
      [
        ...([`${kind}: a replayed handshake`, unfit, unfit] as const),
        async (i) => {
          const line = await dial(i);
          await replay(line, recorded[kind]);
          return line;
        },
      ],
    ];
  }),
  [
    ...([
      'tls: the bytes of a whole connection, replayed',
      undefined,
      /no TLS could be agreed on|refused the TLS/,
    ] as const),
    async (i) => {
      const line = await byTcp(i, secured);
      line.raw(recorded.bytes);
      return line;
    },
  ],
  [
    'plain text against TLS',
    /it speaks no TLS/,
    /it speaks no TLS/,
    async (i) => attempt(await byTcp(i, secured), 'mallory'),
  ],
  [
    ...(['TLS against plain text', undefined, /it speaks TLS, and this node plain text/] as const),
    async (i) =>
      new Line(connectTls({ host: '127.0.0.1', port: portOf(plain), ...sourceOf(i), rejectUnauthorized: false })),
  ],
  [
    'no certificate',
    /shows no certificate/,
    /shows no certificate/,
    async (i) => attempt(await byTls(i, undefined), 'mallory'),
  ],
  [
    'an expired certificate',
    /has expired/,
    /has expired/,
    async (i) => attempt(await byTls(i, own.expired), 'mallory'),
  ],
  [
    'a foreign CA',
    /none of the authorities/,
    /none of the authorities/,
    async (i) => attempt(await byTls(i, own.foreign), 'mallory'),
  ],
  [
    'a certificate for the other role',
    /clientAuth/,
    /clientAuth/,
    async (i) => attempt(await byTls(i, own.server), 'mallory'),
  ],
  [
    ...(['a name that the certificate does not bear', /bears 'mallory' and not 'honest'/, /and not 'honest'/] as const),
    async (i) => attempt(await byTls(i, own.mallory), 'honest'),
  ],
];

for (let round = 0; round < rounds; round++) {
  const honest = (async () => {
    const leader = secured.address ?? '';
    const node = await createBus({ leader, tls: own.honest, secret, logger: silent as Logger });
    const { matched } = await node.publish('honest', round);
    check(matched === 1, `round ${round}: the honest node reached ${matched} subscriptions`);
    await node.close();
  })();
  await Promise.all([
    honest,
    ...attacks.map(async ([name, why, , run], index) => {
      const line = await run(index);
      await line.ended;
      const last = line.frames.at(-1);
      check(!line.frames.some(({ type }) => type === 'welcome'), `${name}: it was let in`);
      const told = last?.type === 'reject' ? last.detail : `nothing, ${line.frames.length} frames`;
      if (why !== undefined) check(why.test(told), `${name}: it was told ${told}`);
    }),
  ]);
}
await secured.drain();

check(handled === rounds, `${handled} of ${rounds} honest messages were handled`);
const joined = events.filter((event) => event.type === 'node.joined').slice(joinedBefore);
check(joined.length === rounds, `${joined.length} nodes joined, not ${rounds}`);
check(
  joined.every(({ node }) => node === 'honest'),
  `strangers joined: ${joined.map(({ node }) => node)}`,
);
for (const bus of [secured, plain]) {
  const { members } = await bus.status();
  const alive = members.filter(({ state }) => state === 'alive').map(({ node }) => node);
  check(alive.join() === 'hub', `${alive} are in the cluster`);
  await bus.close();
}

const text = log.join('\n');
for (const [name, , logged] of attacks) check(logged.test(text), `${name}: the log does not say why it was refused`);

/** The forms in which bytes may get into a log. */
function formsOf(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes);
  const hex = buffer.toString('hex');
  const base64 = buffer.toString('base64').replace(/=+$/, '');
  const spaced = hex.replace(/..(?=.)/g, '$& ');
  const members = [...bytes].map((byte, i) => `"${i}":${byte}`).join(',');
  const forms = [
    hex,
    hex.toUpperCase(),
    base64,
    buffer.toString('base64url'),
    spaced,
    bytes.join(', '),
    bytes.join(','),
    members,
  ];
  return [...forms, buffer.toString('latin1'), buffer.toString('utf8')];
}
const leaks = (where: string): string[] =>
  hidden.filter(([, bytes]) => formsOf(bytes).some((form) => where.includes(form))).map(([what]) => what);
check(log.length > attacks.length / 2, `the log has only ${log.length} lines`);
for (const what of new Set(leaks(text))) problems.push(`the log holds ${what}`);
// The search finds what is there.
for (const [what, bytes] of hidden.slice(0, 8)) {
  for (const shown of [
    inspect({ bytes }, whole),
    inspect(Buffer.from(bytes), { ...whole, maxArrayLength: 999 }),
    JSON.stringify({ bytes }),
  ]) {
    check(bytes.length > 50 || leaks(shown).includes(what), `the search overlooks ${what} in ${shown}`);
  }
}

const seconds = ((performance.now() - began) / 1000).toFixed(1);
console.log(
  `${rounds} rounds of ${attacks.length} attacks: ${rounds * attacks.length} refused, ${handled} honest messages meanwhile; ${log.length} log lines searched for ${hidden.length} secrets; ${seconds} s`,
);
for (const problem of problems) console.log(`PROBLEM ${problem}`);
console.log(problems.length === 0 ? 'PASS' : 'FAIL');
process.exitCode = problems.length === 0 ? 0 : 1;
