/** What the attempts that ran in a process of their own fail with when it ends. */
export class ProcessEnded extends Error {
  override readonly name: string = 'ProcessEnded';
  /** How many attempts ran in it: with none, it is the instance that has failed, and not a message. */
  readonly attempts: number;

  constructor(message: string, attempts: number) {
    super(message);
    this.attempts = attempts;
  }
}
