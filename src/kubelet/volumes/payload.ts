import type {
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
  node(): Node | undefined;
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
    // A token is for the pod's own user; with another group or user it must be readable to it.
    return new Map([[path, { data: Buffer.from(token), mode: tokenMode(pod, mode) }]]);
  }
  throw new VolumeError('INVALID', `projected volume source ${Object.keys(source).join(', ')} is not supported`);
}

/** 0600 when every container runs as root and the volume does not say otherwise; else readable for its group or all. */
function tokenMode(pod: Pod, mode: number | undefined): number {
  if (mode !== undefined && mode !== defaultMode) return mode;
  const { securityContext } = pod.spec;
  if (securityContext?.fsGroup !== undefined) return 0o640;
  const users = [
    securityContext?.runAsUser,
    ...pod.spec.containers.map((container) => container.securityContext?.runAsUser),
  ];
  return users.some((user) => user !== undefined && user !== 0) ? 0o644 : (mode ?? defaultMode);
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
