/** Fails to define its subscriptions. */
export default function define() {
  throw new TypeError('no such table');
}
