import { run } from '../groups.ts';

await run('storage');
