import type { Bus } from '../bus/bus.ts';
import type { MemberStatus } from '../bus/network/member-status.ts';
import { deferred } from '../core/async.ts';
import { systemClock } from '../core/clock.ts';
import { BusError, toError } from '../core/errors.ts';
import type { ClusterReport, MemberReport } from './report.ts';

/** Asks every member but this one, which is here only to ask. */
export async function reportOf(bus: Bus, timeout: number): Promise<ClusterReport> {
  const own = await bus.status();
  const others = own.members.filter(({ node }) => node !== bus.node);
  const members = await Promise.all(others.map((member) => askedOf(bus, member, timeout)));
  const { node, epoch } = own.leader ?? {};
  const address = members.find((member) => member.leader)?.status?.address;
  const leader = node === undefined || epoch === undefined ? undefined : { node, epoch };
  return {
    cluster: own.cluster,
    leader: leader === undefined || address === undefined ? leader : { ...leader, address },
    members: members.sort((a, b) => Number(b.leader) - Number(a.leader) || a.node.localeCompare(b.node)),
  };
}

/** Asks a member how it is; says why when it does not answer. */
export async function askedOf(bus: Bus, member: MemberStatus, timeout: number): Promise<MemberReport> {
  const { subscriptions: _, ...facts } = member;
  const late = deferred<never>();
  const timer = systemClock.timer(timeout, () =>
    late.reject(new BusError('TIMEOUT', `no answer within ${timeout} ms`)),
  );
  try {
    return { ...facts, status: await Promise.race([bus.status({ node: member.node }), late.promise]) };
  } catch (thrown) {
    const error = toError(thrown);
    return { ...facts, error: { code: error instanceof BusError ? error.code : 'INTERNAL', message: error.message } };
  } finally {
    timer.cancel();
  }
}
