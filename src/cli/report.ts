import type { MemberStatus } from '../bus/network/member-status.ts';
import type { BusStatus } from '../bus/status.ts';

/** A member, with what it tells of itself or why it tells nothing. */
export interface MemberReport extends Omit<MemberStatus, 'subscriptions'> {
  readonly status?: BusStatus;
  readonly error?: { readonly code: string; readonly message: string };
}

/** The cluster as `status` shows it. */
export interface ClusterReport {
  readonly cluster: string;
  readonly leader: { readonly node: string; readonly epoch: string; readonly address?: string } | undefined;
  readonly members: readonly MemberReport[];
}
