import { chmod, lstat, mkdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Node, type Pod, quantityValue } from '../../../api/index.ts';
import { mountHugePages, mountTmpfs } from '../../../host/mounts/index.ts';
import { isMounted } from '../mounted.ts';
import { applyFsGroup } from '../ownership.ts';
import type { FsGroup, SetUpRequest, VolumePlugin } from '../plugin.ts';
import { tearDownUnknown } from '../remove-pod-directory.ts';
import { removeTree } from '../remove-tree.ts';
import { VolumeError } from '../volume-error.ts';

/** Directories that live and die with their pod: on disk, in memory, or in huge pages. */
export function emptyDirPlugin({ node }: { node: () => Node | undefined }): VolumePlugin {
  return {
    name: 'kubernetes.io/empty-dir',
    supports: ({ volume }) => volume.emptyDir !== undefined,
    setUp: (request) => setUp(request, node()),
    tearDown: tearDownUnknown,
    usage: 'tree',
  };
}

async function setUp({ pod, volume, path, fsGroup }: SetUpRequest, node: Node | undefined): Promise<string> {
  const { medium = '', sizeLimit } = volume.volume.emptyDir!;
  if (medium === '') await makeDirectory(path, fsGroup);
  else if (medium === 'Memory') {
    await mkdir(path, { recursive: true, mode: 0o777 });
    const sizeBytes = memorySize(pod, sizeLimit === undefined ? undefined : quantityValue(sizeLimit), node);
    const owner = fsGroup ? { gid: fsGroup.gid, mode: 0o2777 } : { mode: 0o777 };
    // Owner and mode come with the mount: there is no moment without them.
    if (!(await isMounted(path))) mountTmpfs(path, { ...owner, noSwap: true, ...(sizeBytes ? { sizeBytes } : {}) });
  } else if (medium === 'HugePages' || medium.startsWith('HugePages-')) await makeHugePages(pod, medium, path, fsGroup);
  else throw new VolumeError('INVALID', `unknown storage medium ${JSON.stringify(medium)}`);
  return path;
}

/**
 * The directory appears with its mode and owner, or not at all: once it is there it belongs to the pod, and a restart of
 * ours leaves alone what the pod has made of it.
 */
async function makeDirectory(path: string, fsGroup: FsGroup | undefined): Promise<void> {
  if (await lstat(path).catch(() => undefined)) return;
  const draft = join(dirname(path), `.${basename(path)}.new`);
  await removeTree(draft);
  await mkdir(draft, { recursive: true });
  await chmod(draft, 0o777);
  if (fsGroup) await applyFsGroup(draft, fsGroup);
  await rename(draft, path);
}

/** What a volume in memory may hold: no more than the pod (or the node) may have of memory. Bytes. */
function memorySize({ spec }: Pod, sizeLimit: number | undefined, node: Node | undefined): number | undefined {
  const limitOf = (resources?: { limits?: Record<string, string | number> }) => resources?.limits?.['memory'];
  const containers = [
    ...spec.containers,
    ...(spec.initContainers ?? []).filter((one) => one.restartPolicy === 'Always'),
  ];
  const limits = containers.map(({ resources }) => limitOf(resources));
  const together = limits.reduce<number>((sum, one) => sum + quantityValue(one ?? 0), 0);
  const initial = (spec.initContainers ?? []).map(({ resources }) => quantityValue(limitOf(resources) ?? 0));
  const ofPod = limitOf(spec.resources);
  const allocatable = node?.status?.allocatable?.['memory'];
  const sizes = [
    ofPod === undefined ? undefined : quantityValue(ofPod),
    ofPod === undefined && limits.every((one) => one !== undefined) ? Math.max(together, ...initial) : undefined,
    allocatable === undefined ? undefined : quantityValue(allocatable),
    sizeLimit || undefined,
  ].filter((size) => size !== undefined);
  return sizes.length > 0 ? Math.min(...sizes) : undefined;
}

async function makeHugePages(pod: Pod, medium: string, path: string, fsGroup: FsGroup | undefined): Promise<void> {
  const pageSize = medium === 'HugePages' ? onlyPageSize(pod) : medium.slice('HugePages-'.length);
  await mkdir(path, { recursive: true, mode: 0o777 });
  if (await isMounted(path)) return;
  mountHugePages(path, {
    pageSizeBytes: quantityValue(pageSize),
    mode: fsGroup ? 0o2777 : 0o777,
    ...(fsGroup ? { gid: fsGroup.gid } : {}),
  });
}

/** The page size that the pod asks for, when it asks for exactly one. */
function onlyPageSize({ spec }: Pod): string {
  const names = [...spec.containers, ...(spec.initContainers ?? [])].flatMap(({ resources }) => [
    ...Object.keys(resources?.limits ?? {}),
    ...Object.keys(resources?.requests ?? {}),
  ]);
  const sizes = new Set(names.flatMap((name) => /^hugepages-(.+)$/.exec(name)?.[1] ?? []));
  if (sizes.size === 1) return [...sizes][0]!;
  const found = sizes.size === 0 ? 'none' : [...sizes].join(', ');
  throw new VolumeError(
    'INVALID',
    `medium HugePages needs exactly one size of huge pages in the pod's resources (found ${found}): name it, as in HugePages-2Mi`,
  );
}
