import { serve } from '../harness/worker.ts';
import { type Options, run } from '../routing.ts';

serve({ run: (options: Options) => run(options) }, async () => undefined);
