import { join } from 'node:path';

/** Where the parts of a pod are under the kubelet's root directory; users' tools look there. */
export function podDirectory(root: string, podUid: string): string {
  return join(root, 'pods', podUid);
}

/** `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>` */
export function volumePath(root: string, podUid: string, plugin: string, name: string): string {
  return join(podDirectory(root, podUid), 'volumes', `kubernetes.io~${plugin}`, name);
}

/** `<root>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>` */
export function subPathTarget(root: string, podUid: string, volume: string, container: string, index: number): string {
  return join(podDirectory(root, podUid), 'volume-subpaths', volume, container, String(index));
}
