import type { Stats } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { Device } from '../../../api/cri/index.ts';
import { invalid, unlessMissing } from '../../errors.ts';
import type { OciDevice, OciResources, OciSpec } from './oci-spec.ts';

type DeviceRule = OciResources['devices'][number];

/** What every container may use; the files themselves are made by the OCI runtime. */
const defaultRules: readonly DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    [1, 3], // null
    [1, 5], // zero
    [1, 7], // full
    [1, 8], // random
    [1, 9], // urandom
    [5, 0], // tty
    [5, 2], // ptmx
  ].map(([major, minor]) => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];

/** Devices of a container that are at another path on the host: the host's path by that in the container. */
export type DeviceSources = Map<string, string>;

/**
 * In a user namespace nobody may make device files, so OCI runtimes show those of the host; but they look for them at
 * the path that they have in the container. Those that are elsewhere become mounts.
 */
export function showDevices(spec: OciSpec, sources: DeviceSources): void {
  for (const { path } of spec.linux.devices) {
    const source = sources.get(path);
    if (source) spec.mounts.push({ destination: path, type: 'bind', source, options: ['bind', 'rprivate', 'noexec'] });
  }
  spec.linux.devices = spec.linux.devices.filter(({ path }) => !sources.has(path));
}

/** The device files and rules of a container: all of the host's when it is privileged, else those asked for. */
export async function resolveDevices(
  asked: readonly Device[],
  privileged: boolean,
): Promise<{ devices: OciDevice[]; rules: DeviceRule[]; sources: DeviceSources }> {
  const devices: OciDevice[] = privileged ? await hostDevices('/dev') : [];
  const sources: DeviceSources = new Map();
  const rules: DeviceRule[] = privileged ? [{ allow: true, access: 'rwm' }] : [...defaultRules];
  for (const { hostPath, containerPath, permissions } of asked) {
    const access = permissions || 'rwm';
    if (!/^[rwm]+$/.test(access)) throw invalid(`permissions "${permissions}" of device ${hostPath} are not known`);
    const found = await devicesAt(hostPath, containerPath || hostPath);
    if (containerPath && containerPath !== hostPath)
      for (const { path } of found) sources.set(path, join(hostPath, relative(containerPath, path)));
    if (found.length === 0) throw invalid(`${hostPath} is not a device, nor a directory of devices`);
    devices.push(...found.filter(({ path }) => !devices.some((one) => one.path === path)));
    for (const { type, major, minor } of found) rules.push({ allow: true, type, major, minor, access });
  }
  return { devices, rules, sources };
}

async function devicesAt(hostPath: string, containerPath: string): Promise<OciDevice[]> {
  const found = await unlessMissing(stat(hostPath));
  if (!found) throw invalid(`device ${hostPath}: no such file or directory`);
  if (!found.isDirectory()) {
    const device = describeDevice(found, containerPath);
    return device ? [device] : [];
  }
  const names = await readdir(hostPath);
  const below = await Promise.all(
    names.map((name) => devicesAt(join(hostPath, name), join(containerPath, name)).catch(() => [])),
  );
  return below.flat();
}

/** A device file as the specification says it; undefined for another kind of file. */
export function describeDevice(stats: Stats, path: string): OciDevice | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  const device = Number(stats.rdev);
  return {
    path,
    type: stats.isBlockDevice() ? 'b' : 'c',
    major: ((device >> 8) & 0xfff) | (Math.floor(device / 2 ** 32) & ~0xfff),
    minor: (device & 0xff) | ((device >> 12) & 0xfff00),
    fileMode: Number(stats.mode) & 0o777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
  };
}

const notCopied = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev', 'console', 'ptmx']);

async function hostDevices(directory: string): Promise<OciDevice[]> {
  const names = (await readdir(directory)).filter((name) => !notCopied.has(name));
  const found = await Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      const stats = await unlessMissing(lstat(path));
      if (!stats) return [];
      if (stats.isDirectory()) return hostDevices(path);
      const device = describeDevice(stats, path);
      return device ? [device] : [];
    }),
  );
  return found.flat();
}
