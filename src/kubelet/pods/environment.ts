import {
  type ConfigMap,
  type Container,
  type EnvFromSource,
  type EnvVar,
  type Pod,
  parseQuantity,
  type ResourceFieldSelector,
  type Secret,
  type Service,
} from '../../api/index.ts';
import { PodError } from '../errors.ts';
import { envFileValue, readVolumeFile } from './env-file.ts';
import { expandVariables } from './expand.ts';
import { serviceEnvironment } from './service-environment.ts';

/** Where the values of a container's variables come from. */
export interface EnvironmentSources {
  /** @throws an error that is fit for the pod's status when it cannot be read; undefined when it does not exist */
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  /** Every Service; a static pod does not wait for the list, which may come from a server that it is itself. */
  services(pod: Pod): Promise<Service[]>;
  /** Resources that pods may have on this node, for limits that a container does not set. */
  allocatable(): Record<string, string>;
  podIps: string[];
  hostIps: string[];
  nodeName: string;
  /** Where the pod's volumes are on the host, for variables that come from files. */
  volumes: ReadonlyMap<string, string>;
}

/** The variables of a container, in order. @throws PodError CreateContainerConfigError */
export async function makeEnvironment(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  const services = serviceEnvironment(
    await sources.services(pod),
    pod.metadata.namespace!,
    pod.spec!.enableServiceLinks ?? true,
  );
  for (const from of container.envFrom ?? []) await addFrom(result, pod, from, sources);
  for (const variable of container.env ?? []) {
    const value = await variableValue(
      variable,
      pod,
      container,
      sources,
      (name) => result.get(name) ?? services.get(name),
    );
    if (value === undefined) continue;
    result.delete(variable.name);
    result.set(variable.name, value);
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return result;
}

async function addFrom(
  result: Map<string, string>,
  pod: Pod,
  from: EnvFromSource,
  sources: EnvironmentSources,
): Promise<void> {
  const namespace = pod.metadata.namespace!;
  const add = (entries: Iterable<[string, string]>): void => {
    for (const [key, value] of entries) if (!key.includes('=')) result.set(`${from.prefix ?? ''}${key}`, value);
  };
  if (from.configMapRef) {
    const { name, optional } = from.configMapRef;
    const map = await sources.configMap(namespace, name!);
    if (map) add(Object.entries(map.data ?? {}));
    else if (!optional) throw configError(`configmap "${name}" not found`);
  }
  if (from.secretRef) {
    const { name, optional } = from.secretRef;
    const secret = await sources.secret(namespace, name!);
    if (secret) add(Object.entries(secret.data ?? {}).map(([key, value]) => [key, decode(value)]));
    else if (!optional) throw configError(`secret "${name}" not found`);
  }
}

async function variableValue(
  variable: EnvVar,
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
  lookup: (name: string) => string | undefined,
): Promise<string | undefined> {
  const from = variable.valueFrom;
  if (!from) return expandVariables(variable.value ?? '', lookup);
  const namespace = pod.metadata.namespace!;
  if (from.fieldRef) return fieldValue(pod, from.fieldRef.fieldPath, sources);
  if (from.resourceFieldRef) return resourceValue(pod, container, from.resourceFieldRef, sources.allocatable());
  if (from.configMapKeyRef) {
    const { name, key, optional } = from.configMapKeyRef;
    const map = await sources.configMap(namespace, name!);
    if (!map && !optional) throw configError(`configmap "${name}" not found`);
    const value = map?.data?.[key];
    if (value === undefined && map && !optional) {
      throw configError(`couldn't find key ${key} in ConfigMap ${namespace}/${name}`);
    }
    return value;
  }
  if (from.secretKeyRef) {
    const { name, key, optional } = from.secretKeyRef;
    const secret = await sources.secret(namespace, name!);
    if (!secret && !optional) throw configError(`secret "${name}" not found`);
    const value = secret?.data?.[key];
    if (value === undefined && secret && !optional) {
      throw configError(`couldn't find key ${key} in Secret ${namespace}/${name}`);
    }
    return value === undefined ? undefined : decode(value);
  }
  if (from.fileKeyRef) return fileValue(from.fileKeyRef, sources);
  return undefined;
}

/** A variable from a file in a volume. */
async function fileValue(
  { volumeName, path, key, optional }: { volumeName: string; path: string; key: string; optional?: boolean },
  sources: EnvironmentSources,
): Promise<string | undefined> {
  const volume = sources.volumes.get(volumeName);
  if (!volume) throw configError(`cannot find the volume "${volumeName}" referenced by FileKeyRef`);
  let value: string | undefined;
  try {
    value = envFileValue(await readVolumeFile(volume, path), key);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (isMissing && optional) return undefined;
    const why = isMissing ? 'it does not exist' : (error as Error).message;
    throw configError(`couldn't parse env file ${path} of volume ${volumeName}: ${why}`);
  }
  if (value === undefined && !optional)
    throw configError(`environment variable key "${key}" not found in file "${path}" of volume ${volumeName}`);
  return value;
}

/** The value of a downward API field. @throws PodError for a field that there is not */
export function fieldValue(
  pod: Pod,
  path: string,
  { podIps, hostIps, nodeName }: Pick<EnvironmentSources, 'podIps' | 'hostIps' | 'nodeName'>,
): string {
  const subscript = /^metadata\.(labels|annotations)\['(.*)'\]$/.exec(path);
  if (subscript) return pod.metadata[subscript[1] as 'labels' | 'annotations']?.[subscript[2]!] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name!;
    case 'metadata.namespace':
      return pod.metadata.namespace!;
    case 'metadata.uid':
      return pod.metadata.uid!;
    case 'spec.nodeName':
      return pod.spec!.nodeName ?? nodeName;
    case 'spec.serviceAccountName':
      return pod.spec!.serviceAccountName ?? '';
    case 'spec.host':
      return nodeName;
    case 'status.hostIP':
      return hostIps[0] ?? '';
    case 'status.hostIPs':
      return hostIps.join(',');
    case 'status.podIP':
      return podIps[0] ?? '';
    case 'status.podIPs':
      return podIps.join(',');
    default:
      throw configError(`unsupported fieldPath: ${path}`);
  }
}

/** The value of a container's resource, in units of the divisor, rounded up. */
export function resourceValue(
  pod: Pod,
  own: Container,
  { resource, containerName, divisor }: ResourceFieldSelector,
  allocatable: Record<string, string>,
): string {
  const spec = pod.spec!;
  const container = containerName
    ? [...spec.containers, ...(spec.initContainers ?? [])].find(({ name }) => name === containerName)
    : own;
  if (!container) throw configError(`container ${containerName} not found`);
  const [kind, ...rest] = resource.split('.');
  const name = rest.join('.');
  if ((kind !== 'limits' && kind !== 'requests') || !/^(cpu|memory|ephemeral-storage|hugepages-.+)$/.test(name)) {
    throw configError(`unsupported container resource : ${resource}`);
  }
  const resources = container.resources ?? {};
  const set = kind === 'limits' ? (resources.limits?.[name] ?? allocatable[name]) : resources.requests?.[name];
  const unit = divisor && String(divisor) !== '0' ? parseQuantity(divisor) : 1_000_000_000n;
  const value = parseQuantity(set ?? '0');
  return String((value + unit - 1n) / unit);
}

function decode(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}

function configError(message: string): PodError {
  return new PodError('CreateContainerConfigError', message);
}
