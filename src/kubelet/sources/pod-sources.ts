import { type Pod, resources } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, createInformer, type Informer } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { configAnnotations, fullName, isMirrorPod } from '../pods/names.ts';
import type { PodManager } from '../pods/pod-manager.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { StatusWriter } from '../status/status-writer.ts';
import { FileSource } from './file-source.ts';
import { MirrorPods } from './mirror-pods.ts';
import { UrlSource } from './url-source.ts';

/** What the sources are given. */
export interface PodSourcesOptions {
  settings: KubeletSettings;
  client: ApiClient | undefined;
  manager: PodManager;
  status: StatusWriter;
  nodeUid(): string | undefined;
  /** Tells whether pods run already that a kubelet before us had started. */
  cache: Pick<RuntimeCache, 'podUids'>;
  clock: Clock;
  log: Logger;
}

/** How long the pictures of static pods are waited for before these are taken over, milliseconds. */
const picturePatienceMs = 2000;

/** Where pods come from: the API, the directory and the URL of static manifests. Tells the pod manager of them. */
export class PodSources {
  readonly #options: PodSourcesOptions;
  /** The static pods that are to run, by uid; and as each source told them last. */
  readonly #statics = new Map<string, Pod>();
  readonly #told = new Map<'file' | 'http', Pod[]>();
  readonly #informer: Informer<Pod> | undefined;
  readonly #mirrors: MirrorPods | undefined;
  #files: FileSource | undefined;
  #urls: UrlSource | undefined;
  #started = false;
  #stopped = false;

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
      isComplete: () => this.#allTold,
      isEnding: (name) => this.#isEnding(name),
    });
  }

  /** Whether every source has told all its pods: only then a pod that none has told is an orphan. */
  get isReady(): boolean {
    return this.#allTold && (this.#informer?.isSynced ?? true);
  }

  /** Whether every source of static pods has told them. */
  get #allTold(): boolean {
    const files = !this.#files || this.#told.has('file');
    return this.#started && files && (!this.#urls || this.#told.has('http'));
  }

  /** Begins to read. Static pods do not wait for the API. */
  async start(signal: AbortSignal): Promise<void> {
    const { settings, clock, log } = this.#options;
    this.#informer?.start(signal);
    void this.#informer?.synced.then(() => this.#checkMirrors());
    const { staticPodPath, staticPodURL, staticPodURLHeader, fileCheckFrequency, httpCheckFrequency } =
      settings.configuration;
    const { nodeName } = settings;
    // What was known of static pods that run is in their pictures; an API that is away is not waited for.
    if (this.#informer && (staticPodPath || staticPodURL) && this.#options.cache.podUids().length > 0)
      await Promise.race([this.#informer.synced, clock.sleep(picturePatienceMs, signal).catch(() => {})]);
    if (staticPodPath) {
      this.#files = new FileSource({
        ...{ path: staticPodPath, nodeName, rescanMs: durationMs(fileCheckFrequency), clock, log },
        onPods: (pods) => this.#fromStatic('file', pods),
      });
    }
    if (staticPodURL) {
      this.#urls = new UrlSource({
        ...{ url: staticPodURL, headers: staticPodURLHeader ?? {}, nodeName, clock, log },
        intervalMs: durationMs(httpCheckFrequency),
        onPods: (pods) => this.#fromStatic('http', pods),
      });
    }
    await this.#files?.start();
    // A server that does not answer holds up nothing else.
    void this.#urls?.start();
    this.#started = true;
    this.#checkMirrors();
  }

  /** Reads no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#files?.stop();
    this.#urls?.stop();
    this.#informer?.stop();
    await this.#mirrors?.stop();
  }

  /** A pod has been forgotten: if it was static, its picture goes too, and whoever waited for its end starts. */
  podForgotten(name: string): void {
    this.#startStatics();
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
      } else {
        manager.remove(before.metadata.uid);
        // It may have had the name of a picture.
        if (this.#staticByName(key)) this.#mirrors?.check(key);
      }
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

  #fromStatic(source: 'file' | 'http', pods: Pod[]): void {
    const { manager } = this.#options;
    const now = new Map<string, Pod>();
    const told = (one: 'file' | 'http') => (one === source ? pods : (this.#told.get(one) ?? []));
    for (const pod of [...told('file'), ...told('http')]) {
      if (!now.has(pod.metadata.uid)) now.set(pod.metadata.uid, pod);
    }
    for (const [uid, pod] of this.#statics) {
      const next = now.get(uid);
      // A manifest may name its uid: then the content tells whether it is another pod.
      if (next && hashOf(next) === hashOf(pod)) continue;
      this.#statics.delete(uid);
      manager.remove(uid);
      this.#mirrors?.check(fullName(pod));
    }
    const isFirst = !this.#told.has(source);
    this.#told.set(source, pods);
    for (const [uid, pod] of now) if (!this.#statics.has(uid)) this.#statics.set(uid, pod);
    this.#startStatics();
    if (isFirst) this.#checkMirrors();
  }

  /** Gives the manager what it does not have; a pod whose uid is still being ended under another content waits. */
  #startStatics(): void {
    const { manager, clock } = this.#options;
    if (this.#stopped) return;
    for (const [uid, pod] of this.#statics) {
      if (manager.record(uid)) continue;
      pod.metadata.annotations![configAnnotations.seen] ??= new Date(clock.now()).toISOString();
      manager.upsert(pod, this.#matchingMirror(pod));
      if (this.#informer?.isSynced) this.#mirrors?.check(fullName(pod));
    }
  }

  #isEnding(name: string): boolean {
    return this.#options.manager.records().some(({ pod, gone }) => gone && fullName(pod) === name);
  }

  #matchingMirror(pod: Pod): Pod | undefined {
    const mirror = this.#mirrorByName(fullName(pod));
    const hash = hashOf(pod);
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
    if (!this.#allTold || !this.#informer?.isSynced) return;
    for (const pod of this.#statics.values()) this.#mirrors?.check(fullName(pod));
    for (const pod of this.#informer?.list() ?? []) if (isMirrorPod(pod)) this.#mirrors?.check(fullName(pod));
  }
}

function hashOf(pod: Pod): string | undefined {
  return pod.metadata.annotations?.[configAnnotations.hash];
}
