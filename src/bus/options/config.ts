import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { BusError, describe } from '../../core/errors.ts';
import { compilePattern, type Pattern, wildcard } from '../../routing/pattern.ts';
import { parseAddress } from '../../transport/address.ts';
import type { AccessList, AccessRule } from './access.ts';
import { Place } from './config-rules.ts';
import { type ConfigDocument, configRule } from './config-schema.ts';
import { findFault } from './json-text.ts';
import type { BusOptions } from './options.ts';
import type { TlsOptions } from './tls-options.ts';

/** The file that is looked for when none is named. */
export const defaultConfigFile = 'mailvan.config.json';

type SubscriptionDocument = NonNullable<ConfigDocument['subscriptions']>[number];

/** What `createBus()` takes, as far as a file can say it. Ranges are checked when the bus is opened. */
export type ConfiguredBus = BusOptions & {
  readonly service?: string;
  /** Absolute. */
  readonly dataDir?: string;
  /** Absolute. */
  readonly shared?: string;
  readonly durability?: 'fsync' | 'os';
};

/** A durable subscription of the file. */
export interface ConfiguredSubscription {
  readonly name: string;
  readonly pattern: Pattern;
  /** What `subscribe()` takes, the name included. Ranges are checked when the bus is opened. */
  readonly options: Omit<SubscriptionDocument, 'pattern'> & { readonly durable: true };
}

/** A file of settings, read and checked. */
export interface BusConfig {
  /** Its path, absolute. */
  readonly file: string;
  /** To be given to `createBus()`. */
  readonly bus: ConfiguredBus;
  /** In the order of the file. */
  readonly subscriptions: readonly ConfiguredSubscription[];
}

/**
 * Reads the settings of a bus and its durable subscriptions, fetches the secret, and makes paths absolute: they are
 * relative to the file's folder. Addresses of Unix sockets stay as they are.
 *
 * @throws {BusError} `OPTION_INVALID`, `NAME_INVALID` or `PATTERN_INVALID`, naming the file and the place in it.
 */
export async function loadConfig(path: string): Promise<BusConfig> {
  if (typeof path !== 'string' || path === '') {
    throw new BusError('OPTION_INVALID', `loadConfig(): ${describe(path)} must be the path of a file`);
  }
  const root = new Place(path);
  const document = configRule.check(parse(await read(path, root), root), root);
  const file = resolve(path);
  const subscriptions = (document.subscriptions ?? []).map((given, i) =>
    subscriptionOf(given, root.member('subscriptions').entry(i)),
  );
  checkUnique(subscriptions, root);
  return { file, bus: await busOf(document, dirname(file), root), subscriptions };
}

async function read(path: string, place: Place): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException; // readFile throws nothing else
    const problem = code === 'ENOENT' ? `there is no such file in ${dirname(resolve(path))}` : message;
    throw place.problem(`cannot be read: ${problem}`, 'OPTION_INVALID', error);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes); // without a byte order mark
  } catch {
    throw place.problem('is no text in UTF-8; save it in this encoding');
  }
}

function parse(text: string, place: Place): unknown {
  const fault = findFault(text);
  if (fault !== undefined) throw place.problem(`line ${fault.line}, column ${fault.column}: ${fault.problem}`);
  return JSON.parse(text);
}

async function busOf(document: ConfigDocument, folder: string, place: Place): Promise<ConfiguredBus> {
  const { $schema: _, subscriptions: __, store, secret, secrets, access, tls, ...bus } = document;
  if (typeof bus.leader === 'string') checkAddress(bus.leader, place.member('leader'));
  if (bus.listen !== undefined) checkAddress(bus.listen, place.member('listen'));
  return {
    ...bus,
    ...(bus.shared === undefined ? {} : { shared: resolve(folder, bus.shared) }),
    ...(store === undefined ? {} : { dataDir: resolve(folder, store.folder) }),
    ...(store?.durability === undefined ? {} : { durability: store.durability }),
    ...(tls === undefined ? {} : { tls: tlsOf(tls, folder) }),
    ...(secret === undefined ? {} : { secret: await secretOf(secret, folder, place.member('secret')) }),
    ...(secrets === undefined ? {} : { secrets: await secretsOf(secrets, folder, place.member('secrets')) }),
    ...(access === undefined ? {} : { access: access.map((rule, i) => ruleOf(rule, place.member('access').entry(i))) }),
  };
}

function tlsOf({ cert, key, ca }: NonNullable<ConfigDocument['tls']>, folder: string): TlsOptions {
  return { cert: resolve(folder, cert), key: resolve(folder, key), ca: resolve(folder, ca) };
}

async function secretsOf(
  secrets: NonNullable<ConfigDocument['secrets']>,
  folder: string,
  place: Place,
): Promise<Record<string, string>> {
  const read = Object.entries(secrets).map(async ([node, secret]) => {
    return [node, await secretOf(secret, folder, place.member(node))] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

type AccessDocument = NonNullable<ConfigDocument['access']>[number];

function ruleOf({ nodes, publish, subscribe, spawn, manage }: AccessDocument, place: Place): AccessRule {
  return {
    nodes: patternOf(nodes, place.member('nodes')),
    ...(publish && { publish: listOf(publish, place.member('publish')) }),
    ...(subscribe && { subscribe: listOf(subscribe, place.member('subscribe')) }),
    ...(spawn && { spawn: listOf(spawn, place.member('spawn')) }),
    ...(manage !== undefined && { manage }),
  };
}

function listOf({ allow, deny = [] }: NonNullable<AccessDocument['publish']>, place: Place): AccessList {
  return {
    allow: allow.map((each, i) => patternOf(each, place.member('allow').entry(i))),
    deny: deny.map((each, i) => patternOf(each, place.member('deny').entry(i))),
  };
}

async function secretOf(secret: NonNullable<ConfigDocument['secret']>, folder: string, place: Place): Promise<string> {
  if (secret.env !== undefined) {
    const value = process.env[secret.env];
    if (value !== undefined && value !== '') return value;
    throw place
      .member('env')
      .problem(`the environment variable ${secret.env} is ${value === '' ? 'empty' : 'not set'}`);
  }
  const path = resolve(folder, secret.file);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw place.member('file').problem(`the file cannot be read: ${error.message}`, 'OPTION_INVALID', error);
  });
  const value = text.replace(/\r?\n$/, '');
  if (value === '') throw place.member('file').problem(`${path} is empty`);
  return value;
}

function subscriptionOf(given: SubscriptionDocument, place: Place): ConfiguredSubscription {
  const { pattern: source, ...options } = given;
  const pattern = patternOf(source, place.member('pattern'));
  return { name: options.name, pattern, options: { ...options, durable: true } };
}

function patternOf(given: SubscriptionDocument['pattern'], place: Place): Pattern {
  return placed(place, () => {
    if (typeof given === 'string') return compilePattern(given);
    if (given.wildcard !== undefined) return wildcard(given.wildcard);
    let regex: RegExp;
    try {
      regex = new RegExp(given.regex, given.flags ?? '');
    } catch (error) {
      throw new BusError('PATTERN_INVALID', (error as SyntaxError).message); // RegExp throws nothing else
    }
    return compilePattern(regex);
  });
}

function checkAddress(address: string, place: Place): void {
  placed(place, () => parseAddress(address));
}

/** What others refuse, with the place in front. */
function placed<T>(place: Place, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    throw place.problem(error.message, error.code, error);
  }
}

function checkUnique(subscriptions: readonly ConfiguredSubscription[], root: Place): void {
  const first = new Map<string, number>();
  for (const [i, { name }] of subscriptions.entries()) {
    const other = first.get(name);
    const list = root.member('subscriptions');
    if (other !== undefined) {
      throw list
        .entry(i)
        .member('name')
        .problem(`${describe(name)} is the name of ${list.entry(other).path} already`);
    }
    first.set(name, i);
  }
}
