import { mkdir } from 'node:fs/promises';
import type { NFSVolumeSource } from '../../../api/index.ts';
import type { Clock } from '../../../async/index.ts';
import { mountByHelper, mountsUnder } from '../../../host/mounts/index.ts';
import type { ResolvedVolume, SetUpRequest, VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';

/** Longest that a mount may take, milliseconds: a server that is away keeps the helper waiting. */
const mountMs = 110_000;

/** Directories of an NFS server, in a pod or as a persistent volume. */
export function nfsPlugin({ clock }: { clock: Clock }): VolumePlugin {
  return {
    name: 'kubernetes.io/nfs',
    supports: (volume) => sourceOf(volume) !== undefined,
    setUp: (request) => setUp(request, clock),
    // What is unmounted goes at once even when the server does not answer.
    tearDown: tearDownUnknown,
    usage: 'filesystem',
  };
}

function sourceOf({ volume, persistentVolume }: ResolvedVolume): NFSVolumeSource | undefined {
  return volume.nfs ?? persistentVolume?.spec?.nfs;
}

async function setUp({ volume, path, signal }: SetUpRequest, clock: Clock): Promise<string> {
  // Not looked at more than needed: a server that is away answers no stat.
  if ((await mountsUnder(path)).includes(path)) return path;
  await mkdir(path, { recursive: true, mode: 0o750 });
  const { server, path: exported } = sourceOf(volume)!;
  const host = server.includes(':') && !server.startsWith('[') ? `[${server}]` : server;
  await mountByHelper({
    source: `${host}:${exported}`,
    target: path,
    type: 'nfs',
    options: [...(volume.readOnly ? ['ro'] : []), ...volume.mountOptions],
    ...{ timeoutMs: mountMs, clock, signal },
  });
  return path;
}
