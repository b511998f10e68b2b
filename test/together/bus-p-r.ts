import { run } from '../groups.ts';

await run('bus-p-r');
