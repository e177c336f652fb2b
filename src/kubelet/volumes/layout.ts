import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeMode, VolumeOnDisk } from './plugin.ts';

/** Where the parts of a pod are under the kubelet's root directory; users' tools look there. */
export function podDirectory(root: string, podUid: string): string {
  return join(root, 'pods', podUid);
}

const parents = { Filesystem: 'volumes', Block: 'volumeDevices' } as const;

/** `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>`, of devices `.../volumeDevices/...` */
export function volumePath(
  root: string,
  podUid: string,
  plugin: string,
  name: string,
  mode: VolumeMode = 'Filesystem',
): string {
  return join(podDirectory(root, podUid), parents[mode], plugin.replaceAll('/', '~'), name);
}

/** `<root>/pods/<uid>/volume-subpaths/<volume>/<container>/<index>` */
export function subPathTarget(root: string, podUid: string, volume: string, container: string, index: number): string {
  return join(podDirectory(root, podUid), 'volume-subpaths', volume, container, String(index));
}

/** `<root>/plugins/kubernetes.io/<plugin>`: what a plugin keeps for all pods. */
export function pluginDirectory(root: string, plugin: string): string {
  return join(root, 'plugins', plugin);
}

/** The volumes that a pod's directory has, of any plugin. */
export async function volumesOnDisk(root: string, podUid: string): Promise<VolumeOnDisk[]> {
  const found: VolumeOnDisk[] = [];
  for (const mode of ['Filesystem', 'Block'] as const) {
    const parent = join(podDirectory(root, podUid), parents[mode]);
    for (const directory of await list(parent)) {
      const plugin = directory.replaceAll('~', '/');
      for (const name of await list(join(parent, directory))) {
        found.push({ podUid, plugin, name, path: join(parent, directory, name), mode });
      }
    }
  }
  return found;
}

/** Pods that have a directory. */
export function podsOnDisk(root: string): Promise<string[]> {
  return list(join(root, 'pods'));
}

async function list(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
    throw error;
  });
}
