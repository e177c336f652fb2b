import { type Pod, resources } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, createInformer, type Informer } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { configAnnotations, fullName, isMirrorPod } from '../pods/names.ts';
import type { PodManager } from '../pods/pod-manager.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import { FileSource } from './file-source.ts';
import { MirrorPods } from './mirror-pods.ts';

/** What the sources are given. */
export interface PodSourcesOptions {
  settings: KubeletSettings;
  client: ApiClient | undefined;
  manager: PodManager;
  status: StatusWriter;
  nodeUid(): string | undefined;
  clock: Clock;
  log: Logger;
}

/** Where pods come from: the API and the directory of static manifests. Tells the pod manager of them. */
export class PodSources {
  readonly #options: PodSourcesOptions;
  readonly #statics = new Map<string, Pod>();
  readonly #informer: Informer<Pod> | undefined;
  readonly #mirrors: MirrorPods | undefined;
  #files: FileSource | undefined;
  #filesReady = false;

  constructor(options: PodSourcesOptions) {
    this.#options = options;
    const { client, settings, clock, log } = options;
    if (!client) return;
    this.#informer = createInformer<Pod>(client, resources.pods, {
      fieldSelector: `spec.nodeName=${settings.nodeName}`,
      onChange: (key, now, before) => this.#fromApi(key, now, before),
      clock,
      log,
    });
    this.#mirrors = new MirrorPods({
      client,
      clock,
      log,
      nodeName: settings.nodeName,
      nodeUid: options.nodeUid,
      staticPod: (name) => this.#staticByName(name),
      mirror: (name) => this.#mirrorByName(name),
    });
  }

  /** Whether every source has told all its pods: only then a pod that none has told is an orphan. */
  get isReady(): boolean {
    return this.#filesReady && (this.#informer?.isSynced ?? true);
  }

  /** Begins to read. Static pods do not wait for the API. */
  async start(signal: AbortSignal): Promise<void> {
    const { settings, clock, log } = this.#options;
    this.#informer?.start(signal);
    void this.#informer?.synced.then(() => this.#checkMirrors());
    const path = settings.configuration.staticPodPath;
    if (path) {
      this.#files = new FileSource({
        path,
        nodeName: settings.nodeName,
        rescanMs: durationMs(settings.configuration.fileCheckFrequency),
        clock,
        log,
        onPods: (pods) => this.#fromFiles(pods),
      });
      await this.#files.start();
    }
    this.#filesReady = true;
  }

  /** Reads no more. */
  async stop(): Promise<void> {
    this.#files?.stop();
    this.#informer?.stop();
    await this.#mirrors?.stop();
  }

  /** A pod has been forgotten: if it was static, its picture goes too. */
  podForgotten(name: string): void {
    this.#mirrors?.check(name);
  }

  #fromApi(key: string, now: Pod | undefined, before: Pod | undefined): void {
    const { manager, status } = this.#options;
    const replaced = before && now && before.metadata.uid !== now.metadata.uid;
    if (before && (!now || replaced)) {
      if (isMirrorPod(before)) {
        const owner = this.#staticByName(key);
        if (owner) manager.setMirror(owner.metadata.uid, undefined);
        status.forget(before.metadata.uid);
        this.#mirrors?.check(key);
      } else manager.remove(before.metadata.uid);
    }
    if (!now) return;
    if (isMirrorPod(now)) {
      this.#mirrorSeen(key, now);
      return;
    }
    manager.upsert(now);
    status.observe(now);
  }

  #mirrorSeen(key: string, mirror: Pod): void {
    const { manager, status } = this.#options;
    const owner = this.#staticByName(key);
    const shows = mirror.metadata.annotations?.[configAnnotations.mirror];
    if (owner && shows === owner.metadata.annotations![configAnnotations.hash] && !mirror.metadata.deletionTimestamp) {
      manager.setMirror(owner.metadata.uid, mirror);
      status.observe(mirror);
    } else this.#mirrors?.check(key);
  }

  #fromFiles(pods: Pod[]): void {
    const { manager } = this.#options;
    const now = new Map(pods.map((pod) => [pod.metadata.uid, pod]));
    for (const [uid, pod] of this.#statics) {
      if (now.has(uid)) continue;
      this.#statics.delete(uid);
      manager.remove(uid);
      this.#mirrors?.check(fullName(pod));
    }
    for (const [uid, pod] of now) {
      if (this.#statics.has(uid)) continue;
      this.#statics.set(uid, pod);
      manager.upsert(pod, this.#matchingMirror(pod));
      if (this.#informer?.isSynced) this.#mirrors?.check(fullName(pod));
    }
  }

  #matchingMirror(pod: Pod): Pod | undefined {
    const mirror = this.#mirrorByName(fullName(pod));
    const hash = pod.metadata.annotations![configAnnotations.hash];
    return mirror?.metadata.annotations?.[configAnnotations.mirror] === hash ? mirror : undefined;
  }

  #staticByName(name: string): Pod | undefined {
    for (const pod of this.#statics.values()) if (fullName(pod) === name) return pod;
    return undefined;
  }

  #mirrorByName(name: string): Pod | undefined {
    const pod = this.#informer?.get(name);
    return pod && isMirrorPod(pod) ? pod : undefined;
  }

  /** Once the API's pods are known: pictures that are missing, and those that show nothing any more. */
  #checkMirrors(): void {
    for (const pod of this.#statics.values()) this.#mirrors?.check(fullName(pod));
    for (const pod of this.#informer?.list() ?? []) if (isMirrorPod(pod)) this.#mirrors?.check(fullName(pod));
  }
}
