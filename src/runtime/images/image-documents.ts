import { arch } from 'node:os';
import { ImageError } from './image-error.ts';
import { mediaTypes } from './registry-client.ts';

/** A content descriptor (OCI image specification, descriptor.md). */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: { architecture: string; os: string; variant?: string };
  annotations?: Record<string, string>;
}

/** What a manifest says: where the configuration and the layers are. */
export interface Manifest {
  config: Descriptor;
  layers: Descriptor[];
}

/** The parts of an image configuration (config.md) that the runtime uses. */
export interface ImageConfiguration {
  architecture?: string;
  os?: string;
  created?: string;
  config?: {
    User?: string;
    Env?: string[];
    Entrypoint?: string[] | null;
    Cmd?: string[] | null;
    WorkingDir?: string;
    StopSignal?: string;
    Labels?: Record<string, string> | null;
    Volumes?: Record<string, object> | null;
    ExposedPorts?: Record<string, object> | null;
  };
  rootfs: { type: string; diff_ids: string[] };
  history?: { empty_layer?: boolean; created_by?: string }[];
}

/** This machine's architecture, as images name it. */
export const architecture =
  ({ x64: 'amd64', arm64: 'arm64', ia32: '386', arm: 'arm' } as Record<string, string>)[arch()] ?? arch();

function parseDocument(body: Buffer, what: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body.toString());
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new ImageError('DATA_LOSS', `${what} is not a JSON object`);
}

/** A digest goes into paths and addresses: only what has the form of one passes. */
const digestPattern = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,128}$/;

/** Whether a value has what a descriptor must have. */
export function isDescriptor(value: unknown): value is Descriptor {
  const { digest, size, mediaType } = (value ?? {}) as Partial<Descriptor>;
  return (
    typeof digest === 'string' &&
    digestPattern.test(digest) &&
    typeof size === 'number' &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    typeof mediaType === 'string'
  );
}

/** Reads a manifest, or the choice among several: the descriptor of the one for this machine. @throws ImageError */
export function readManifest(body: Buffer, mediaType: string): { manifest: Manifest } | { chosen: Descriptor } {
  const document = parseDocument(body, 'manifest');
  const type = (document['mediaType'] as string | undefined) ?? mediaType;
  if ((mediaTypes.index as readonly string[]).includes(type) || Array.isArray(document['manifests'])) {
    const { manifests } = document as { manifests?: unknown };
    if (!Array.isArray(manifests) || !manifests.every(isDescriptor))
      throw new ImageError('DATA_LOSS', 'image index has no usable list of manifests');
    const list: Descriptor[] = manifests;
    const fits = list.filter(({ platform }) => platform?.os === 'linux' && platform.architecture === architecture);
    const chosen =
      fits.find(({ platform }) => !platform?.variant) ??
      fits[0] ??
      (list.length === 1 && !list[0]!.platform ? list[0] : undefined);
    if (!chosen)
      throw new ImageError('NOT_FOUND', `no match for platform in manifest: linux/${architecture}: not found`);
    return { chosen };
  }
  const { config, layers } = document as unknown as Manifest;
  if (document['schemaVersion'] === 1)
    throw new ImageError(
      'INVALID_ARGUMENT',
      'image has a schema 1 manifest, which is no longer supported: push it again with a current client',
    );
  if (!isDescriptor(config) || !Array.isArray(layers) || !layers.every(isDescriptor))
    throw new ImageError('DATA_LOSS', 'manifest has no usable config and layers');
  return { manifest: { config, layers } };
}

/** Whether what containers are made from has the types that it should have; anything may be missing or null. */
function isContainerConfiguration(value: unknown): boolean {
  const missing = (one: unknown) => one === undefined || one === null;
  const isObject = (one: unknown) => missing(one) || (typeof one === 'object' && !Array.isArray(one));
  if (missing(value) || !isObject(value)) return missing(value);
  const fields = value as Record<string, unknown>;
  return (
    ['User', 'WorkingDir', 'StopSignal'].every((key) => missing(fields[key]) || typeof fields[key] === 'string') &&
    ['Env', 'Entrypoint', 'Cmd'].every(
      (key) =>
        missing(fields[key]) ||
        (Array.isArray(fields[key]) && fields[key].every((one: unknown) => typeof one === 'string')),
    ) &&
    ['Labels', 'Volumes', 'ExposedPorts'].every((key) => isObject(fields[key]))
  );
}

/** Reads an image configuration. @throws ImageError when it does not fit the manifest */
export function readConfiguration(body: Buffer, layerCount: number): ImageConfiguration {
  const configuration = parseDocument(body, 'image configuration') as unknown as ImageConfiguration;
  const diffIds = configuration.rootfs?.diff_ids;
  if (!Array.isArray(diffIds) || !diffIds.every((one) => typeof one === 'string' && digestPattern.test(one)))
    throw new ImageError('DATA_LOSS', 'image configuration has no usable rootfs.diff_ids');
  if (!isContainerConfiguration(configuration.config))
    throw new ImageError('DATA_LOSS', 'image configuration has values of a wrong type in its config');
  if (diffIds.length !== layerCount)
    throw new ImageError(
      'DATA_LOSS',
      `mismatched image rootfs and manifest layers: ${diffIds.length} and ${layerCount}`,
    );
  return configuration;
}
