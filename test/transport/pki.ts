import { type Issued, issue, makeAuthority, type Purpose, type Validity } from '../../src/cli/pki.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { TlsCredentials } from '../../src/transport/tls.ts';

const day = 86_400_000;

/** From yesterday until tomorrow. */
export const current = (): Validity => ({ from: systemClock.now() - day, until: systemClock.now() + day });
/** Over since yesterday. */
export const past = (): Validity => ({ from: systemClock.now() - 2 * day, until: systemClock.now() - day });
/** From tomorrow on. */
export const future = (): Validity => ({ from: systemClock.now() + day, until: systemClock.now() + 2 * day });

/** An authority for tests, and what it hands to nodes. */
export class Pki {
  readonly authority: Issued;

  private constructor(authority: Issued) {
    this.authority = authority;
  }

  static async make(validity = current()): Promise<Pki> {
    return new Pki(await makeAuthority(systemClock, validity));
  }

  /** What a node of these names gives as `tls`. */
  async node(
    names: string | readonly string[],
    facts: { validity?: Validity; purposes?: readonly Purpose[] } = {},
  ): Promise<TlsCredentials & { readonly cert: string; readonly key: string; readonly ca: string }> {
    const { validity = current(), purposes } = facts;
    const { cert, key } = await issue(systemClock, this.authority, {
      ...validity,
      names: typeof names === 'string' ? [names] : names,
      ...(purposes === undefined ? {} : { purposes }),
    });
    return { cert, key, ca: this.authority.cert };
  }
}
