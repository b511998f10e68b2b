import { execFileSync } from 'node:child_process';

// A router and five nodes, each in a network namespace of its own: node <i> is 10.214.<i>.2, the router 10.214.<i>.1. Needs
// root and iproute2.

/** Which packets of a node the router drops: those that come from it, those that go to it, or both. */
export type Cut = 'from' | 'to' | 'both';

export const nodes = [1, 2, 3, 4, 5] as const;
const router = `mv${process.pid}r`;
const spaceOf = (i: number): string => `mv${process.pid}n${i}`;
const portOf = (i: number): string => `mv${process.pid}p${i}`;

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

export function addressOf(i: number): string {
  return `10.214.${i}.2`;
}

/** @returns what runs a command in the namespace of a node. */
export function within(i: number): string[] {
  return ['ip', 'netns', 'exec', spaceOf(i)];
}

/** Makes it all. @returns why not, when this machine does not let us. */
export function connect(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  try {
    for (const space of [router, ...nodes.map(spaceOf)]) {
      ip('netns', 'add', space);
      ip('-n', space, 'link', 'set', 'lo', 'up');
    }
    ip('netns', 'exec', router, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    for (const i of nodes) {
      const [space, port] = [spaceOf(i), portOf(i)];
      ip('link', 'add', port, 'netns', router, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', space);
      ip('-n', router, 'address', 'add', `10.214.${i}.1/24`, 'dev', port);
      ip('-n', space, 'address', 'add', `${addressOf(i)}/24`, 'dev', 'uplink');
      ip('-n', router, 'link', 'set', port, 'up');
      ip('-n', space, 'link', 'set', 'uplink', 'up');
      ip('-n', space, 'route', 'add', 'default', 'via', `10.214.${i}.1`);
    }
    cut(1, 'both'); // whether it can
    mend(1, 'both');
  } catch (error) {
    return `it needs iproute2 and the right to make network namespaces (${(error as Error).message.trim()})`;
  }
  return undefined;
}

export function disconnect(): void {
  for (const space of [router, ...nodes.map(spaceOf)]) {
    try {
      ip('netns', 'del', space);
    } catch {
      // It was never made.
    }
  }
}

/** From now on the router drops packets of a node, and tells nobody. */
export function cut(i: number, which: Cut): void {
  for (const way of ways(which)) ip('-n', router, 'rule', 'add', way, addressOf(i), 'blackhole');
}

/** Undoes it. */
export function mend(i: number, which: Cut): void {
  for (const way of ways(which)) ip('-n', router, 'rule', 'del', way, addressOf(i), 'blackhole');
}

/** Pulls the cable of a node out of the router, or puts it back. */
export function plug(i: number, state: 'up' | 'down'): void {
  ip('-n', router, 'link', 'set', portOf(i), state);
}

function ways(which: Cut): string[] {
  return which === 'both' ? ['from', 'to'] : [which];
}
