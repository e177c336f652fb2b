import { chmod, mkdir } from 'node:fs/promises';
import type { Volume } from '../../../api/index.ts';
import { mountTmpfs } from '../../../host/mounts/index.ts';
import { writeAtomically } from '../atomic-writer.ts';
import { isMounted } from '../mounted.ts';
import { makePayload, type PayloadSources } from '../payload.ts';
import type { SetUpRequest, VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';

/** Directory names, as upstream's kubelet uses them. */
const names = {
  configMap: 'configmap',
  secret: 'secret',
  downwardAPI: 'downward-api',
  projected: 'projected',
} as const satisfies Partial<Record<keyof Volume, string>>;

/** Volumes whose files come from the API: configMap, secret, downwardAPI and projected. */
export function payloadPlugins(sources: PayloadSources): VolumePlugin[] {
  return Object.entries(names).map(([kind, name]) => ({
    name: `kubernetes.io/${name}`,
    supports: ({ volume }) => volume[kind as keyof typeof names] !== undefined,
    // Secrets and tokens never reach a disk.
    setUp: (request) => setUp(request, sources, { inMemory: kind !== 'configMap' }),
    tearDown: tearDownUnknown,
    follows: () => true,
    resyncs: ({ volume }) => (sources.changesUnheard && kind !== 'downwardAPI') || hasTrustBundle(volume),
    // One of them speaks for all.
    ...(kind === 'projected' ? { forget: sources.forget, stop: sources.stop } : {}),
    usage: kind === 'configMap' ? 'tree' : 'filesystem',
  }));
}

function hasTrustBundle({ projected }: Volume): boolean {
  return projected?.sources?.some(({ clusterTrustBundle }) => clusterTrustBundle) ?? false;
}

async function setUp(
  { pod, volume, path, fsGroup }: SetUpRequest,
  sources: PayloadSources,
  { inMemory }: { inMemory: boolean },
): Promise<string> {
  const payload = await makePayload(pod, volume.volume, sources);
  await mkdir(path, { recursive: true, mode: 0o755 });
  if (inMemory && !(await isMounted(path))) mountTmpfs(path, { mode: 0o755 });
  await chmod(path, 0o755);
  if (fsGroup) for (const file of payload.values()) file.mode |= 0o040;
  await writeAtomically(path, payload, fsGroup?.gid);
  return path;
}
