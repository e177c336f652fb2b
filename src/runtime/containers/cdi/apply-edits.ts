import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { invalid, unlessMissing } from '../../errors.ts';
import { type DeviceSources, describeDevice } from '../spec/devices.ts';
import { type HookStage, hookStages } from '../spec/hooks.ts';
import type { OciDevice, OciSpec } from '../spec/oci-spec.ts';
import type { CdiDeviceNode, CdiEdits } from './cdi-spec.ts';

/** Makes changes to a container's OCI configuration. @throws RuntimeError INVALID_ARGUMENT for what cannot be done here */
export async function applyCdiEdits(spec: OciSpec, edits: CdiEdits, sources: DeviceSources): Promise<void> {
  setEnvironment(spec, edits.env ?? []);
  for (const node of edits.deviceNodes ?? []) {
    await addDevice(spec, node);
    if (node.hostPath && node.hostPath !== node.path) sources.set(node.path, node.hostPath);
  }
  for (const { hostPath, containerPath, options, type } of edits.mounts ?? []) {
    if (!existsSync(hostPath)) throw invalid(`CDI mount of ${hostPath}: no such file or directory`);
    spec.mounts = spec.mounts.filter(({ destination }) => destination !== containerPath);
    spec.mounts.push({
      destination: containerPath,
      type: type ?? 'bind',
      source: hostPath,
      options: options ?? ['rbind', 'rprivate', 'ro'],
    });
  }
  for (const { hookName, path, args, env, timeout } of edits.hooks ?? []) {
    if (!(hookStages as readonly string[]).includes(hookName)) throw invalid(`CDI hook "${hookName}" is not known`);
    const stage = hookName as HookStage;
    spec.hooks = { ...spec.hooks, [stage]: [...(spec.hooks?.[stage] ?? []), { path, args, env, timeout }] };
  }
  for (const gid of edits.additionalGids ?? [])
    if (gid !== 0 && !spec.process.user.additionalGids.includes(gid)) spec.process.user.additionalGids.push(gid);
  if (edits.intelRdt) {
    if (!existsSync('/sys/fs/resctrl/schemata'))
      throw invalid('a CDI device asks for Intel RDT, but no resctrl file system is mounted on /sys/fs/resctrl');
    spec.linux.intelRdt = edits.intelRdt;
  }
  if ((edits.netDevices ?? []).length > 0)
    throw invalid('CDI devices with network links (netDevices) are not supported');
}

function setEnvironment(spec: OciSpec, entries: readonly string[]): void {
  for (const entry of entries) {
    const name = entry.slice(0, entry.indexOf('=') + 1);
    spec.process.env = [...spec.process.env.filter((one) => !one.startsWith(name)), entry];
  }
}

async function addDevice(spec: OciSpec, node: CdiDeviceNode): Promise<void> {
  const hostPath = node.hostPath ?? node.path;
  const isWhole = node.type !== undefined && (node.type === 'p' || node.major !== undefined);
  const stats = isWhole ? undefined : await unlessMissing(stat(hostPath));
  const found = stats && describeDevice(stats, node.path);
  if (!isWhole && !found) throw invalid(`CDI device node ${hostPath} is no device on this machine`);
  const type = (node.type === 'u' ? 'c' : node.type) ?? found!.type;
  if (type !== 'c' && type !== 'b' && type !== 'p')
    throw invalid(`CDI device node ${node.path} is of unknown type ${type}`);
  const device: OciDevice = {
    path: node.path,
    type,
    major: node.major ?? found?.major ?? 0,
    minor: node.minor ?? found?.minor ?? 0,
    fileMode: node.fileMode ?? found?.fileMode ?? 0o666,
    // A device that says nothing belongs to the container's user, who is to use it.
    uid: node.uid ?? spec.process.user.uid,
    gid: node.gid ?? spec.process.user.gid,
  };
  spec.linux.devices = [...spec.linux.devices.filter(({ path }) => path !== node.path), device];
  if (type === 'p') return;
  const { major, minor } = device;
  spec.linux.resources.devices.push({ allow: true, type, major, minor, access: node.permissions ?? 'rwm' });
}
