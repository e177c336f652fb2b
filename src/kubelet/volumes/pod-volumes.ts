import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Node, type Pod, quantityValue, type Volume } from '../../api/index.ts';
import { type Clock, KeyedQueue, SerialRunner, type Timer } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { mountsUnder, mountTmpfs, unmount } from '../../host/mounts/index.ts';
import type { Logger } from '../../log/index.ts';
import type { PodVolumes } from '../pods/ports.ts';
import { writeAtomically } from './atomic-writer.ts';
import { checkHostPath } from './host-path.ts';
import { podDirectory, subPathTarget, volumePath } from './layout.ts';
import { ObjectCache } from './object-cache.ts';
import { applyFsGroup } from './ownership.ts';
import { hasPayload, makePayload, type PayloadSources } from './payload.ts';
import { ServiceAccountTokens } from './service-account-tokens.ts';
import { bindSubPath } from './sub-path.ts';
import { VolumeError } from './volume-error.ts';

/** What volumes need. */
export interface PodVolumesOptions {
  /** The kubelet's root directory. */
  root: string;
  /** Undefined: static pods only, without objects of the API. */
  client: ApiClient | undefined;
  node: () => Node | undefined;
  log: Logger;
  clock: Clock;
}

/** Directory names of the plugins, as upstream's kubelet uses them. */
const pluginNames = {
  configMap: 'configmap',
  secret: 'secret',
  downwardAPI: 'downward-api',
  projected: 'projected',
  emptyDir: 'empty-dir',
} as const;

/** Makes pods' volumes: emptyDir, hostPath, configMap, secret, downwardAPI and projected. */
export function createPodVolumes(options: PodVolumesOptions): PodVolumes {
  return new LocalPodVolumes(options);
}

class LocalPodVolumes implements PodVolumes {
  readonly #options: PodVolumesOptions;
  readonly #objects: ObjectCache;
  readonly #tokens: ServiceAccountTokens;
  /** Pods with volumes mounted, as last seen. */
  readonly #pods = new Map<string, Pod>();
  readonly #timers = new Map<string, Timer>();
  readonly #serial = new SerialRunner();
  readonly #refresh: KeyedQueue;

  constructor(options: PodVolumesOptions) {
    this.#options = options;
    const { log, clock, client } = options;
    this.#refresh = new KeyedQueue((podUid) => this.#rewrite(podUid), {
      clock,
      retryInitialMs: 500,
      retryMaximumMs: 60_000,
      onError: (podUid, error) => log.warn('volumes not refreshed', { podUid, error }),
    });
    this.#objects = new ObjectCache(client, { log, clock, onChange: (podUids) => this.#onObjectChange(podUids) });
    this.#tokens = new ServiceAccountTokens(client, clock);
  }

  async mount(pod: Pod): Promise<Map<string, string>> {
    const podUid = pod.metadata.uid;
    return this.#serial.run(podUid, async () => {
      const paths = new Map<string, string>();
      await Promise.all(
        (pod.spec.volumes ?? []).map(async (volume) => {
          if (volume.image) return;
          paths.set(volume.name, await this.#setUp(pod, volume));
        }),
      );
      this.#pods.set(podUid, pod);
      this.#scheduleTokens(podUid);
      return paths;
    });
  }

  async subPath(
    pod: Pod,
    request: { container: string; mountIndex: number; volume: string; volumePath: string; subPath: string },
  ): Promise<string> {
    const target = subPathTarget(
      this.#options.root,
      pod.metadata.uid,
      request.volume,
      request.container,
      request.mountIndex,
    );
    return bindSubPath(request.volumePath, request.subPath, target);
  }

  async unmount(podUid: string): Promise<void> {
    this.#forget(podUid);
    await this.#serial.run(podUid, () => removePodDirectory(this.#options.root, podUid));
  }

  update(pod: Pod): void {
    const { uid } = pod.metadata;
    if (!this.#pods.has(uid)) return;
    this.#pods.set(uid, pod);
    if ((pod.spec.volumes ?? []).some(hasPayload)) this.#refresh.add(uid);
  }

  async collect(known: ReadonlySet<string>): Promise<void> {
    for (const podUid of await readdir(join(this.#options.root, 'pods')).catch(() => [])) {
      if (!known.has(podUid)) await this.unmount(podUid);
    }
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#objects.stop();
    await this.#refresh.stop();
  }

  #forget(podUid: string): void {
    this.#pods.delete(podUid);
    this.#timers.get(podUid)?.cancel();
    this.#timers.delete(podUid);
    this.#objects.release(podUid);
    this.#tokens.release(podUid);
  }

  async #setUp(pod: Pod, volume: Volume): Promise<string> {
    try {
      if (volume.hostPath) return await checkHostPath(volume.hostPath);
      if (volume.emptyDir) return await this.#emptyDir(pod, volume);
      if (hasPayload(volume)) return await this.#write(pod, volume);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new VolumeError(
        cause instanceof VolumeError ? cause.code : 'FAILED',
        `MountVolume.SetUp failed for volume "${volume.name}" : ${message}`,
        { cause },
      );
    }
    const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'none';
    throw new VolumeError(
      'INVALID',
      `MountVolume.SetUp failed for volume "${volume.name}" : no volume plugin matched: ${kind} volumes are not supported by this kubelet`,
    );
  }

  #path(pod: Pod, volume: Volume): string {
    const kind = Object.keys(pluginNames).find((key) => volume[key as keyof Volume]) as keyof typeof pluginNames;
    return volumePath(this.#options.root, pod.metadata.uid, pluginNames[kind], volume.name);
  }

  async #emptyDir(pod: Pod, volume: Volume): Promise<string> {
    const { medium = '', sizeLimit } = volume.emptyDir!;
    const path = this.#path(pod, volume);
    if (medium !== '' && medium !== 'Memory')
      throw new VolumeError('INVALID', `emptyDir medium ${JSON.stringify(medium)} is not supported`);
    await mkdir(path, { recursive: true, mode: 0o777 });
    const mounted = medium === 'Memory' && (await mountsUnder(path)).includes(path);
    if (medium === 'Memory' && !mounted)
      mountTmpfs(path, { mode: 0o777, ...(sizeLimit ? { sizeBytes: quantityValue(sizeLimit) } : {}) });
    if (!mounted) await chmod(path, 0o777);
    await applyFsGroup(path, pod);
    return path;
  }

  async #write(pod: Pod, volume: Volume): Promise<string> {
    const path = this.#path(pod, volume);
    const payload = await makePayload(pod, volume, this.#sources(pod));
    await mkdir(path, { recursive: true, mode: 0o755 });
    // Secrets and tokens never reach a disk.
    if ((volume.secret || volume.projected) && !(await mountsUnder(path)).includes(path))
      mountTmpfs(path, { mode: 0o755 });
    await chmod(path, 0o755);
    const gid = pod.spec.securityContext?.fsGroup;
    if (gid !== undefined) for (const file of payload.values()) file.mode |= 0o040;
    await writeAtomically(path, payload, gid);
    return path;
  }

  #sources(pod: Pod): PayloadSources {
    const { uid } = pod.metadata;
    return {
      configMap: (namespace, name) => this.#objects.configMap(uid, namespace, name),
      secret: (namespace, name) => this.#objects.secret(uid, namespace, name),
      token: (one, request) => this.#tokens.get(one, request),
      node: this.#options.node,
    };
  }

  #onObjectChange(podUids: string[]): void {
    for (const podUid of podUids) if (this.#pods.has(podUid)) this.#refresh.add(podUid);
  }

  /** Writes the files of a mounted pod's volumes anew where they differ. */
  async #rewrite(podUid: string): Promise<void> {
    await this.#serial.run(podUid, async () => {
      const pod = this.#pods.get(podUid);
      for (const volume of pod?.spec.volumes ?? []) if (hasPayload(volume)) await this.#write(pod!, volume);
    });
    this.#scheduleTokens(podUid);
  }

  #scheduleTokens(podUid: string): void {
    this.#timers.get(podUid)?.cancel();
    const at = this.#tokens.refreshAt(podUid);
    if (at === undefined || !this.#pods.has(podUid)) return;
    this.#timers.set(
      podUid,
      this.#options.clock.after(Math.max(1_000, at - this.#options.clock.now()), () => this.#refresh.add(podUid)),
    );
  }
}

/** Unmounts everything below a pod's directory and removes it; what is still mounted is never deleted through. */
async function removePodDirectory(root: string, podUid: string): Promise<void> {
  const directory = podDirectory(root, podUid);
  for (const path of await mountsUnder(directory)) unmount(path);
  const left = await mountsUnder(directory);
  if (left.length > 0) throw new VolumeError('FAILED', `cannot unmount ${left.join(', ')}`);
  await rm(directory, { recursive: true, force: true });
}
