import { run } from '../groups.ts';

await run('bus-e-o');
