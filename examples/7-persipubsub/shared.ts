// What the publishers and the subscribers have in common: where the hub is stands in the one file that it reads as well.
import { type Bus, createBus, loadConfig } from 'mailvan';

export async function join(config: string, node: string): Promise<Bus> {
  const { bus } = await loadConfig(config);
  if (bus.listen === undefined) throw new Error(`${config} does not say where the hub listens`);
  return createBus({ node, leader: bus.listen });
}
