export type {
  DeadLetter,
  DeadLetterBox,
  DeadLetterChanges,
  DeadLetterChoice,
  DeadLetterFilter,
  DeadLetterGroup,
} from './actors/dead-letter.ts';
export type { Context, FailureRecord, StagedOptions } from './actors/delivery.ts';
export { type DeclarativeFilter, type Filter, maxSize, minPeriod, type Predicate } from './actors/filters.ts';
export type { Durability, LatestOnly, MailboxLimits, Overflow } from './actors/mailbox-policy.ts';
export type { Handler, SubscriptionStats } from './actors/subscriber-options.ts';
export type { TreeNode } from './actors/supervisor.ts';
export type { AccessList, AccessRule } from './bus/access.ts';
export { Bus, createBus } from './bus/bus.ts';
export { type BusConfig, type ConfiguredBus, type ConfiguredSubscription, loadConfig } from './bus/config.ts';
export { type ConsumedDelivery, Consumption } from './bus/consumption.ts';
export { subscribe } from './bus/decorators.ts';
export type { ToldEvent } from './bus/event-feed.ts';
export type { ExplainedRoute, Explanation } from './bus/explaining.ts';
export type { FollowedEvent, FollowListener, FollowOptions } from './bus/following.ts';
export type { BusLimits } from './bus/limits.ts';
export type {
  AddedMailbox,
  MailboxControl,
  MailboxDefinition,
  MailboxInfo,
  MailboxStats,
  PeekOptions,
} from './bus/mailbox-control.ts';
export type { LinkStatus, MemberStatus } from './bus/member-status.ts';
export type { BusOptions, LivenessOptions, RedialOptions } from './bus/options.ts';
export type { PeekedMessage } from './bus/peeking.ts';
export type { InstanceInfo, NodeInfo, NodeVerdict, PlacementInfo } from './bus/placement.ts';
export { Placement } from './bus/placement.ts';
export { PlacementControl, type RebalanceOptions } from './bus/placement-control.ts';
export type { EmitOptions, PublishOptions } from './bus/publish-options.ts';
export type { Outgoing, OutgoingFor } from './bus/publisher.ts';
export type { FrontOptions, ReceiveOptions } from './bus/receive-options.ts';
export { type Front, ReceivedDelivery } from './bus/receiving.ts';
export type { RefusalCounts } from './bus/refusals.ts';
export type { SpawnOptions } from './bus/spawn-options.ts';
export type { SpoolStatus } from './bus/spools.ts';
export type { BusStatus, MailboxStatus, StoreStatus } from './bus/status.ts';
export type { BackupResult } from './bus/store-source.ts';
export { Subscription, type UnsubscribeOptions, type WaitOptions } from './bus/subscription.ts';
export type { SubscriptionOptions } from './bus/subscription-options.ts';
export type { SubscriptionStatus } from './bus/subscriptions.ts';
export type { SyslogFacility, SyslogLevel, SyslogOptions } from './bus/syslog-options.ts';
export type { TlsOptions } from './bus/tls-options.ts';
export type { WatchEvent, WatchListener, WatchTarget } from './bus/watching.ts';
export type { Move } from './cluster/placement.ts';
export {
  BusError,
  type ErrorCode,
  PermanentError,
  type Receipt,
  type RouteFailure,
  type SchemaIssue,
} from './core/errors.ts';
export type {
  AccessAction,
  BusEvent,
  DropReason,
  EventListener,
  EventOf,
  EventType,
  ExpiryReason,
} from './core/events.ts';
export type { BusState, SubscriptionState } from './core/lifecycle.ts';
export type { Logger } from './core/log.ts';
export type { Headers, Message } from './core/message.ts';
export type { OutagePolicy } from './core/outage.ts';
export type { DeadReason, RetryPolicy } from './core/retry.ts';
export type { SchemaInput, SchemaOutput, SchemaResult, StandardSchema, ValidatorIssue } from './core/schema.ts';
export type { ActorContext, HandlerActor, Kind, Kinds, ModuleKind } from './hosting/kinds.ts';
export { Pattern, type PatternInput, wildcard } from './routing/pattern.ts';
export { type Destination, type PayloadFor, Topic, topic } from './routing/typed-topic.ts';
export type { Capabilities, CapabilityValue, Condition } from './wire/placement-entry.ts';
