import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defineCommand } from 'citty';
import { systemClock } from '../core/clock.ts';
import { BusError } from '../core/errors.ts';
import { checkName } from '../core/topic.ts';
import { readCount } from './arguments.ts';
import { exitCodes, Failure, failureOf, misuse } from './failure.ts';
import type { Invocation } from './invocation.ts';
import type { Issued } from './pki.ts';

const day = 86_400_000;
/** Clocks differ: a new certificate holds a little before it was made. */
const skew = 3_600_000;
const authorityDays = 3650;
const help = "'mailvan cert --help' tells more";

/** `mailvan cert gen <folder> <node>...` */
export const cert = defineCommand({
  meta: { name: 'cert', description: 'Make certificates for a test: an authority, and one for each node' },
  args: {
    action: { type: 'positional', required: true, description: 'gen' },
    folder: { type: 'positional', required: true, description: 'Where they go; an authority that is there signs' },
    'node...': { type: 'positional', required: true, description: 'The names of nodes, a certificate for each' },
    days: { type: 'string', valueHint: 'count', description: 'How long they are good, 1 to 3650 (else 365)' },
    json: { type: 'boolean', description: 'Print JSON, one object a line; errors too, on stderr' },
  },
  run: async ({ args, data }) => {
    const { terminal, given } = data as Invocation; // main.ts hands it to every command
    const [action, folder = '', ...nodes] = given.positionals;
    if (action !== 'gen') throw misuse(`cert has no action ${JSON.stringify(action)}; it has gen`, help);
    const days = args.days === undefined ? 365 : readCount('--days', args.days, 1);
    if (days > authorityDays)
      throw misuse(`--days ${days} is more than ${authorityDays}, as long as the authority is good`);
    checkNodes(nodes);
    const place = (name: string): Files => ({ cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) });
    refuseExisting(nodes.map(place));
    await mkdir(folder, { recursive: true });
    const { authority, until, made } = await authorityIn(place('ca'));
    if (made) await terminal.line(terminal.json ? JSON.stringify({ ca: place('ca').cert }) : place('ca').cert);
    const { issue } = await import('./pki.ts');
    const now = systemClock.now();
    const validity = { from: now - skew, until: Math.min(now + days * day, until) };
    for (const node of nodes) {
      await write(place(node), await issue(systemClock, authority, { names: [node], ...validity }));
      const facts = { node, ...place(node), until: new Date(validity.until).toISOString() };
      await terminal.line(terminal.json ? JSON.stringify(facts) : `${facts.cert}  ${facts.key}  until ${facts.until}`);
    }
    terminal.note(`for a test: who has ${place('ca').key} can make a certificate for any name`, {
      authority: place('ca').key,
    });
  },
});

interface Files {
  readonly cert: string;
  readonly key: string;
}

function checkNodes(nodes: readonly string[]): void {
  for (const [i, node] of nodes.entries()) {
    try {
      checkName('node', node);
    } catch (error) {
      throw failureOf(error);
    }
    if (node.toLowerCase() === 'ca') throw misuse("no node can be named 'ca' here: the authority's files are");
    if (nodes.indexOf(node) !== i) throw misuse(`${node} is there twice`, help);
  }
}

/** Before anything is written: nothing is half done. */
function refuseExisting(files: readonly Files[]): void {
  const found = files.flatMap(({ cert, key }) => [cert, key]).filter((path) => existsSync(path));
  if (found.length === 0) return;
  throw new Failure({
    code: 'NAME_TAKEN',
    message: `${found.join(', ')} exist${found.length === 1 ? 's' : ''}, and nothing is overwritten`,
    exitCode: exitCodes.failed,
    hint: 'remove what is to be made anew, or name another folder',
  });
}

/** The authority of a folder, made if there is none. */
async function authorityIn(files: Files): Promise<{ authority: Issued; until: number; made: boolean }> {
  const now = systemClock.now();
  const there = [files.cert, files.key].filter((path) => existsSync(path));
  if (there.length === 0) {
    const { makeAuthority } = await import('./pki.ts');
    const until = now + authorityDays * day;
    const authority = await makeAuthority(systemClock, { from: now - skew, until });
    await write(files, authority);
    return { authority, until, made: true };
  }
  if (there.length === 1) throw unusable(files, `only ${there[0]} is there`);
  const [cert, key] = await Promise.all([readFile(files.cert, 'utf8'), readFile(files.key, 'utf8')]);
  const until = validUntil(cert, files);
  if (until <= now) throw unusable(files, 'it has expired');
  return { authority: { cert, key }, until, made: false };
}

function validUntil(cert: string, files: Files): number {
  try {
    const { ca, validTo } = new X509Certificate(cert);
    if (ca) return Date.parse(validTo);
  } catch {
    // Told below.
  }
  throw unusable(files, `${files.cert} is no certificate of an authority`);
}

function unusable(files: Files, problem: string): Failure {
  return new Failure({
    code: 'OPTION_INVALID',
    message: `the authority in ${files.cert} and ${files.key} cannot sign: ${problem}`,
    exitCode: exitCodes.failed,
    hint: 'name a folder without an authority: a new one is made there',
  });
}

/** The key first, and for nobody else's eyes. */
async function write({ cert, key }: Files, issued: Issued): Promise<void> {
  try {
    await writeFile(key, issued.key, { mode: 0o600, flag: 'wx' });
    await writeFile(cert, issued.cert, { flag: 'wx' });
  } catch (error) {
    throw new BusError('OPTION_INVALID', `cannot write: ${(error as Error).message}`, { cause: error }); // of the system
  }
}
