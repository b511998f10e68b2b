import assert from 'node:assert/strict';
import type { Consumer } from '../../src/actors/consumer.ts';
import type { Context } from '../../src/actors/delivery.ts';
import { DurableMailbox } from '../../src/actors/durable-mailbox.ts';
import type { Overflow } from '../../src/actors/mailbox.ts';
import { PermanentError } from '../../src/core/errors.ts';
import type { Message } from '../../src/core/message.ts';
import { VirtualClock } from '../../src/core/virtual-clock.ts';
import { Disk } from '../../src/testing/disk.ts';
import { type Held, heldBy, Life, policyOf } from './durable-bed.ts';

/** What is known of one message that was offered. */
interface Known {
  readonly n: number;
  readonly key: string | undefined;
  readonly explicit: string | undefined;
  readonly delayed: boolean;
  readonly ttl: number;
  /** Its commit was told. */
  committed: boolean;
  /** Its commitment failed: it may be there. */
  unknown: boolean;
  /** A handler's success was accepted; a crash may undo that. */
  acked: boolean;
  /** It was handled, and has staged an output: one of the two is there. */
  staged: boolean;
  /** Attempts that ended badly, or were cut off; and crashes that it may have been counted for. */
  cuts: number;
  maybe: number;
  running: number;
  deliveries: number;
}

/** The window in memory, made small by `DurableRun`. */
let windowOf: { messages: number; bytes: number } | undefined;
const original = Object.getOwnPropertyDescriptor(DurableMailbox.prototype, 'window')?.get as (this: unknown) => {
  messages: number;
  bytes: number;
};
Object.defineProperty(DurableMailbox.prototype, 'window', {
  get(this: DurableMailbox) {
    const given = original.call(this);
    return windowOf === undefined || given.messages === Number.POSITIVE_INFINITY ? given : windowOf;
  },
});

const overflows: Overflow[] = ['block', 'reject', 'drop-oldest', 'drop-newest'];

/** One random history of a mailbox, over several lives, compared with what is known of every message. */
export class DurableRun {
  readonly #dice: VirtualClock;
  readonly #disk = new Disk();
  readonly #known = new Map<number, Known>();
  readonly #byId = new Map<string, number>();
  readonly #attempts: number;
  readonly #policy: ReturnType<typeof policyOf>;
  readonly #fails: boolean;
  readonly #strict: boolean;
  readonly #trace: string[] = [];
  #life!: Life;
  #box!: DurableMailbox;
  #out!: DurableMailbox;
  #consumers: { consumer: Consumer; concurrency: number; credit: number }[] = [];
  #next = 0;
  #lives = 0;
  #epoch = 1_767_225_600_000;
  #lastOfKey = new Map<string, number>();
  #lastUnkeyed = 0;
  #runningKeys = new Set<string>();
  #tookOrder = true;
  #powerLost = false;
  #lastTaken = 0;
  /** What the lives before this one have counted as dropped and expired. */
  #counted = 0;
  /** Who waits for room: admitted, or told that there is none, once. */
  #waiters = 0;

  constructor(readonly seed: number) {
    this.#dice = new VirtualClock(seed * 7919);
    this.#fails = this.#roll(4) > 0;
    this.#strict = this.#roll(5) === 0;
    this.#attempts = 2 + this.#roll(4);
    const small = this.#roll(2) === 0;
    this.#policy = policyOf({
      latestOnly: this.#roll(8) === 0 ? (this.#roll(2) === 0 ? true : 'topic') : false,
      retry: { attempts: this.#attempts, delay: 1 + this.#roll(50) },
      limits: {
        messages: small ? 3 + this.#roll(12) : 1_000_000,
        bytes: this.#roll(3) === 0 ? 20_000 : 2 ** 31,
        overflow: overflows[this.#roll(4)] as Overflow,
        deadLetters: this.#roll(3) === 0,
        age: this.#roll(6) === 0 ? 400 : Number.POSITIVE_INFINITY,
      },
    });
    windowOf = this.#roll(2) === 0 ? { messages: 2 + this.#roll(6), bytes: 3000 } : undefined;
  }

  #roll(sides: number): number {
    return Math.floor(this.#dice.random() * sides);
  }

  #note(text: string): void {
    this.#trace.push(`${this.#lives}:${this.#life?.clock.monotonic() ?? 0} ${text}`);
    if (this.#trace.length > 120) this.#trace.shift();
    if (process.env.MAILVAN_TRACE !== undefined) console.log(this.#trace[this.#trace.length - 1]);
  }

  async run(): Promise<void> {
    try {
      await this.#open();
      const steps = 40 + this.#roll(80);
      for (let i = 0; i < steps; i++) await this.#step();
      await this.#finish();
    } catch (error) {
      (error as Error).message += `\npolicy ${JSON.stringify(this.#policy)}\n${this.#trace.slice(-40).join('\n')}`;
      throw error;
    } finally {
      windowOf = undefined;
    }
  }

  async #open(): Promise<void> {
    this.#lives++;
    this.#waiters = 0;
    const life = await Life.start(this.#disk, {
      seed: this.seed * 31 + this.#lives,
      epoch: this.#epoch,
      delay: this.#roll(3) * 2,
    });
    this.#life = life;
    this.#box = (await life.mailbox('in', this.#policy)).mailbox;
    this.#out = (await life.mailbox('out', policyOf())).mailbox;
    this.#consumers = [];
    this.#lastOfKey = new Map();
    this.#lastUnkeyed = 0;
    this.#lastTaken = 0;
    this.#runningKeys = new Set();
    this.#tookOrder = true;
    for (const known of this.#known.values()) known.running = 0;
    await life.clock.settle();
    assert.deepEqual(life.seen('store.gap'), [], 'a gap without damage');
    this.#count('opened');
  }

  async #step(): Promise<void> {
    const what = this.#roll(100);
    if (what < 50) this.#offer();
    else if (what < 57) this.#attach();
    else if (what < 61) await this.#detach();
    else if (what < 85) await this.#life.clock.advance(this.#roll(60));
    else if (what < 88 && this.#fails) this.#fault();
    else if (what < 92) await this.#life.clock.settle();
    else if (what < 94) await this.#end('close');
    else if (what < 96) await this.#end('kill');
    else if (what < 97) await this.#end('power');
    else if (what < 98) await this.#quiet();
    else await this.#replay();
  }

  #offer(): void {
    // As its routes do: who offers to a store that is away is refused at once.
    if (this.#life.admin.commits.error !== undefined) return;
    const n = this.#next++;
    const key = this.#strict ? undefined : ([undefined, undefined, 'a', 'b', 'c'] as const)[this.#roll(5)];
    const again = this.#roll(12) === 0 && this.#byId.size > 0;
    const explicit = again
      ? [...this.#byId.keys()][this.#roll(this.#byId.size)]
      : this.#roll(4) === 0
        ? `id-${n}`
        : undefined;
    const ttl = !this.#strict && this.#roll(10) === 0 ? 1 + this.#roll(100) : 0;
    const delayed = !this.#strict && this.#roll(8) === 0;
    const known: Known = {
      n,
      key,
      explicit,
      delayed,
      ttl,
      committed: false,
      unknown: false,
      acked: false,
      staged: false,
      cuts: 0,
      maybe: 0,
      running: 0,
      deliveries: 0,
    };
    const payload = { n, pad: 'x'.repeat(this.#roll(10) === 0 ? 9000 : this.#roll(300)) };
    const message = this.#life.message('in', payload, {
      ...(key === undefined ? {} : { key }),
      ...(explicit === undefined ? {} : { id: explicit }),
      ...(ttl === 0 ? {} : { ttl }),
      ...(delayed ? { delay: this.#roll(150) } : {}),
    });
    const life = this.#lives;
    const repeated = explicit !== undefined && this.#byId.has(explicit);
    const first = repeated ? this.#known.get(this.#byId.get(explicit as string) as number) : undefined;
    const result = this.#box.offer(message, {
      committed: (synced) => {
        assert.ok(synced, 'a commit of a synced mailbox is synced');
        if (life !== this.#lives) return;
        known.committed = true;
        if (first !== undefined && !first.committed && !first.unknown) first.committed = true;
      },
      failed: () => {
        known.unknown = true;
      },
    });
    this.#note(`offer ${n} key ${key} id ${explicit} ttl ${ttl} delayed ${delayed}: ${result}`);
    if (result === 'full' && this.#policy.limits.overflow === 'block') {
      const box = this.#box;
      const waits = box.wait({
        size: message.size,
        distant: this.#roll(3) === 0,
        admit: () => {
          this.#waiters--;
          if (this.#life.admin.commits.error !== undefined) return;
          if (explicit !== undefined && box.journal.knows(explicit)) return;
          this.#note(`${n} is let in`);
          this.#known.set(n, known);
          if (explicit !== undefined && !this.#byId.has(explicit)) this.#byId.set(explicit, n);
          box.force(message, {
            committed: () => {
              if (life === this.#lives) known.committed = true;
            },
            failed: () => {
              known.unknown = true;
            },
          });
        },
        closed: () => {
          this.#waiters--;
        },
      });
      if (waits) this.#waiters++;
    }
    if (result !== 'accepted') return;
    this.#known.set(n, known);
    if (explicit !== undefined && !repeated) this.#byId.set(explicit, n);
  }

  #attach(): void {
    if (this.#consumers.length >= (this.#strict ? 1 : 3)) return;
    const concurrency = this.#strict ? 1 : 1 + this.#roll(3);
    const credit = concurrency + this.#roll(4);
    const handler = (message: Message, context: Context): unknown => this.#handle(message, context);
    const timeout = this.#strict ? 30_000 : 100;
    const consumer = this.#life.consume(this.#box, handler, { concurrency, credit, timeout });
    this.#consumers.push({ consumer, concurrency, credit });
    this.#note(`attach ${concurrency}/${credit}`);
  }

  async #detach(): Promise<void> {
    const [gone] = this.#consumers.splice(this.#roll(this.#consumers.length), 1);
    if (gone === undefined) return;
    this.#note('detach');
    this.#cutRunning();
    await this.#life.run(() => gone.consumer.close(0));
  }

  /** Whatever runs may be cut off. */
  #cutRunning(): void {
    this.#tookOrder = false;
    for (const known of this.#known.values()) if (known.running > 0) known.maybe++;
  }

  #fault(): void {
    const which = this.#roll(2) === 0 ? 'applied' : 'lost';
    this.#note(`fault ${which}`);
    this.#life.source.behaviour.faults.set(this.#roll(2), which);
    this.#life.source.behaviour.refusals = this.#roll(3);
    if (this.#roll(4) === 0) this.#life.source.behaviour.scanFaults = 1;
  }

  #handle(message: Message, context: Context): unknown {
    const { n } = message.payload as { n: number };
    const { attempt } = context;
    const known = this.#known.get(n);
    this.#note(`handle ${n} attempt ${attempt}`);
    assert.ok(known !== undefined, `${n} was never accepted`);
    assert.ok(known.committed || known.unknown || this.#lives > 1, `${n} is delivered before its commit`);
    assert.equal(known.running, 0, `${n} runs twice`);
    assert.ok(!known.acked, `${n} is delivered after its settlement`);
    assert.ok(
      attempt >= 1 + (this.#powerLost ? 0 : known.cuts) && attempt <= 1 + known.cuts + known.maybe,
      `${n} is at attempt ${attempt}, after ${known.cuts} cuts and up to ${known.maybe} more`,
    );
    assert.ok(attempt <= this.#attempts, `${n}: too many attempts`);
    known.maybe -= Math.max(0, attempt - 1 - known.cuts);
    known.cuts = attempt - 1;
    known.running++;
    known.deliveries++;
    const { key } = known;
    const place = this.#sequenceOf(context);
    this.#lastTaken = Math.max(this.#lastTaken, place);
    if (key !== undefined) {
      assert.ok(!this.#runningKeys.has(key), `two of key ${key} run`);
      this.#runningKeys.add(key);
      if (!known.delayed) {
        assert.ok(place >= (this.#lastOfKey.get(key) ?? 0), `key ${key} is out of order at ${n}`);
        this.#lastOfKey.set(key, place);
      }
    } else if (this.#strict && this.#tookOrder) {
      assert.ok(place > this.#lastUnkeyed, `${n} is out of order`);
      this.#lastUnkeyed = place;
    }
    const life = this.#life;
    const done = (ok: boolean): void => {
      known.running = 0;
      if (key !== undefined) this.#runningKeys.delete(key);
      if (ok) known.acked = true;
      else known.cuts++;
    };
    const what = this.#strict ? 0 : this.#roll(12);
    const time = this.#roll(3) * this.#roll(20);
    const stage = this.#roll(5) === 0;
    const end = (): void => {
      if (what >= 9) {
        this.#note(`${n} fails`);
        done(false);
        throw what === 11 ? new PermanentError('never') : new Error('no');
      }
      if (stage) void context.publish('out', n);
      this.#note(`${n} succeeds${stage ? ', staging' : ''}`);
      done(true);
      // What it has staged may be refused while the store is away.
      if (stage) {
        known.acked = false;
        known.staged = true;
        known.maybe++;
      }
    };
    if (what === 8 || (what === 7 && time === 0)) {
      this.#note(`${n} hangs`);
      return new Promise(() => {
        life.clock.timer(100, () => {
          if (this.#life !== life || known.running === 0) return;
          known.running = 0;
          known.maybe++;
          if (key !== undefined) this.#runningKeys.delete(key);
        });
      });
    }
    if (time === 0) return end();
    return new Promise<void>((resolve, reject) => {
      life.clock.timer(time, () => {
        if (this.#life !== life) return;
        if (context.signal.aborted) {
          known.running = 0;
          if (key !== undefined) this.#runningKeys.delete(key);
          return;
        }
        try {
          resolve(end());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #sequenceOf(context: Context): number {
    return (context as unknown as { sequence: number }).sequence;
  }

  async #replay(): Promise<void> {
    if (this.#life.admin.commits.error !== undefined) return;
    const letters = await this.#life.run(() => this.#life.deadLetters.list().catch(() => []));
    const [letter] = letters.filter(({ subscription }) => subscription === 'in');
    if (letter === undefined) return;
    const { n } = letter.payload as { n: number };
    const known = this.#known.get(n) as Known;
    this.#note(`replay ${n}`);
    known.cuts = 0;
    known.maybe = 0;
    known.acked = false;
    await this.#life.run(() => this.#life.deadLetters.replay([letter.id]).catch(() => 0));
  }

  async #end(how: 'close' | 'kill' | 'power'): Promise<void> {
    this.#note(how);
    const { clock } = this.#life;
    if (how === 'close') {
      for (const known of this.#known.values()) if (known.running > 0) known.maybe++;
      this.#epoch = await this.#life.close();
    } else {
      const credit = this.#consumers.reduce((sum, each) => sum + each.credit, 0);
      const reach = this.#lastTaken + 3 * credit + 12;
      const held = new Map(
        heldBy(this.#disk, this.#box.id, 'in').map((each) => [(each.payload as { n: number }).n, each]),
      );
      this.#epoch = this.#life.kill();
      for (const known of this.#known.values()) {
        const place = held.get(known.n);
        if (known.running > 0 || place?.where === 'parked' || (place?.sequence ?? 0) <= reach) known.maybe++;
        if (known.running > 0 && how === 'kill' && known.maybe > 0) {
          known.maybe--;
          known.cuts++;
        }
      }
      if (how === 'power') {
        this.#disk.powerOff(this.#dice.random());
        this.#powerLost = true;
      }
    }
    this.#epoch = Math.max(this.#epoch, clock.now() + 10);
    this.#counted += this.#box.tally.dropped + this.#box.tally.expired;
    this.#reconcile(how);
    await this.#open();
  }

  /** What a crash has made of the settlements, by what the disk says. */
  #reconcile(how: string): void {
    const held = this.#check(how);
    for (const known of this.#known.values()) {
      if (held.has(known.n)) {
        known.acked = false;
        if (how === 'power') {
          known.maybe += known.cuts;
          known.cuts = 0;
        }
        known.committed = true;
      } else if (!known.committed) this.#known.delete(known.n);
    }
  }

  /** Compares the disk with what is known. @returns what is there. */
  #check(when: string): Map<number, Held> {
    const found = new Map<number, Held>();
    for (const each of heldBy(this.#disk, this.#box.id, 'in')) {
      const { n } = each.payload as { n: number };
      assert.ok(!found.has(n), `${n} is stored twice, ${when}: ${each.where} and ${found.get(n)?.where}`);
      found.set(n, each);
      assert.ok(this.#known.has(n), `${n} is stored and was never accepted, ${when}`);
    }
    const ids = new Map<string, number>();
    for (const [n, { id, where }] of found) {
      // What had to make room before it was written left no id in the store: repeated in the next life, it is new.
      if (where === 'dead' && this.#policy.limits.overflow === 'drop-oldest') continue;
      assert.ok(!ids.has(id), `${n} and ${ids.get(id)} have the id ${id}, ${when}`);
      ids.set(id, n);
    }
    const stored = heldBy(this.#disk, this.#out.id, 'out').map(({ payload }) => payload as number);
    const outputs = new Set(stored);
    assert.equal(outputs.size, stored.length, `an output is stored twice, ${when}: ${stored}`);
    for (const n of stored) assert.ok(!found.has(n), `${n} is there and so is its output, ${when}`);
    const policy = this.#mayDrop;
    let vanished = 0;
    for (const known of this.#known.values()) {
      if (found.has(known.n) || known.acked || !known.committed) continue;
      if (known.explicit !== undefined && this.#byId.get(known.explicit) !== known.n) continue;
      if (known.staged && outputs.has(known.n)) continue;
      if (!policy && known.ttl === 0) assert.fail(`${known.n} is lost, ${when}`);
      vanished++;
    }
    const counted =
      this.#counted +
      (when.startsWith('at the') || when.startsWith('in b') ? this.#box.tally.dropped + this.#box.tally.expired : 0);
    assert.ok(vanished <= counted, `${vanished} have left by the policy and ${counted} are counted, ${when}`);
    return found;
  }

  /** Whether messages may leave by the mailbox's policy. */
  get #mayDrop(): boolean {
    const { limits, latestOnly } = this.#policy;
    return limits.overflow === 'drop-oldest' || latestOnly !== false || limits.age !== Number.POSITIVE_INFINITY;
  }

  /** When nothing is under way, the counts are those of the disk. */
  #count(when: string): void {
    const { commits } = this.#life.admin;
    if (commits.error !== undefined || !commits.idle) return;
    for (const mailbox of [this.#box, this.#out]) {
      const held = heldBy(this.#disk, mailbox.id, mailbox.name).filter(({ where }) => where !== 'dead');
      assert.equal(mailbox.size, held.length, `the size of ${mailbox.name}, ${when}`);
      assert.equal(
        mailbox.bytes,
        held.reduce((sum, { size }) => sum + size, 0),
        `the bytes of ${mailbox.name}, ${when}`,
      );
    }
  }

  async #quiet(): Promise<void> {
    await this.#life.clock.advance(10);
    const { commits } = this.#life.admin;
    if (commits.error !== undefined || !commits.idle) return;
    this.#count('in between');
    this.#check('in between');
  }

  async #finish(): Promise<void> {
    this.#note('finish');
    this.#life.source.behaviour.faults.clear();
    this.#life.source.behaviour.refusals = 0;
    this.#life.source.behaviour.scanFaults = 0;
    await this.#life.clock.advance(10_000);
    assert.equal(this.#life.admin.commits.error, undefined, 'the store is open again');
    if (this.#consumers.length === 0) this.#attach();
    await this.#life.clock.advance(30_000);
    await this.#life.run(() => this.#box.drain(600_000), 1e9);
    this.#count('at the end');
    assert.equal(this.#box.size, 0);
    assert.equal(this.#box.bytes, 0);
    this.#check('at the end');
    assert.equal(this.#box.journal.busy, false);
    assert.equal(this.#waiters, 0, 'nobody waits for room in an empty mailbox');
    const errors = this.#life.log.lines.filter(({ level }) => level === 'error');
    assert.deepEqual(
      errors.filter(({ text }) => !text.includes('cannot be read')),
      [],
      'nothing is logged as an error',
    );
  }
}
