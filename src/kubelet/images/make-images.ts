import type { Clock } from '../../async/index.ts';
import type { ApiClient, EventRecorder } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { durationMs } from '../config/duration.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { ContainerCollector } from '../garbage/container-collector.ts';
import type { PodStanding } from '../garbage/container-plan.ts';
import { ImageCollector } from '../garbage/image-collector.ts';
import type { KubeletMetrics } from '../metrics/kubelet-metrics.ts';
import type { ObjectReader } from '../pods/kit.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { PodRecord } from '../pods/pod-record.ts';
import type { NodeReporter } from '../pods/ports.ts';
import type { RuntimeCache } from '../pods/runtime-cache.ts';
import type { RuntimeClient } from '../pods/runtime-client.ts';
import { readCredentialProviders } from './credential-provider-config.ts';
import { CredentialProviders } from './credential-providers.ts';
import { ImagePuller } from './image-puller.ts';
import { imagesInUse } from './images-in-use.ts';
import { PullAuthorization } from './pull-authorization.ts';
import { PullRecords } from './pull-records.ts';
import { verificationRule } from './verification-policy.ts';

/** What the parts that deal with images are made from. */
export interface ImageGround {
  settings: KubeletSettings;
  api: ApiClient | undefined;
  client: RuntimeClient;
  metrics: KubeletMetrics;
  clock: Clock;
  log: Logger;
}

/** What they ask of the rest of the kubelet. */
export interface ImageLinks {
  events: PodEvents;
  recorder: EventRecorder | undefined;
  objects: Pick<ObjectReader, 'secret'>;
  cache: RuntimeCache;
  node: Pick<NodeReporter, 'changed'>;
  manager(): { records(): readonly PodRecord[]; record(podUid: string): PodRecord | undefined };
  sources(): { isReady: boolean };
}

/** Pulls, and the two collectors of garbage. */
export interface ImageParts {
  puller: ImagePuller;
  images: ImageCollector;
  containers: ContainerCollector;
  /** Reads the credential providers, takes over what was being pulled, and begins to collect. @throws ConfigurationError */
  start(): Promise<void>;
  stop(): void;
}

/** Makes the parts of the kubelet that bring images and take them away. */
export function makeImages(ground: ImageGround, links: ImageLinks): ImageParts {
  const { settings, client, clock, log } = ground;
  const { cache, manager } = links;
  const { configuration, rootDirectory, podLogsDirectory, containerLogsDirectory } = settings;
  const pullRecords = new PullRecords(rootDirectory, clock, log);
  const rule = verificationRule(
    configuration.imagePullCredentialsVerificationPolicy,
    configuration.preloadedImagesVerificationAllowlist,
  );
  const authorization = new PullAuthorization(pullRecords, rule, log);
  const providers = new CredentialProviders({ client: ground.api, metrics: ground.metrics, clock, log });
  const nodeEvent = (reason: string, message: string): void => {
    const { nodeName } = settings;
    links.recorder?.event(
      { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName },
      'Warning',
      reason,
      message,
    );
  };
  const images = new ImageCollector({
    ...{ client, nodeEvent, clock, log },
    policy: {
      highPercent: configuration.imageGCHighThresholdPercent,
      lowPercent: configuration.imageGCLowThresholdPercent,
      minimumAgeMs: durationMs(configuration.imageMinimumGCAge),
      maximumAgeMs: durationMs(configuration.imageMaximumGCAge),
    },
    inUse: () => imagesInUse(cache, manager().records()),
    onCollected: (present, beganAt) => pullRecords.prune(present, beganAt),
    onRemoved: (reason) => ground.metrics.count('kubelet_image_garbage_collected_total', { reason }),
  });
  const containers = new ContainerCollector({
    ...{ client, cache, podLogsDirectory, containerLogsDirectory, nodeEvent, clock, log },
    standing: (podUid) => standingOf(manager().record(podUid)),
    allKnown: () => links.sources().isReady,
  });
  const puller = makePuller(ground, links, { authorization, providers, images });
  return {
    ...{ puller, images, containers },
    start: async () => {
      const files = settings.imageCredentialProviders;
      if (files)
        providers.use((await readCredentialProviders(files.config, files.binDirectory)).providers, files.binDirectory);
      const list = async () => (await client.images.listImages({}, { timeoutMs: 120_000 })).images;
      await authorization.adopt(list).catch((error: unknown) => {
        log.warn('cannot take over pulls of an earlier life', { error });
      });
      images.start();
      containers.start();
    },
    stop: () => {
      images.stop();
      containers.stop();
    },
  };
}

function makePuller(
  { settings, client, metrics, clock }: ImageGround,
  { events, objects, node }: ImageLinks,
  parts: { authorization: PullAuthorization; providers: CredentialProviders; images: ImageCollector },
): ImagePuller {
  const { serializeImagePulls, maxParallelImagePulls, registryPullQPS, registryBurst } = settings.configuration;
  const maximumParallel = serializeImagePulls ? 1 : maxParallelImagePulls;
  const { authorization, providers, images } = parts;
  return new ImagePuller({
    ...{ client, metrics, clock, events, authorization, providers, secret: objects.secret },
    ...(maximumParallel ? { maximumParallel } : {}),
    pullsPerSecond: registryPullQPS,
    burst: registryBurst,
    rootDirectory: settings.rootDirectory,
    onPulled: () => {
      node.changed();
      images.imagePulled();
    },
  });
}

function standingOf(record: PodRecord | undefined): PodStanding {
  if (!record) return 'gone';
  return record.phase === 'terminated' ? 'ended' : 'live';
}
