import type { Router } from '../../routing/router.ts';
import { type GroupMember, GroupRoute } from './group-route.ts';
import type { Route } from './route.ts';

/** Puts the ways to mailboxes in memory into the router: each by itself, but the members of a group as one. */
export class Groups {
  readonly #router: Router<Route>;
  readonly #groups = new Map<string, GroupRoute>();

  constructor(router: Router<Route>) {
    this.#router = router;
  }

  add(route: GroupMember): void {
    const { pattern, group } = route;
    if (group === undefined) {
      this.#router.add(pattern, route);
      return;
    }
    const key = keyOf(route, group);
    const known = this.#groups.get(key);
    const whole = known ?? new GroupRoute(pattern, group);
    whole.add(route);
    if (known !== undefined) return;
    this.#groups.set(key, whole);
    this.#router.add(pattern, whole);
  }

  /** Twice is harmless. */
  remove(route: GroupMember): void {
    const { pattern, group } = route;
    if (group === undefined) {
      this.#router.remove(pattern, route);
      return;
    }
    const key = keyOf(route, group);
    const whole = this.#groups.get(key);
    if (whole === undefined || whole.remove(route) > 0) return;
    this.#groups.delete(key);
    this.#router.remove(whole.pattern, whole);
  }
}

/** Members of one group have one pattern: with another one it is another group. */
function keyOf({ pattern }: GroupMember, group: string): string {
  return `${group}\n${pattern.key}`;
}
