import type { Container, Volume } from '../../api/index.ts';
import { PodError } from '../errors.ts';
import type { PreparedPod } from './pod-record.ts';

/** A device as the runtime takes it. */
export interface CriDevice {
  containerPath: string;
  hostPath: string;
  permissions: string;
}

/** The block volumes of a container. @throws PodError CreateContainerConfigError when one has no device */
export function volumeDevices(
  { name: container, volumeDevices: wanted = [] }: Container,
  volumes: readonly Volume[],
  prepared: PreparedPod,
): CriDevice[] {
  return wanted.map(({ name, devicePath }) => {
    const hostPath = prepared.volumes.get(name);
    if (hostPath === undefined)
      throw new PodError(
        'CreateContainerConfigError',
        `cannot find volume "${name}" to pass into container "${container}"`,
      );
    const readOnly = volumes.find((one) => one.name === name)?.persistentVolumeClaim?.readOnly;
    return { containerPath: devicePath, hostPath, permissions: readOnly ? 'r' : 'mrw' };
  });
}
