import type {
  ClusterTrustBundleProjection,
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  Node,
  Pod,
  Secret,
  Volume,
  VolumeProjection,
} from '../../api/index.ts';
import type { Payload } from './atomic-writer.ts';
import { resourceFieldValue, volumeFieldValue } from './downward-fields.ts';
import { VolumeError } from './volume-error.ts';

/** What a payload is made from. Asked for only what a volume names. */
export interface PayloadSources {
  configMap(pod: Pod, namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(pod: Pod, namespace: string, name: string): Promise<Secret | undefined>;
  token(pod: Pod, request: { audience?: string; expirationSeconds?: number }): Promise<string>;
  /** The certificates (PEM) of ClusterTrustBundles, each once. */
  trustBundle(source: ClusterTrustBundleProjection): Promise<string>;
  node(): Node | undefined;
  /** Nobody tells when a ConfigMap or a Secret changes: it has to be looked at now and then. */
  changesUnheard: boolean;
  /** The pod needs nothing any more. */
  forget(podUid: string): void;
  stop(): void;
}

/** Default mode of files in configMap, secret, downwardAPI and projected volumes. */
const defaultMode = 0o644;

/** The files of a configMap, secret, downwardAPI or projected volume. @throws VolumeError */
export async function makePayload(pod: Pod, volume: Volume, sources: PayloadSources): Promise<Payload> {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) return fromConfigMap(pod, configMap, configMap.defaultMode, sources);
  if (secret) return fromSecret(pod, { ...secret, name: secret.secretName }, secret.defaultMode, sources);
  if (downwardAPI) return fromDownward(pod, downwardAPI.items, downwardAPI.defaultMode, sources);
  const payload: Payload = new Map();
  for (const source of projected?.sources ?? []) {
    const part = await fromProjection(pod, source, projected?.defaultMode, sources);
    for (const [path, file] of part) payload.set(path, file);
  }
  return payload;
}

async function fromProjection(
  pod: Pod,
  source: VolumeProjection,
  mode: number | undefined,
  sources: PayloadSources,
): Promise<Payload> {
  if (source.configMap) return fromConfigMap(pod, source.configMap, mode, sources);
  if (source.secret) return fromSecret(pod, source.secret, mode, sources);
  if (source.downwardAPI) return fromDownward(pod, source.downwardAPI.items, mode, sources);
  if (source.serviceAccountToken) {
    const { path, ...request } = source.serviceAccountToken;
    const token = await sources.token(pod, request);
    return new Map([[path, { data: Buffer.from(token), ...tokenOwner(pod, mode) }]]);
  }
  if (source.clusterTrustBundle) {
    const data = Buffer.from(await sources.trustBundle(source.clusterTrustBundle));
    return new Map([[source.clusterTrustBundle.path, { data, mode: mode ?? defaultMode }]]);
  }
  throw new VolumeError('INVALID', `projected volume source ${Object.keys(source).join(', ')} is not supported`);
}

/**
 * Who reads a token: it is for the pod's own user alone when all its containers run as the same, and for the pod's
 * group where there is one (whose permission is added when the file is written).
 */
function tokenOwner(pod: Pod, mode: number | undefined): { mode: number; uid?: number } {
  const { securityContext, containers, initContainers = [] } = pod.spec;
  const users = new Set(
    [...containers, ...initContainers].map((one) => one.securityContext?.runAsUser ?? securityContext?.runAsUser),
  );
  const [uid] = users;
  const single = users.size === 1 && uid !== undefined;
  if (single) return { mode: 0o600, uid };
  return { mode: securityContext?.fsGroup === undefined ? (mode ?? defaultMode) : 0o600 };
}

async function fromConfigMap(
  pod: Pod,
  source: { name?: string; items?: KeyToPath[]; optional?: boolean },
  mode: number | undefined,
  sources: PayloadSources,
): Promise<Payload> {
  const name = source.name ?? '';
  const object = await sources.configMap(pod, pod.metadata.namespace ?? '', name);
  if (!object) {
    if (source.optional) return new Map();
    throw new VolumeError('NOT_FOUND', `configmap "${name}" not found`);
  }
  const data = new Map<string, Buffer>([
    ...Object.entries(object.data ?? {}).map(([key, value]): [string, Buffer] => [key, Buffer.from(value)]),
    ...Object.entries(object.binaryData ?? {}).map(([key, value]): [string, Buffer] => [
      key,
      Buffer.from(value, 'base64'),
    ]),
  ]);
  return pick(data, source.items, source.optional, mode, 'configmap references non-existent config key');
}

async function fromSecret(
  pod: Pod,
  source: { name?: string; items?: KeyToPath[]; optional?: boolean },
  mode: number | undefined,
  sources: PayloadSources,
): Promise<Payload> {
  const name = source.name ?? '';
  const object = await sources.secret(pod, pod.metadata.namespace ?? '', name);
  if (!object) {
    if (source.optional) return new Map();
    throw new VolumeError('NOT_FOUND', `secret "${name}" not found`);
  }
  const data = new Map(
    Object.entries(object.data ?? {}).map(([key, value]): [string, Buffer] => [key, Buffer.from(value, 'base64')]),
  );
  return pick(data, source.items, source.optional, mode, 'references non-existent secret key');
}

function pick(
  data: Map<string, Buffer>,
  items: KeyToPath[] | undefined,
  optional: boolean | undefined,
  mode: number | undefined,
  missing: string,
): Payload {
  if (!items || items.length === 0)
    return new Map([...data].map(([key, content]) => [key, { data: content, mode: mode ?? defaultMode }]));
  const payload: Payload = new Map();
  for (const { key, path, mode: own } of items) {
    const content = data.get(key);
    if (content === undefined) {
      if (optional) continue;
      throw new VolumeError('NOT_FOUND', `${missing}: ${key}`);
    }
    payload.set(path, { data: content, mode: own ?? mode ?? defaultMode });
  }
  return payload;
}

function fromDownward(
  pod: Pod,
  items: DownwardAPIVolumeFile[] | undefined,
  mode: number | undefined,
  sources: PayloadSources,
): Payload {
  const payload: Payload = new Map();
  for (const { path, fieldRef, resourceFieldRef, mode: own } of items ?? []) {
    const text = fieldRef
      ? volumeFieldValue(pod, fieldRef)
      : resourceFieldRef
        ? resourceFieldValue(pod, resourceFieldRef, sources.node())
        : '';
    payload.set(path, { data: Buffer.from(text), mode: own ?? mode ?? defaultMode });
  }
  return payload;
}
