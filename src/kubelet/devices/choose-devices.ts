import type { Nodes } from '../managers/topology-hints.ts';

/** A device as its plugin tells of it. */
export interface Device {
  id: string;
  healthy: boolean;
  /** NUMA nodes that it is near to; none: it does not matter. */
  nodes: Nodes;
}

/** Asks the plugin which devices it would choose. `must` are among them. */
export type AskPlugin = (available: string[], must: string[], size: number) => Promise<readonly string[]>;

/**
 * Chooses `count` of the free devices: first those that init containers of the pod leave, then those near the wanted
 * NUMA nodes, of equal ones what the plugin prefers.
 * @throws Error saying how many there are
 */
export async function chooseDevices(
  resource: string,
  count: number,
  from: { free: readonly Device[]; reusable: readonly string[] },
  nodes: Nodes | undefined,
  ask: AskPlugin,
): Promise<string[]> {
  const chosen = from.reusable.slice(0, count);
  const missing = () => count - chosen.length;
  const free = from.free.filter(({ id }) => !chosen.includes(id));
  if (free.length < missing())
    throw new Error(
      `requested number of devices unavailable for ${resource}. Requested: ${missing()}, Available: ${free.length}`,
    );
  if (missing() === 0) return chosen;
  const placed = nodes !== undefined && free.some((device) => device.nodes.length > 0);
  const near = placed ? free.filter((device) => device.nodes.some((node) => nodes.includes(node))) : [];
  const far = placed ? free.filter((device) => device.nodes.length > 0 && !near.includes(device)) : [];
  const anywhere = free.filter((device) => !near.includes(device) && !far.includes(device));
  const take = (devices: readonly Device[]): void => {
    for (const { id } of devices) if (missing() > 0 && !chosen.includes(id)) chosen.push(id);
  };
  const preferred = async (devices: readonly Device[]): Promise<Device[]> => {
    const ids = [...devices.map(({ id }) => id), ...chosen];
    const answer = await ask(ids, [...chosen], count);
    return devices.filter(({ id }) => answer.includes(id));
  };
  if (missing() < near.length) take(await preferred(near));
  take(near);
  if (missing() > 0) {
    take(await preferred(free));
    take(far);
    take(anywhere);
  }
  return chosen;
}
