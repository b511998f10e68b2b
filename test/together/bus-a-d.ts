import { run } from '../groups.ts';

await run('bus-a-d');
