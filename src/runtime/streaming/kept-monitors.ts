import type { DescriptorStream } from '../../host/sockets/index.ts';

/** Connections to monitors that must not be closed yet, by container. */
const kept = new Map<string, Map<DescriptorStream, () => void>>();

/** Keeps a connection to a container's monitor open, reading and dropping what comes, until the container ends. */
export function keepOpen(containerId: string, monitor: DescriptorStream): void {
  const all = kept.get(containerId) ?? new Map<DescriptorStream, () => void>();
  kept.set(containerId, all);
  const forget = (): void => {
    all.delete(monitor);
    if (all.size === 0 && kept.get(containerId) === all) kept.delete(containerId);
    monitor.destroy();
  };
  all.set(monitor, forget);
  monitor.once('end', forget);
  monitor.once('close', forget);
  monitor.resume();
}

/** A kept connection, for the next client. */
export function takeKept(containerId: string): DescriptorStream | undefined {
  const all = kept.get(containerId);
  const [first] = all ?? [];
  if (!all || !first) return undefined;
  const [monitor, forget] = first;
  all.delete(monitor);
  if (all.size === 0) kept.delete(containerId);
  monitor.off('end', forget).off('close', forget);
  return monitor.destroyed || monitor.readableEnded ? undefined : monitor;
}
