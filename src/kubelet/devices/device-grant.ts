import type { DeviceGrant } from '../managers/make-managers.ts';
import type { DeviceEntry } from './device-checkpoint.ts';

const nothing: DeviceGrant = { devices: [], mounts: [], environment: {}, annotations: {}, cdiDevices: [] };

/** What comes with devices, of all resources together; of two that say the same path or name, the first counts. */
export function grantOf(entries: readonly DeviceEntry[]): DeviceGrant {
  if (entries.length === 0) return nothing;
  const devices = new Map<string, DeviceGrant['devices'][number]>();
  const mounts = new Map<string, DeviceGrant['mounts'][number]>();
  const environment: Record<string, string> = {};
  const annotations: Record<string, string> = {};
  const cdiDevices = new Set<string>();
  for (const { answer } of entries) {
    for (const { containerPath, hostPath, permissions } of answer.devices)
      if (!devices.has(containerPath)) devices.set(containerPath, { containerPath, hostPath, permissions });
    for (const { containerPath, hostPath, readOnly } of answer.mounts)
      if (!mounts.has(containerPath)) mounts.set(containerPath, { containerPath, hostPath, readonly: readOnly });
    for (const [name, value] of Object.entries(answer.envs)) environment[name] ??= value;
    for (const [name, value] of Object.entries(answer.annotations)) annotations[name] ??= value;
    for (const { name } of answer.cdiDevices) cdiDevices.add(name);
  }
  return {
    devices: [...devices.values()],
    mounts: [...mounts.values()],
    environment,
    annotations,
    cdiDevices: [...cdiDevices],
  };
}
