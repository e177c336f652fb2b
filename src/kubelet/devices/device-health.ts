import type { ContainerStatus, PodStatus, ResourceStatus } from '../../api/index.ts';
import type { DeviceManager } from './device-manager.ts';

/** The status with the health of the devices that each container has. */
export function withDeviceHealth(status: PodStatus, podUid: string, devices: DeviceManager): PodStatus {
  if (!devices.podUids().includes(podUid)) return status;
  const add = (one: ContainerStatus): ContainerStatus => {
    const allocatedResourcesStatus: ResourceStatus[] = devices.entriesOf(podUid, one.name).map((entry) => ({
      name: entry.resource,
      resources: [...new Set([...entry.devices.values()].flat())].sort().map((resourceID) => ({
        resourceID,
        health: devices.isHealthy(entry.resource, resourceID) ? 'Healthy' : 'Unhealthy',
      })),
    }));
    return allocatedResourcesStatus.length > 0 ? { ...one, allocatedResourcesStatus } : one;
  };
  return { ...status, ...(status.containerStatuses ? { containerStatuses: status.containerStatuses.map(add) } : {}) };
}
