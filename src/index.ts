export type { DeadLetter, DeadLetterFilter } from './actors/dead-letters.ts';
export type { Context, FailureRecord, StagedOptions } from './actors/delivery.ts';
export type { MailboxLimits, Overflow } from './actors/mailbox.ts';
export type { Handler, SubscriptionStats } from './actors/subscriber.ts';
export type { TreeNode } from './actors/supervisor.ts';
export {
  Bus,
  type BusStatus,
  createBus,
  type DeadLetterBox,
  type Explanation,
  type UnsubscribeOptions,
} from './bus/bus.ts';
export { type ConsumedDelivery, Consumption } from './bus/consumption.ts';
export { subscribe } from './bus/decorators.ts';
export type { LinkStatus, MemberStatus } from './bus/network.ts';
export type { BusLimits, BusOptions, LivenessOptions, RedialOptions } from './bus/options.ts';
export type { EmitOptions, PublishOptions } from './bus/publish-options.ts';
export type { Outgoing } from './bus/publisher.ts';
export { Subscription, type WaitOptions } from './bus/subscription.ts';
export type { SubscriptionOptions } from './bus/subscription-options.ts';
export type { SubscriptionStatus } from './bus/subscriptions.ts';
export { BusError, type ErrorCode, PermanentError, type Receipt, type RouteFailure } from './core/errors.ts';
export type { BusEvent, DropReason, EventListener, EventOf, EventType } from './core/events.ts';
export type { BusState, SubscriptionState } from './core/lifecycle.ts';
export type { Logger } from './core/log.ts';
export type { Headers, Message } from './core/message.ts';
export type { DeadReason, RetryPolicy } from './core/retry.ts';
export { Pattern, type PatternInput, wildcard } from './routing/pattern.ts';
