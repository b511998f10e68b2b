import { run } from '../groups.ts';

await run('bus-s-z');
