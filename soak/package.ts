import { type ExecFileSyncOptionsWithStringEncoding, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The package as a new user meets it: packed, installed into an empty folder, in a TypeScript project under `strict`, with the
// snippet of the README, and its command. In full also: a clean clone, in which the README's two commands pass.

const brief = process.argv.includes('--brief');
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'mailvan-package-'));
const options: ExecFileSyncOptionsWithStringEncoding = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
const run = (command: string, args: string[], cwd: string): string => execFileSync(command, args, { ...options, cwd });

try {
  const [packed] = JSON.parse(
    run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root),
  ) as [{ filename: string; entryCount: number; unpackedSize: number; files: { path: string }[] }];
  const strange = packed.files.filter(
    ({ path }) =>
      !/^(dist|docs)\/|^(README\.md|LICENSE|CHANGELOG\.md|package\.json|mailvan\.config\.schema\.json)$/.test(path),
  );
  if (strange.length > 0) throw new Error(`packed by mistake: ${strange.map(({ path }) => path).join(', ')}`);
  if (!packed.files.some(({ path }) => path === 'dist/index.js')) throw new Error('dist is missing: build first');

  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'somebody', private: true, type: 'module' }));
  const typescript = join(root, 'node_modules/typescript/bin/tsc');
  run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename), '@types/node@20'],
    folder,
  );
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        module: 'nodenext',
        strict: true,
        outDir: 'out',
        types: ['node'],
        lib: ['es2023', 'esnext.disposable'],
      },
    }),
  );
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const snippet = /```ts\n(import \{ createBus \}[\s\S]*?)```/.exec(readme)?.[1];
  if (snippet === undefined) throw new Error('the README has no snippet');
  writeFileSync(join(folder, 'snippet.ts'), snippet);
  writeFileSync(
    join(folder, 'types.ts'),
    `import { type Context, createBus, type Message, PermanentError, subscribe, wildcard } from 'mailvan';
import { TestCluster } from 'mailvan/testing';
interface Order { order: number }
class Billing {
  @subscribe(wildcard('orders.#'), { concurrency: 2 })
  async bill(message: Message<Order>, context: Context): Promise<void> {
    if (message.payload.order < 0) throw new PermanentError('negative');
    await context.publish('bills', message.payload.order);
  }
}
await using bus = await createBus({ node: 'typed' });
await bus.register(new Billing());
const total: number[] = [];
await bus.subscribe<number>('bills', (message) => void total.push(message.payload));
await bus.publish('orders.eu', { order: 1 });
await bus.drain();
bus.on('message.dead', ({ subscription, attempts }) => console.log(subscription, attempts.toFixed()));
const cluster = new TestCluster({ seed: 7 });
await cluster.leader();
await cluster.close();
if (total.join() !== '1') throw new Error(\`got \${total.join()}\`);
console.log('typed');
`,
  );
  run(process.execPath, [typescript], folder);
  const said = run(process.execPath, ['out/snippet.js'], folder);
  if (!said.includes('at attempt 2')) throw new Error(`the README's snippet said: ${said}`);
  if (run(process.execPath, ['out/types.js'], folder).trim() !== 'typed') throw new Error('the typed program failed');
  const version = run(join(folder, 'node_modules/.bin/mailvan'), ['--version'], folder).trim();
  const { size } = { size: Math.round(packed.unpackedSize / 1024) };
  let clone = '';
  if (!brief) {
    const clean = join(folder, 'clone');
    run('git', ['clone', '--quiet', root, clean], folder);
    for (const script of ['demo', 'test']) {
      run('npm', ['ci', '--no-audit', '--no-fund'], clean);
      run('npm', script === 'test' ? ['test'] : ['run', script], clean);
    }
    clone = "; in a clean clone 'npm ci && npm run demo' and 'npm ci && npm test' pass";
  }
  process.stdout.write(
    `package: ${packed.entryCount} files, ${size} KiB unpacked, installed, the README's snippet and a strict TypeScript program run, mailvan ${version}${clone} — PASS\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
