import { checkFlag, checkKnown, checkObject } from '../../core/checks.ts';
import { BusError, describe } from '../../core/errors.ts';
import type { AccessAction } from '../../core/events.ts';
import { included } from '../../routing/inclusion.ts';
import { compilePattern, type Pattern, type PatternInput } from '../../routing/pattern.ts';

/** What is allowed and what is not: what matches one of `deny` is denied, whatever `allow` says. */
export interface AccessList {
  readonly allow: readonly PatternInput[];
  /** @default [] */
  readonly deny?: readonly PatternInput[];
}

/** What some nodes may do. What is left out they may not do at all. */
export interface AccessRule {
  /** Whose rule it is: matches the whole name. The first rule that matches a node decides, and no other. */
  readonly nodes: PatternInput;
  /** To which topics they may publish. */
  readonly publish?: AccessList;
  /** To what they may subscribe: every topic that their pattern matches has to be allowed. */
  readonly subscribe?: AccessList;
  /** Which kinds of handler actors they may spawn, tell and stop. */
  readonly spawn?: AccessList;
  /** Whether they may ask for everything else: status, events, dead letters, clearing and removing mailboxes. @default false */
  readonly manage?: boolean;
}

/** A list, compiled. Decisions over texts are remembered. */
class Compiled {
  readonly allow: readonly Pattern[];
  readonly deny: readonly Pattern[];
  readonly #decided = new Map<string, boolean>();

  constructor(what: string, given: AccessList) {
    checkObject(what, given);
    checkKnown(what, given, ['allow', 'deny']);
    this.allow = patternsOf(`${what}.allow`, given.allow);
    this.deny = patternsOf(`${what}.deny`, given.deny ?? []);
  }

  test(text: string): boolean {
    const known = this.#decided.get(text);
    if (known !== undefined) return known;
    const allowed = this.allow.some((each) => each.test(text)) && !this.deny.some((each) => each.test(text));
    if (this.#decided.size >= mostDecided) this.#decided.clear();
    this.#decided.set(text, allowed);
    return allowed;
  }
}

interface CompiledRule {
  readonly nodes: Pattern;
  readonly publish: Compiled | undefined;
  readonly subscribe: Compiled | undefined;
  readonly spawn: Compiled | undefined;
  readonly manage: boolean;
}

/** How many texts each list, and how many nodes all rules, remember their decisions of. */
const mostDecided = 4096;

/** The rules of the option `access`: who may do what. */
export class Access {
  readonly #rules: readonly CompiledRule[];
  /** The rule of each node; null for none. */
  readonly #byNode = new Map<string, CompiledRule | null>();

  /** @throws {BusError} `OPTION_INVALID`, `PATTERN_INVALID`. */
  constructor(given: readonly AccessRule[]) {
    if (!Array.isArray(given)) {
      throw new BusError('OPTION_INVALID', `access ${describe(given)} must be a list of rules: [{ nodes, … }]`);
    }
    this.#rules = given.map((rule, i) => compile(`access[${i}]`, rule));
  }

  /** @param what a topic, or the name of a kind; nothing for `manage`. */
  allows(node: string, action: Exclude<AccessAction, 'subscribe'>, what = ''): boolean {
    const rule = this.#ruleOf(node);
    if (rule === null) return false;
    return action === 'manage' ? rule.manage : rule[action]?.test(what) === true;
  }

  /** Whether a node may have every topic that a pattern matches. Topics of the bus itself never travel. */
  subscribes(node: string, pattern: Pattern): boolean {
    if (pattern.internal) return true;
    const list = this.#ruleOf(node)?.subscribe;
    return list !== undefined && included(pattern, list.allow, list.deny);
  }

  #ruleOf(node: string): CompiledRule | null {
    const known = this.#byNode.get(node);
    if (known !== undefined) return known;
    const rule = this.#rules.find(({ nodes }) => nodes.test(node)) ?? null;
    if (this.#byNode.size >= mostDecided) this.#byNode.clear();
    this.#byNode.set(node, rule);
    return rule;
  }
}

function compile(what: string, rule: AccessRule): CompiledRule {
  checkObject(what, rule);
  checkKnown(what, rule, ['nodes', 'publish', 'subscribe', 'spawn', 'manage']);
  const { manage = false } = rule;
  checkFlag(`${what}.manage`, manage);
  const list = (action: 'publish' | 'subscribe' | 'spawn'): Compiled | undefined =>
    rule[action] === undefined ? undefined : new Compiled(`${what}.${action}`, rule[action]);
  return {
    nodes: placed(`${what}.nodes`, rule.nodes),
    publish: list('publish'),
    subscribe: list('subscribe'),
    spawn: list('spawn'),
    manage,
  };
}

function patternsOf(what: string, given: unknown): readonly Pattern[] {
  if (!Array.isArray(given)) {
    throw new BusError(
      'OPTION_INVALID',
      `${what} ${describe(given)} must be a list of patterns; '.*' allows everything`,
    );
  }
  return given.map((each: PatternInput, i) => placed(`${what}[${i}]`, each));
}

function placed(what: string, input: PatternInput): Pattern {
  try {
    return compilePattern(input);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    throw new BusError(error.code, `${what}: ${error.message}`, { cause: error });
  }
}
