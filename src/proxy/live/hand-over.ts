import type { Logger } from '../../log/index.ts';
import type { Backend } from '../backends/backend.ts';
import type { FamilyProxy } from '../family-proxy.ts';
import type { IpFamily } from '../model/types.ts';

/**
 * Hands the plans of all families over to other backends: another mode, or the same one with other options. First the new
 * ones write everything, then the old ones' rules go: at every moment there are rules. When a new one cannot, the old ones
 * stay, and what was written for the new ones goes.
 * @throws what the new backend throws
 */
export async function handOver(
  families: readonly FamilyProxy[],
  next: ReadonlyMap<IpFamily, Backend>,
  { log, onLeftover }: { log: Logger; onLeftover: (family: IpFamily) => void },
): Promise<void> {
  try {
    for (const { family, plans } of families) await next.get(family)!.adopt([...plans.plans()]);
  } catch (error) {
    await takeBack(families, next, log);
    throw error;
  }
  for (const family of families) {
    const backend = next.get(family.family)!;
    const before = family.takeOver(backend);
    try {
      if (before.mode !== backend.mode) await before.remove(backend.mode);
    } catch (error) {
      onLeftover(family.family);
      log.error('rules of the mode before not removed', { family: family.family, mode: before.mode, error });
    } finally {
      before.close();
    }
  }
}

async function takeBack(
  families: readonly FamilyProxy[],
  next: ReadonlyMap<IpFamily, Backend>,
  log: Logger,
): Promise<void> {
  for (const { family, backend: before, plans } of families) {
    const backend = next.get(family)!;
    try {
      if (backend.mode !== before.mode) await backend.remove(before.mode);
      await before.adopt([...plans.plans()]);
    } catch (error) {
      log.error('not all as it was before the change that failed', { family, error });
    } finally {
      backend.close();
    }
  }
}
