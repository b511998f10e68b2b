import assert from 'node:assert/strict';
import { Delivery, type DeliveryOwner } from '../actors/delivery.ts';
import type { Mailbox, MailboxHost, MailboxLimits } from '../actors/mailbox.ts';
import type { RoomWaiter } from '../actors/room.ts';
import { silentLogger } from '../core/log.ts';
import { Message } from '../core/message.ts';
import { VirtualClock } from '../core/virtual-clock.ts';

/** The part of a {@link Mailbox} that every mailbox has, wherever it keeps its messages. */
export type AnyMailbox = Pick<
  Mailbox,
  | 'waiting'
  | 'bytes'
  | 'ready'
  | 'hasRoom'
  | 'offer'
  | 'force'
  | 'take'
  | 'settled'
  | 'park'
  | 'putBack'
  | 'wait'
  | 'close'
>;

/** Makes the mailbox under test. It must use the clock of its host, a virtual one, and no other. */
export type CreateMailbox = (host: MailboxHost, limits: MailboxLimits) => AnyMailbox;

/** What the deliveries of a bed belong to. */
const owner: DeliveryOwner = {
  name: 'sub',
  mailboxId: 'mailbox',
  incarnation: '0-0000000000000000',
  log: silentLogger,
  acked: () => {},
  failed: () => {},
  extended: () => {},
  prepare: () => assert.fail('nothing is staged here'),
};

/** A mailbox, its surroundings, and short forms of what is done to it. */
export class MailboxBed {
  readonly clock: VirtualClock;
  readonly mailbox: AnyMailbox;
  /** The ids of what the policy dropped. */
  readonly dropped: string[] = [];
  /** How often the mailbox said that there is something to take. */
  calls = 0;
  #sequence = 0;

  constructor(create: CreateMailbox, limits: Partial<MailboxLimits>, seed: number) {
    this.clock = new VirtualClock(seed);
    const host: MailboxHost = {
      clock: this.clock,
      ready: () => {
        this.calls++;
      },
      dropped: (delivery) => {
        assert.ok(delivery !== undefined, 'a drop names its delivery');
        assert.equal(delivery.state, 'dropped');
        this.dropped.push(delivery.message.id);
      },
    };
    this.mailbox = create(host, {
      messages: 100,
      bytes: 1_000_000,
      age: Number.POSITIVE_INFINITY,
      overflow: 'block',
      deadLetters: false,
      ...limits,
    });
  }

  /** A delivery of the first attempt, numbered in order of making. */
  delivery(id: string, key?: string, size = 100): Delivery {
    const message = new Message('t', undefined, undefined, key, 0, 'here', size, id, 0, undefined, undefined);
    return new Delivery(message, owner, ++this.#sequence, 1, undefined);
  }

  offer(id: string, key?: string, size?: number): 'accepted' | 'full' | 'closed' {
    return this.mailbox.offer(this.delivery(id, key, size));
  }

  /** Takes one, which is running from then on. */
  take(): Delivery | undefined {
    const delivery = this.mailbox.take();
    delivery?.begin();
    return delivery;
  }

  /** Takes what there is; the ids. */
  takeAll(): string[] {
    const ids: string[] = [];
    for (let next = this.take(); next !== undefined; next = this.take()) ids.push(next.message.id);
    return ids;
  }

  /** Takes the one that must come next. */
  expect(id: string): Delivery {
    const delivery = this.take();
    assert.equal(delivery?.message.id, id);
    return delivery as Delivery; // equal ids
  }

  /** The delivery of the next attempt. */
  again({ message, sequence, attempt }: Delivery): Delivery {
    return new Delivery(message, owner, sequence, attempt + 1, undefined);
  }

  settle(delivery: Delivery): void {
    this.mailbox.settled(delivery.message);
  }

  waiter(size = 100, distant = false): RoomWaiter & { told: string } {
    const waiter = {
      size,
      distant,
      told: '',
      admit: () => {
        assert.equal(waiter.told, '', 'told once');
        waiter.told = 'admitted';
        if (!distant) this.mailbox.force(this.delivery(`waited-${this.#sequence}`, undefined, size));
      },
      closed: () => {
        assert.equal(waiter.told, '', 'told once');
        waiter.told = 'closed';
      },
    };
    return waiter;
  }
}

/** How many steps a random run takes before it is brought to its end. */
const steps = 120;

/** One random run, compared with what is known of every message: where it is. */
export async function randomRun(world: MailboxBed): Promise<void> {
  const { mailbox, clock } = world;
  const dice = (sides: number): number => Math.floor(clock.random() * sides);
  const keys = [undefined, undefined, 'a', 'b', 'c'];
  /** Where each message is. */
  const place = new Map<string, 'inside' | 'out' | 'done' | 'dropped'>();
  const size = new Map<string, number>();
  const out: Delivery[] = [];
  /** When a parked message is due, by id. */
  const due = new Map<string, number>();
  const keyOf = new Map<string, string | undefined>();
  const lastOfKey = new Map<string, number>();
  let lastUnkeyed = 0;
  let drops = 0;

  const noteDrops = (): void => {
    for (const id of world.dropped.slice(drops)) {
      assert.notEqual(place.get(id), 'out', `${id} was dropped while it was out`);
      assert.notEqual(place.get(id), 'dropped', `${id} was dropped twice`);
      place.set(id, 'dropped');
      due.delete(id);
    }
    drops = world.dropped.length;
  };
  const inside = (): string[] => [...place].filter(([, where]) => where === 'inside').map(([id]) => id);
  const busy = (key: string): boolean =>
    out.some(({ message }) => message.key === key) || [...due.keys()].some((id) => keyOf.get(id) === key);

  const offer = (): void => {
    const id = `m${place.size}`;
    const bytes = 50 + dice(400);
    const key = keys[dice(keys.length)];
    const before = mailbox.waiting;
    const room = mailbox.hasRoom(bytes);
    const outcome = world.offer(id, key, bytes);
    if (outcome === 'full') {
      assert.equal(room, false);
      assert.equal(mailbox.waiting, before);
      return;
    }
    assert.equal(outcome, 'accepted');
    assert.equal(room, true);
    place.set(id, 'inside');
    size.set(id, bytes);
    keyOf.set(id, key);
    noteDrops();
    if (place.get(id) !== 'inside' || mailbox.waiting === 1) return;
    assert.ok(mailbox.waiting <= 6, `${mailbox.waiting} messages`);
    assert.ok(mailbox.bytes <= 900, `${mailbox.bytes} bytes`);
  };
  const take = (): void => {
    const delivery = world.take();
    if (delivery === undefined) {
      for (const id of inside()) {
        const key = keyOf.get(id);
        const parked = (due.get(id) ?? 0) > clock.monotonic();
        assert.ok(parked || (key !== undefined && busy(key)), `${id} could have been taken`);
      }
      return;
    }
    const { message, sequence, attempt } = delivery;
    assert.equal(place.get(message.id), 'inside');
    assert.ok((due.get(message.id) ?? 0) <= clock.monotonic(), `${message.id} came too early`);
    due.delete(message.id);
    if (message.key === undefined) {
      if (attempt === 1) {
        assert.ok(sequence > lastUnkeyed, 'those without a key come in order');
        lastUnkeyed = sequence;
      }
    } else {
      assert.ok(!busy(message.key), `two of key ${message.key} are out`);
      assert.ok(sequence >= (lastOfKey.get(message.key) ?? 0), `key ${message.key} is out of order`);
      lastOfKey.set(message.key, sequence);
    }
    place.set(message.id, 'out');
    out.push(delivery);
  };
  const finish = (): void => {
    const [delivery] = out.splice(dice(out.length), 1);
    if (delivery === undefined) return;
    const { id } = delivery.message;
    place.set(id, 'inside');
    switch (dice(4)) {
      case 0: {
        const delay = 1 + dice(50);
        due.set(id, clock.monotonic() + delay);
        mailbox.park(world.again(delivery), delay);
        break;
      }
      case 1:
        mailbox.putBack(world.again(delivery));
        break;
      default:
        place.set(id, 'done');
        world.settle(delivery);
    }
  };

  for (let step = 0; step < steps; step++) {
    const what = dice(10);
    if (what < 5) offer();
    else if (what < 7) take();
    else if (what < 9) finish();
    else await clock.advance(dice(40));
    assert.equal(mailbox.waiting, inside().length);
    assert.equal(
      mailbox.bytes,
      inside().reduce((sum, id) => sum + (size.get(id) ?? 0), 0),
    );
  }
  while (inside().length > 0 || out.length > 0) {
    await clock.advance(50);
    take();
    const [delivery] = out.splice(0, 1);
    if (delivery === undefined) continue;
    place.set(delivery.message.id, 'done');
    world.settle(delivery);
  }
  const count = (where: string): number => [...place.values()].filter((w) => w === where).length;
  assert.equal(place.size, count('done') + count('dropped'), 'accepted = taken + dropped');
  assert.equal(mailbox.waiting, 0);
  assert.equal(clock.pendingTimers === 0 || world.dropped.length > 0, true, 'no timer without a parked message');
}
