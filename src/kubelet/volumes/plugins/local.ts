import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../async/index.ts';
import { runProgram } from '../../../host/exec/index.ts';
import { bindMount, mountByProgram, mountsUnder, unmountByProgram } from '../../../host/mounts/index.ts';
import { pluginDirectory } from '../layout.ts';
import { applyFsGroup } from '../ownership.ts';
import type { ResolvedVolume, SetUpRequest, VolumeOnDisk, VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';
import { VolumeError } from '../volume-error.ts';

const name = 'kubernetes.io/local-volume';

/** Longest that a program may take to make or mount a file system, milliseconds. */
const programMs = 110_000;

/** Directories and devices of this node as persistent volumes. */
export function localPlugin({ root, clock }: { root: string; clock: Clock }): VolumePlugin {
  const mounts = join(pluginDirectory(root, name), 'mounts');
  const deviceOf = (volumeName: string): string => join(mounts, volumeName);
  return {
    name,
    supports: ({ persistentVolume }) => persistentVolume?.spec?.local !== undefined,
    setUp: (request) => setUp(request, clock),
    tearDown: tearDownUnknown,
    usage: 'filesystem',
    device: {
      // Only a device that is to be used as a directory is mounted for all.
      path: async (volume) =>
        volume.mode === 'Filesystem' && (await kindOf(sourceOf(volume))) === 'device'
          ? deviceOf(volume.directoryName)
          : undefined,
      pathOnDisk: async (found: VolumeOnDisk) => {
        const path = deviceOf(found.name);
        return found.mode === 'Filesystem' && (await mountsUnder(path)).includes(path) ? path : undefined;
      },
      mount: (request) => mountDevice(request, clock),
      unmount: async (path) => {
        if ((await mountsUnder(path)).includes(path)) await unmountByProgram(path, { timeoutMs: programMs, clock });
        await tearDownUnknown({ path });
      },
      list: async () => (await readdir(mounts).catch(() => [])).map(deviceOf),
    },
  };
}

const sourceOf = ({ persistentVolume }: ResolvedVolume): string => persistentVolume!.spec!.local!.path;

async function kindOf(path: string): Promise<'directory' | 'device'> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new VolumeError('FAILED', `path "${path}" does not exist`, { cause });
  });
  if (info.isDirectory()) return 'directory';
  if (info.isBlockDevice()) return 'device';
  throw new VolumeError('FAILED', `path "${path}" is neither a directory nor a block device`);
}

async function setUp(request: SetUpRequest, clock: Clock): Promise<string> {
  const { volume, path, devicePath, fsGroup, signal } = request;
  const source = sourceOf(volume);
  const kind = await kindOf(source);
  if (volume.mode === 'Block') {
    if (kind !== 'device') throw new VolumeError('FAILED', `path "${source}" is not a block device`);
    return source;
  }
  await mkdir(path, { recursive: true, mode: 0o750 });
  if (!(await mountsUnder(path)).includes(path)) {
    // First: what is mounted has its owner, and is not gone through again after a restart of ours.
    if (fsGroup && !volume.readOnly) await applyFsGroup(devicePath ?? source, fsGroup);
    bindMount(devicePath ?? source, path);
    // The options of a mounted device were given when it was mounted.
    const options = devicePath ? [] : volume.mountOptions;
    if (options.length > 0) {
      const how = { timeoutMs: programMs, clock, signal };
      await mountByProgram({ source: path, target: path, options: ['remount', 'bind', ...options], ...how });
    }
  }
  return path;
}

async function mountDevice(
  { volume, devicePath, signal }: SetUpRequest & { devicePath: string },
  clock: Clock,
): Promise<void> {
  const source = sourceOf(volume);
  const type = volume.persistentVolume!.spec!.local!.fsType || 'ext4';
  await mkdir(devicePath, { recursive: true, mode: 0o750 });
  if ((await mountsUnder(devicePath)).includes(devicePath)) return;
  if (!volume.readOnly) await formatBlank(source, type, clock, signal);
  const options = [...(volume.readOnly ? ['ro'] : []), ...volume.mountOptions];
  await mountByProgram({ source, target: devicePath, type, options, timeoutMs: programMs, clock, signal });
}

/** Makes a file system on a device that has none, and on no other. */
async function formatBlank(device: string, type: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const how = { timeoutMs: programMs, clock, signal };
  // blkid ends with 2 when it finds nothing at all on the device.
  const { status, stdout } = await runProgram(
    ['blkid', '-p', '-s', 'TYPE', '-s', 'PTTYPE', '-o', 'export', device],
    how,
  );
  if (status === 0 && stdout.length > 0) return;
  if (status !== 2)
    throw new VolumeError('FAILED', `cannot tell what is on ${device}: blkid ended with status ${status}`);
  const force = type.startsWith('ext') ? ['-F', '-m0'] : ['-f'];
  const made = await runProgram([`mkfs.${type}`, ...force, device], how);
  if (made.status !== 0) throw new VolumeError('FAILED', `mkfs.${type} ${device}: ${made.stderr.toString().trim()}`);
}
