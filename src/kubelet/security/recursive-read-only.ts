import type { Node } from '../../api/index.ts';

/** Whether the handler of the runtime can make whole trees of mounts read-only. */
export function canReadOnlyRecursively(node: Node | undefined, handler: string): boolean {
  const found = node?.status?.runtimeHandlers?.find(({ name = '' }) => name === handler);
  return found?.features?.recursiveReadOnlyMounts === true;
}
