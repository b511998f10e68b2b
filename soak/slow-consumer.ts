import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Bus, BusError, createBus, type MailboxLimits } from '../src/index.ts';
import { silent } from './quiet.ts';
import { cpuTime, type Done, held, inUse, Pair } from './slow-consumer/consumers.ts';

// A consumer that handles one message a second and is sent five hundred, beside one at full speed: in one process, and both
// of them behind one link in another one, under each overflow policy. For each: handled + dropped + refused + waiting is what
// was published, the mailbox never holds more than it may, memory stays flat once it is full, and the other's rate is at
// least 80 % of what it is alone, measured in the same run. `--brief` takes a moment for each and measures no rate.
//
// Each has a publisher of its own: one that publishes to both waits for the slow one under 'block', as that policy says, and
// makes an error of each refusal under 'reject'.

const brief = process.argv.includes('--brief');
const time = brief ? 200 : 5_000;
const policies = ['drop-oldest', 'drop-newest', 'reject', 'block'] as const satisfies MailboxLimits['overflow'][];
/** How much more may be in use at the end than when the mailbox had just become full. */
const flat = 8 * 1024 * 1024;
/** How many publishes a publisher has under way at a time. */
const batch = 256;
/** How many messages a second the slow one is sent. */
const pace = brief ? 2_000 : 500;
const payload = { id: 12_345, text: 'as long as messages are, as a rule', list: [1, 2, 3] };

const pause = (ms: number): Promise<void> => new Promise((go) => void setTimeout(go, ms));

type Overflow = (typeof policies)[number];

/** Where the consumers are. */
interface Place {
  readonly name: string;
  readonly bus: Bus;
  /** Whether the consumers are in another process. */
  readonly apart: boolean;
  open(overflow: Overflow | undefined): Promise<void>;
  done(memory?: boolean): Promise<Done>;
  close(): Promise<void>;
}

async function within(): Promise<Place & { end(): Promise<void> }> {
  const bus = await createBus({ node: 'one', logger: silent });
  let pair: Pair | undefined;
  return {
    name: 'one process',
    bus,
    apart: false,
    open: async (overflow) => {
      pair = await Pair.of(bus, overflow);
    },
    done: async (memory = false) => pair?.done(memory) as Done, // it is open
    close: async () => pair?.close(),
    end: () => bus.close({ timeout: 0 }),
  };
}

async function across(): Promise<Place & { end(): Promise<void> }> {
  const bus = await createBus({ node: 'publisher', leader: true, listen: 'tcp://127.0.0.1:0', logger: silent });
  const { address = '' } = await bus.status();
  const script = fileURLToPath(new URL('slow-consumer/node.ts', import.meta.url));
  const child: ChildProcess = fork(script, [address], { execArgv: ['--import', 'tsx'] });
  await once(child, 'message');
  const tell = async (order: object): Promise<Done> => {
    child.send(order);
    const [{ done, error }] = (await once(child, 'message')) as [{ done: Done; error?: string }];
    if (error !== undefined) throw new Error(error);
    return done;
  };
  return {
    name: 'two processes',
    bus,
    apart: true,
    open: async (overflow) => void (await tell(overflow === undefined ? { alone: true } : { open: overflow })),
    done: (memory = false) => tell({ memory }),
    close: async () => void (await tell({ close: true })),
    end: async () => {
      child.disconnect();
      await once(child, 'exit');
      await bus.close({ timeout: 0 });
    },
  };
}

/** What a publisher knows of what it has published. */
interface Sent {
  published: number;
  refused: number;
  unknown: number;
}

/** Publishes as fast as it can until it is told to end. */
async function flood(bus: Bus, ends: () => boolean): Promise<void> {
  while (!ends()) {
    const under: Promise<unknown>[] = [];
    for (let i = 0; i < batch; i++) under.push(bus.publish('fast', payload));
    await Promise.all(under);
    if (brief) await pause(5); // no rate is measured, and tests share the machine
  }
}

/** Publishes to the slow one, whether that keeps up or not, until it is told to end. */
async function overload(bus: Bus, ends: () => boolean): Promise<Sent> {
  const sent: Sent = { published: 0, refused: 0, unknown: 0 };
  const failed = (error: unknown): void => {
    if (!(error instanceof BusError) || !['MAILBOX_FULL', 'TIMEOUT'].includes(error.code)) throw error;
    if (error.code === 'MAILBOX_FULL') sent.refused++;
    else sent.unknown++;
  };
  const under = new Set<Promise<void>>();
  const began = performance.now();
  while (!ends()) {
    for (const due = ((performance.now() - began) * pace) / 1000; sent.published < due; sent.published++) {
      const one: Promise<void> = bus.publish('slow', payload, { timeout: 500 }).then(() => undefined, failed);
      under.add(one);
      void one.then(() => under.delete(one));
    }
    await pause(10);
  }
  await Promise.all(under);
  return sent;
}

interface Measured {
  /** Handled a second, by the clock and by the time that both processes were given. */
  readonly rate: number;
  readonly cpuRate: number;
  readonly sent: Sent;
  readonly early: { here: number; there: number };
  readonly late: { here: number; there: number };
  readonly done: Done;
}

/** Publishes for a while, and looks at memory when everything is full and at the end. */
async function measure(place: Place, overflow: Overflow | undefined): Promise<Measured> {
  await place.open(overflow);
  let ended = false;
  const ends = (): boolean => ended;
  const flows = [flood(place.bus, ends), overflow === undefined ? undefined : overload(place.bus, ends)] as const;
  await pause(time / 2);
  for (const end = performance.now() + 30_000; overflow !== undefined && (await place.done()).most < held - 1; ) {
    if (performance.now() > end) throw new Error(`${place.name}, ${overflow}: it is not full`);
    await pause(50);
  }
  const early = { here: inUse(), there: (await place.done(true)).memory };
  const from = await place.done();
  const cpu = cpuTime();
  const began = performance.now();
  await pause(time);
  const to = await place.done();
  const count = to.fast.handled - from.fast.handled;
  const rate = (count * 1000) / (performance.now() - began);
  // Within one process the two are the same.
  const cpuRate = count / (cpuTime() - cpu + (place.apart ? to.cpu - from.cpu : 0));
  ended = true;
  const [, sent] = await Promise.all(flows);
  await settled(place);
  const done = await place.done(true);
  const late = { here: inUse(), there: done.memory };
  await place.close();
  return { rate, cpuRate, sent: sent ?? { published: 0, refused: 0, unknown: 0 }, early, late, done };
}

/** Waits until nothing is on its way. */
async function settled(place: Place): Promise<void> {
  let before = -1;
  for (;;) {
    const { fast, slow } = await place.done();
    const now = fast.handled + (slow === undefined ? 0 : slow.dropped + slow.refused + slow.waiting + slow.running);
    if (now === before && fast.waiting === 0) return;
    before = now;
    await pause(200);
  }
}

const problems: string[] = [];
const mb = (bytes: number): string => (bytes / 1_048_576).toFixed(1);

/** Whether a slow one has done what its policy says, within its bounds. */
function check(what: string, overflow: Overflow, { sent, early, late, done: { slow, most } }: Measured): void {
  if (slow === undefined) throw new Error('there is no slow one');
  const { handled, running, waiting, dropped, refused } = slow;
  const sum = handled + running + waiting + dropped + sent.refused;
  // Of a publish whose time was up it is not known whether the message has come in.
  if (sum > sent.published || sum < sent.published - sent.unknown)
    problems.push(
      `${what}: ${handled} handled + ${running} running + ${waiting} waiting + ${dropped} dropped + ${sent.refused} refused ` +
        `is ${sum}, published were ${sent.published} (${sent.unknown} without an outcome)`,
    );
  if (overflow === 'reject' && (refused < sent.refused || refused > sent.refused + sent.unknown))
    problems.push(`${what}: ${refused} were counted as refused, ${sent.refused} were refused`);
  if (overflow.startsWith('drop') !== dropped > 0) problems.push(`${what}: ${dropped} were dropped`);
  if (most > held) problems.push(`${what}: ${most} waited in a mailbox for ${held}`);
  for (const side of ['here', 'there'] as const) {
    const more = late[side] - early[side];
    if (more > flat) problems.push(`${what}: ${mb(more)} MB more in use ${side} at the end`);
  }
}

/** Compares rates: one pair of a few that is good will do, because what else the machine does falls on one of the two. */
async function compare(place: Place, overflow: Overflow): Promise<void> {
  const what = `${place.name}, ${overflow}`;
  const percent = (share: number): string => `${Math.round(share * 100)} %`;
  let [fastest, best, bestByCpu] = [0, 0, 0];
  for (let round = 0; round < 3 && best < 0.8; round++) {
    const alone = await measure(place, undefined);
    const beside = await measure(place, overflow);
    check(what, overflow, beside);
    fastest = Math.max(fastest, alone.rate);
    best = Math.max(best, beside.rate / alone.rate);
    bestByCpu = Math.max(bestByCpu, beside.cpuRate / alone.cpuRate);
  }
  console.log(
    `  ${what}: ${Math.round(fastest)} a second alone, ${percent(best)} of that beside a slow one ` +
      `(${percent(bestByCpu)} for the same time of the processor)`,
  );
  if (best < 0.8) problems.push(`${what}: ${percent(best)} of its rate alone`);
}

for (const make of [within, across]) {
  const place = await make();
  for (const overflow of policies) {
    if (brief) check(`${place.name}, ${overflow}`, overflow, await measure(place, overflow));
    else await compare(place, overflow);
  }
  await place.end();
}
for (const problem of problems) console.log(`  ${problem}`);
console.log(`slow-consumer: ${problems.length === 0 ? 'PASS' : 'FAIL'}`);
process.exitCode = problems.length === 0 ? 0 : 1;
