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
export { Bus, createBus } from './bus/bus.ts';
export { type ConsumedDelivery, Consumption } from './bus/consuming/consumption.ts';
export { type Front, ReceivedDelivery } from './bus/consuming/receiving.ts';
export { Subscription, type UnsubscribeOptions, type WaitOptions } from './bus/consuming/subscription.ts';
export { subscribe } from './bus/decorators.ts';
export type {
  AddedMailbox,
  MailboxControl,
  MailboxDefinition,
  MailboxInfo,
  MailboxStats,
  PeekOptions,
} from './bus/durable/mailbox-control.ts';
export type { PeekedMessage } from './bus/durable/peeking.ts';
export type { BackupResult } from './bus/durable/store-source.ts';
export type { LinkStatus, MemberStatus } from './bus/network/member-status.ts';
export type { AccessList, AccessRule } from './bus/options/access.ts';
export { type BusConfig, type ConfiguredBus, type ConfiguredSubscription, loadConfig } from './bus/options/config.ts';
export type { BusLimits } from './bus/options/limits.ts';
export type { BusOptions, LivenessOptions, RedialOptions } from './bus/options/options.ts';
export type { EmitOptions, PublishOptions } from './bus/options/publish-options.ts';
export type { FrontOptions, ReceiveOptions } from './bus/options/receive-options.ts';
export type { SpawnOptions } from './bus/options/spawn-options.ts';
export type { SubscriptionOptions } from './bus/options/subscription-options.ts';
export type { SyslogFacility, SyslogLevel, SyslogOptions } from './bus/options/syslog-options.ts';
export type { TlsOptions } from './bus/options/tls-options.ts';
export type { InstanceInfo, NodeInfo, NodeVerdict, PlacementInfo } from './bus/placement/placement.ts';
export { Placement } from './bus/placement/placement.ts';
export { PlacementControl, type RebalanceOptions } from './bus/placement/placement-control.ts';
export type { ExplainedRoute, Explanation } from './bus/routes/explaining.ts';
export type { Outgoing, OutgoingFor } from './bus/routes/publisher.ts';
export type { BusStatus, MailboxStatus, StoreStatus } from './bus/status.ts';
export type { RefusalCounts } from './bus/streams/refusals.ts';
export type { SpoolStatus } from './bus/streams/spools.ts';
export type { SubscriptionStatus } from './bus/subscriptions.ts';
export type { ToldEvent } from './bus/watching/event-feed.ts';
export type { FollowedEvent, FollowListener, FollowOptions } from './bus/watching/following.ts';
export type { WatchEvent, WatchListener, WatchTarget } from './bus/watching/watching.ts';
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
