import { createHash } from 'node:crypto';
import type { Container, EphemeralContainer, Pod, PodSpec } from '../../api/index.ts';
import { decodeStructure } from '../../api/schema/index.ts';
import { loadYaml, plainJson } from '../../wire/documents/index.ts';
import { ConfigurationError } from '../errors.ts';
import { defaultPullPolicy } from '../images/image-name.ts';
import { configAnnotations } from '../pods/names.ts';

/** Where a static pod comes from. */
export interface StaticPodOptions {
  nodeName: string;
  /** The manifest's file, or its URL. */
  file: string;
  /** As in the annotation `kubernetes.io/config.source`. */
  source: 'file' | 'http';
}

/**
 * Reads the pods of a manifest: YAML or JSON, one or more documents, a Pod each or a PodList.
 * @throws ConfigurationError naming the field, when a document is no pod that can run here
 */
export function parseStaticPods(text: string, options: StaticPodOptions): Pod[] {
  const pods: Pod[] = [];
  for (const value of readDocuments(text, options.file)) {
    if (value === null || value === undefined) continue;
    if (typeof value !== 'object' || Array.isArray(value)) throw new ConfigurationError('manifest', 'is not an object');
    const items = value['kind'] === 'PodList' || value['kind'] === 'List' ? (value['items'] as unknown[]) : [value];
    for (const item of items ?? []) pods.push(toStaticPod(item as Record<string, unknown>, options));
  }
  return pods;
}

/** @throws ConfigurationError saying what is no YAML */
function readDocuments(text: string, file: string): (Record<string, unknown> | null | undefined)[] {
  const json = plainJson(text);
  if (json !== undefined) return [json as Record<string, unknown>];
  return loadYaml()
    .parseAllDocuments(text, { uniqueKeys: true })
    .flatMap((document) => {
      if (!('errors' in document)) return [];
      const problem = document.errors[0];
      if (problem) throw new ConfigurationError(file, problem.message.split('\n')[0]!);
      return [document.toJS() as Record<string, unknown> | null];
    });
}

function toStaticPod(manifest: Record<string, unknown>, options: StaticPodOptions): Pod {
  if (manifest['kind'] !== 'Pod') throw new ConfigurationError('kind', `must be Pod, not ${String(manifest['kind'])}`);
  if (manifest['apiVersion'] !== 'v1')
    throw new ConfigurationError('apiVersion', `must be v1, not ${String(manifest['apiVersion'])}`);
  const hash = manifestHash(manifest, options);
  checkFields(manifest);
  const pod = manifest as unknown as Pod;
  pod.metadata ??= {} as Pod['metadata'];
  const { metadata } = pod;
  if (!metadata.name) throw new ConfigurationError('metadata.name', 'is required');
  if (
    !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(metadata.name) ||
    metadata.name.length > 253 - options.nodeName.length - 1
  ) {
    throw new ConfigurationError(
      'metadata.name',
      `"${metadata.name}" is not a lower-case name of letters, digits, '-' and '.'`,
    );
  }
  checkSpec(pod.spec);
  checkReferences(pod.spec!);
  const nodeName = options.nodeName.toLowerCase();
  metadata.uid ||= hash;
  metadata.name = `${metadata.name}-${nodeName}`;
  metadata.namespace ||= 'default';
  metadata.annotations = {
    ...metadata.annotations,
    [configAnnotations.hash]: hash,
    [configAnnotations.source]: options.source,
  };
  metadata.resourceVersion = '';
  delete metadata.deletionTimestamp;
  pod.status = { phase: 'Pending' };
  pod.spec = withDefaults(pod.spec!, options.nodeName);
  return pod;
}

/** A new manifest, another node or another file make another pod. */
function manifestHash(manifest: object, { nodeName, file, source }: StaticPodOptions): string {
  const hash = createHash('md5').update(JSON.stringify(sorted(manifest)));
  return hash
    .update(`host:${nodeName}`)
    .update(`${source === 'file' ? 'file' : 'url'}:${file}`)
    .digest('hex');
}

function checkFields(manifest: Record<string, unknown>): void {
  let unknown: string[];
  try {
    ({ unknown } = decodeStructure(manifest, 'core.v1.Pod'));
  } catch (error) {
    throw new ConfigurationError('Pod', (error as Error).message, { cause: error });
  }
  if (unknown[0] !== undefined) throw new ConfigurationError(unknown[0], 'unknown field');
}

function checkSpec(spec: PodSpec | undefined): void {
  if (!spec?.containers?.length) throw new ConfigurationError('spec.containers', 'at least one container is required');
  const names = new Set<string>();
  const lists = { initContainers: spec.initContainers ?? [], containers: spec.containers };
  for (const [list, containers] of Object.entries(lists)) {
    for (const [index, { name, image }] of containers.entries()) {
      const at = `spec.${list}[${index}]`;
      if (!name || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
        throw new ConfigurationError(`${at}.name`, `"${name ?? ''}" is not a valid name`);
      if (names.has(name)) throw new ConfigurationError(`${at}.name`, `"${name}" is there twice`);
      if (!image) throw new ConfigurationError(`${at}.image`, 'is required');
      names.add(name);
    }
  }
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name));
  for (const { name, volumeMounts = [] } of [...lists.initContainers, ...lists.containers]) {
    for (const mount of volumeMounts) {
      if (!volumes.has(mount.name))
        throw new ConfigurationError(`spec.containers[${name}].volumeMounts`, `volume "${mount.name}" not found`);
    }
  }
}

/** A static pod may have to start before there is an API: it must not refer to the API's objects. */
function checkReferences(spec: PodSpec): void {
  const refuse = (field: string): never => {
    throw new ConfigurationError(field, 'a static pod may not refer to objects of the API');
  };
  if (spec.serviceAccountName || spec.serviceAccount) refuse('spec.serviceAccountName');
  if (spec.resourceClaims?.length) refuse('spec.resourceClaims');
  if (spec.ephemeralContainers?.length) refuse('spec.ephemeralContainers');
  for (const volume of spec.volumes ?? []) {
    if (volume.configMap || volume.secret || volume.persistentVolumeClaim || volume.ephemeral)
      refuse(`spec.volumes[${volume.name}]`);
    for (const source of volume.projected?.sources ?? []) {
      if (source.configMap || source.secret || source.serviceAccountToken || source.clusterTrustBundle)
        refuse(`spec.volumes[${volume.name}]`);
    }
  }
  for (const { name, env = [], envFrom = [] } of [...(spec.initContainers ?? []), ...spec.containers]) {
    if (envFrom.length > 0) refuse(`spec.containers[${name}].envFrom`);
    if (env.some(({ valueFrom }) => valueFrom?.configMapKeyRef || valueFrom?.secretKeyRef))
      refuse(`spec.containers[${name}].env`);
  }
}

/** The defaults that the API server would have filled in. */
function withDefaults(spec: PodSpec, nodeName: string): PodSpec {
  const tolerations = spec.tolerations ?? [];
  return {
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    enableServiceLinks: true,
    securityContext: {},
    ...spec,
    // Static pods stay whatever taints the node gets.
    tolerations: tolerations.some((one) => one.operator === 'Exists' && !one.key && one.effect === 'NoExecute')
      ? tolerations
      : [...tolerations, { operator: 'Exists', effect: 'NoExecute' }],
    nodeName,
    ...(spec.initContainers ? { initContainers: spec.initContainers.map(withContainerDefaults) } : {}),
    containers: spec.containers.map((one) => withContainerDefaults(one, spec.hostNetwork ?? false)),
    ...(spec.volumes
      ? { volumes: spec.volumes.map((volume) => (hasSource(volume) ? volume : { ...volume, emptyDir: {} })) }
      : {}),
  };
}

function hasSource(volume: object): boolean {
  return Object.keys(volume).length > 1;
}

function withContainerDefaults<T extends Container | EphemeralContainer>(
  container: T,
  hostNetwork: boolean | number,
): T {
  const { resources } = container;
  const requests = { ...resources?.limits, ...resources?.requests };
  return {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: defaultPullPolicy(container.image!),
    ...container,
    resources: resources ? { ...resources, ...(Object.keys(requests).length > 0 ? { requests } : {}) } : {},
    ...(container.ports
      ? {
          ports: container.ports.map((port) => ({
            protocol: 'TCP',
            ...port,
            ...(hostNetwork === true && !port.hostPort ? { hostPort: port.containerPort } : {}),
          })),
        }
      : {}),
  };
}

/** The same value with keys in order, so that equal manifests have equal hashes. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted((value as Record<string, unknown>)[key])]),
  );
}
