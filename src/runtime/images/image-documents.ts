import { ImageError } from './image-error.ts';
import { chooseManifest, type ImagePlatform, type Platform, platformFit } from './image-platform.ts';

/** Media types of manifests and indexes, OCI and Docker. */
export const mediaTypes = {
  index: ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'],
  manifest: ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.distribution.manifest.v2+json'],
} as const;

/** What configurations of images are; artifacts that are kept in registries too have others. */
const configurationTypes: readonly string[] = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
  // Tools that do not say.
  'application/octet-stream',
  'application/json',
  '',
];

/** More layers than can be mounted at once (the kernel takes one page of mount options). */
const mostLayers = 170;
/** More values than any configuration or manifest has. */
const mostItems = 20_000;

/** A content descriptor (OCI image specification, descriptor.md). */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  platform?: ImagePlatform;
  annotations?: Record<string, string>;
  /** Other places to fetch it from. */
  urls?: string[];
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
  variant?: string;
  created?: string;
  author?: string;
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
}

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
  const { digest, size, mediaType, platform, urls } = (value ?? {}) as Partial<Record<keyof Descriptor, unknown>>;
  return (
    typeof digest === 'string' &&
    digestPattern.test(digest) &&
    typeof size === 'number' &&
    Number.isSafeInteger(size) &&
    size >= 0 &&
    typeof mediaType === 'string' &&
    (isMissing(platform) || isPlatform(platform)) &&
    (isMissing(urls) || isTexts(urls))
  );
}

function isPlatform(value: unknown): boolean {
  if (typeof value !== 'object' || Array.isArray(value)) return false;
  const fields = value as Record<string, unknown>;
  return (
    ['architecture', 'os', 'variant'].every((key) => isMissing(fields[key]) || typeof fields[key] === 'string') &&
    (isMissing(fields['os.features']) || isTexts(fields['os.features']))
  );
}

const isMissing = (value: unknown) => value === undefined || value === null;
const isTexts = (value: unknown) =>
  Array.isArray(value) && value.length <= mostItems && value.every((one) => typeof one === 'string');

/**
 * Reads a manifest, or the choice among several: the descriptor of the one for a machine. @throws ImageError, saying so
 * for what is an artifact and no image, and for manifests of schema 1
 */
export function readManifest(
  body: Buffer,
  mediaType: string,
  machine: Platform,
): { manifest: Manifest } | { chosen: Descriptor } {
  const document = parseDocument(body, 'manifest');
  const type = typeof document['mediaType'] === 'string' ? document['mediaType'] : mediaType;
  if ((mediaTypes.index as readonly string[]).includes(type) || Array.isArray(document['manifests'])) {
    const { manifests } = document as { manifests?: unknown };
    if (!Array.isArray(manifests) || manifests.length > mostItems || !manifests.every(isDescriptor))
      throw new ImageError('DATA_LOSS', 'image index has no usable list of manifests');
    const chosen = chooseManifest(manifests, machine);
    if (!chosen) throw noMatch(machine);
    return { chosen };
  }
  if (document['schemaVersion'] === 1 || /distribution\.manifest\.v1\+/.test(type))
    throw new ImageError(
      'INVALID_ARGUMENT',
      'image has a schema 1 manifest, which is no longer supported: push it again with a current client',
    );
  const { config, layers, artifactType } = document as unknown as Manifest & { artifactType?: unknown };
  if (!isDescriptor(config) || !Array.isArray(layers) || !layers.every(isDescriptor))
    throw new ImageError('DATA_LOSS', 'manifest has no usable config and layers');
  if (!configurationTypes.includes(config.mediaType))
    throw new ImageError(
      'INVALID_ARGUMENT',
      `not a container image but an artifact of type ${JSON.stringify(artifactType || config.mediaType)}`,
    );
  if (layers.length > mostLayers)
    throw new ImageError(
      'INVALID_ARGUMENT',
      `image has ${layers.length} layers, more than the ${mostLayers} that can be mounted`,
    );
  return { manifest: { config, layers } };
}

function noMatch({ architecture, variant }: Platform): ImageError {
  const shown = variant && architecture === 'arm' ? `${architecture}/${variant}` : architecture;
  return new ImageError('NOT_FOUND', `no match for platform in manifest: linux/${shown}: not found`);
}

/** Whether what containers are made from has the types that it should have; anything may be missing or null. */
function isContainerConfiguration(value: unknown): boolean {
  const isObject = (one: unknown) => isMissing(one) || (typeof one === 'object' && !Array.isArray(one));
  if (isMissing(value) || !isObject(value)) return isMissing(value);
  const fields = value as Record<string, unknown>;
  return (
    ['User', 'WorkingDir', 'StopSignal'].every((key) => isMissing(fields[key]) || typeof fields[key] === 'string') &&
    ['Env', 'Entrypoint', 'Cmd'].every((key) => isMissing(fields[key]) || isTexts(fields[key])) &&
    ['Labels', 'Volumes', 'ExposedPorts'].every(
      (key) => isObject(fields[key]) && Object.keys(fields[key] ?? {}).length <= mostItems,
    )
  );
}

/**
 * Reads an image configuration and keeps what the runtime knows of it, however large or deep the rest is.
 * @throws ImageError when it does not fit the manifest
 */
export function readConfiguration(body: Buffer, layerCount: number): ImageConfiguration {
  const document = parseDocument(body, 'image configuration') as unknown as ImageConfiguration;
  const diffIds: unknown = document.rootfs?.diff_ids;
  if (!Array.isArray(diffIds) || !diffIds.every((one) => typeof one === 'string' && digestPattern.test(one)))
    throw new ImageError('DATA_LOSS', 'image configuration has no usable rootfs.diff_ids');
  if (!isContainerConfiguration(document.config))
    throw new ImageError('DATA_LOSS', 'image configuration has values of a wrong type in its config');
  if (diffIds.length !== layerCount)
    throw new ImageError(
      'DATA_LOSS',
      `mismatched image rootfs and manifest layers: ${diffIds.length} and ${layerCount}`,
    );
  const texts = (['architecture', 'os', 'variant', 'created', 'author'] as const).flatMap((key) => {
    const value: unknown = document[key];
    return typeof value === 'string' ? [[key, value]] : [];
  });
  const config = document.config ? { config: knownFields(document.config) } : {};
  return { ...Object.fromEntries(texts), ...config, rootfs: { type: 'layers', diff_ids: diffIds } };
}

/** @throws ImageError when an image is for another machine than this. One that does not say may be for any. */
export function checkPlatform({ os, architecture, variant }: ImageConfiguration, machine: Platform): void {
  const platform = { os: os || 'linux', architecture: architecture || machine.architecture };
  if (platformFit({ ...platform, ...(variant ? { variant } : {}) }, machine) === 0) throw noMatch(machine);
}

type Config = NonNullable<ImageConfiguration['config']>;

function knownFields(config: Config): Config {
  const known: Config = {};
  for (const key of ['User', 'WorkingDir', 'StopSignal'] as const)
    if (typeof config[key] === 'string') known[key] = config[key];
  for (const key of ['Env', 'Entrypoint', 'Cmd'] as const) if (config[key]) known[key] = config[key];
  if (config.Labels)
    known.Labels = Object.fromEntries(Object.entries(config.Labels).map(([key, value]) => [key, String(value)]));
  for (const key of ['Volumes', 'ExposedPorts'] as const)
    if (config[key]) known[key] = Object.fromEntries(Object.keys(config[key]).map((name) => [name, {}]));
  return known;
}
