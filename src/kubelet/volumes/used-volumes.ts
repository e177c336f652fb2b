import type { Container, Pod, Volume } from '../../api/index.ts';

function allContainers({ spec }: Pod): Pick<Container, 'volumeMounts' | 'volumeDevices'>[] {
  return [...(spec.initContainers ?? []), ...spec.containers, ...(spec.ephemeralContainers ?? [])];
}

/** The volumes that some container of the pod mounts, or has as a device: others are not made. */
export function usedVolumes(pod: Pod): Volume[] {
  const names = new Set<string>();
  for (const { volumeMounts = [], volumeDevices = [] } of allContainers(pod)) {
    for (const { name } of [...volumeMounts, ...volumeDevices]) names.add(name);
  }
  return (pod.spec.volumes ?? []).filter(({ name }) => names.has(name));
}

/** Whether some container mounts the volume, and whether some has it as a device. */
export function usesOf(pod: Pod, volume: string): { mounted: boolean; device: boolean } {
  const containers = allContainers(pod);
  return {
    mounted: containers.some(({ volumeMounts }) => volumeMounts?.some(({ name }) => name === volume)),
    device: containers.some(({ volumeDevices }) => volumeDevices?.some(({ name }) => name === volume)),
  };
}
