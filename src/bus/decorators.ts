import type { Context } from '../actors/delivery.ts';
import type { Handler } from '../actors/subscriber-options.ts';
import { BusError } from '../core/errors.ts';
import type { Message } from '../core/message.ts';
import type { PatternInput } from '../routing/pattern.ts';
import type { Topic } from '../routing/typed-topic.ts';
import type { Subscription } from './consuming/subscription.ts';
import type { SubscriptionOptions } from './options/subscription-options.ts';

/** A method that `@subscribe` has marked. */
export interface DecoratedHandler {
  readonly pattern: PatternInput | Topic;
  readonly options: SubscriptionOptions | undefined;
  /** The method's name. */
  readonly method: string;
  readonly handler: Handler;
}

const decorated = new WeakMap<object, DecoratedHandler[]>();

/**
 * Marks a method as the handler of a pattern; `bus.register(instance)` subscribes it. A standard decorator, for methods of
 * instances and of classes.
 *
 * @example
 * class Billing {
 *   ＠subscribe('orders\\..*', { concurrency: 4 })
 *   async bill(message: Message<Order>, context: Context) {}
 * }
 */
export function subscribe<T = never>(pattern: PatternInput | Topic<unknown, T>, options?: SubscriptionOptions<T>) {
  // Without a schema the type of the payload is the method's own affair, so its message is not narrowed here.
  return <This extends object, M extends Message<T>>(
    method: (this: This, message: M, context: Context) => unknown,
    context: ClassMethodDecoratorContext<This>,
  ): void => {
    const { name } = context;
    if (typeof name === 'symbol')
      throw new BusError('OPTION_INVALID', '@subscribe cannot mark a method whose name is a symbol');
    context.addInitializer(function (this: This) {
      const list = decorated.get(this) ?? [];
      decorated.set(this, list);
      list.push({
        pattern,
        options,
        method: name,
        handler: (message, delivery) => method.call(this, message as unknown as M, delivery),
      });
    });
  };
}

/** The marked methods of an instance, in the order in which they are declared. @throws {BusError} `OPTION_INVALID`. */
function decoratedHandlers(instance: object): readonly DecoratedHandler[] {
  const list = decorated.get(instance);
  if (list === undefined) {
    throw new BusError('OPTION_INVALID', 'register() takes an instance of a class with methods marked by @subscribe');
  }
  return list;
}

/** What the subscription of a marked method is called when it is given no name: `<class>.<method>`. */
function nameOf(instance: object, method: string): string {
  const owner = typeof instance === 'function' ? (instance as { name: string }).name : instance.constructor.name;
  return `${owner}.${method}`.replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, 120);
}

/** Makes a subscription of each marked method, or of none. @param create `suggested`: what one without a name is called. */
export async function subscribeAll(
  instance: object,
  create: (
    pattern: PatternInput | Topic<unknown, unknown>,
    handler: Handler,
    options: SubscriptionOptions | undefined,
    suggested: string,
  ) => Promise<Subscription>,
): Promise<Subscription[]> {
  const made: Subscription[] = [];
  try {
    for (const { pattern, handler, options, method } of decoratedHandlers(instance)) {
      made.push(await create(pattern, handler, options, nameOf(instance, method)));
    }
  } catch (error) {
    for (const subscription of made) await subscription.close();
    throw error;
  }
  return made;
}
