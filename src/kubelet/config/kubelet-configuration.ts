import type { Taint } from '../../api/index.ts';
import { loadYaml, plainJson } from '../../wire/documents/index.ts';
import { ConfigurationError } from '../errors.ts';
import type { VerificationPolicy } from '../images/verification-policy.ts';
import { checkImageFields } from './check-images.ts';
import { checkManagerFields } from './check-managers.ts';
import { checkResourceFields } from './check-resources.ts';
import { checkConfiguration } from './configuration-checks.ts';
import { type ConfigurationField, configurationFields } from './configuration-fields.ts';
import { parseDuration } from './duration.ts';

/** KubeletConfiguration with every default filled in. Durations stay texts; see {@link parseDuration}. */
export interface KubeletConfiguration {
  enableServer: boolean;
  staticPodPath: string;
  staticPodURL: string;
  staticPodURLHeader?: Record<string, string[]>;
  httpCheckFrequency: string;
  podLogsDir: string;
  syncFrequency: string;
  fileCheckFrequency: string;
  address: string;
  port: number;
  readOnlyPort: number;
  tlsCertFile: string;
  tlsPrivateKeyFile: string;
  tlsCipherSuites?: string[];
  tlsMinVersion: string;
  tlsCurvePreferences?: number[];
  rotateCertificates: boolean;
  serverTLSBootstrap: boolean;
  authentication: {
    x509: { clientCAFile: string };
    webhook: { enabled: boolean; cacheTTL: string };
    anonymous: { enabled: boolean };
  };
  authorization: { mode: string; webhook: { cacheAuthorizedTTL: string; cacheUnauthorizedTTL: string } };
  registryPullQPS: number;
  imagePullCredentialsVerificationPolicy: VerificationPolicy;
  preloadedImagesVerificationAllowlist?: string[];
  registryBurst: number;
  eventRecordQPS: number;
  eventBurst: number;
  enableDebuggingHandlers: boolean;
  healthzPort: number;
  healthzBindAddress: string;
  oomScoreAdj: number;
  clusterDomain: string;
  clusterDNS: string[];
  streamingConnectionIdleTimeout: string;
  nodeStatusUpdateFrequency: string;
  nodeStatusReportFrequency: string;
  nodeLeaseDurationSeconds: number;
  imageMinimumGCAge: string;
  imageMaximumGCAge: string;
  imageGCHighThresholdPercent: number;
  imageGCLowThresholdPercent: number;
  cgroupRoot: string;
  cgroupDriver: string;
  cgroupsPerQOS: boolean;
  cpuManagerPolicy: string;
  memoryManagerPolicy: string;
  enforceNodeAllocatable: string[];
  systemReservedCgroup: string;
  kubeReservedCgroup: string;
  reservedSystemCPUs: string;
  qosReserved?: Record<string, string>;
  memorySwap: { swapBehavior: string };
  singleProcessOOMKill?: boolean;
  runtimeRequestTimeout: string;
  maxPods: number;
  podsPerCore: number;
  podCIDR: string;
  podPidsLimit: number;
  resolvConf: string;
  cpuCFSQuota: boolean;
  cpuCFSQuotaPeriod: string;
  nodeStatusMaxImages: number;
  serializeImagePulls: boolean;
  maxParallelImagePulls?: number;
  evictionHard?: Record<string, string>;
  evictionSoft?: Record<string, string>;
  evictionSoftGracePeriod?: Record<string, string>;
  evictionMinimumReclaim?: Record<string, string>;
  evictionPressureTransitionPeriod: string;
  evictionMaxPodGracePeriod: number;
  mergeDefaultEvictionSettings: boolean;
  kernelMemcgNotification: boolean;
  localStorageCapacityIsolation: boolean;
  containerLogMaxSize: string;
  containerLogMaxFiles: number;
  containerLogMonitorInterval: string;
  volumeStatsAggPeriod: string;
  configMapAndSecretChangeDetectionStrategy: string;
  systemReserved?: Record<string, string>;
  kubeReserved?: Record<string, string>;
  allowedUnsafeSysctls: string[];
  providerID: string;
  featureGates: Record<string, boolean>;
  kubeAPIQPS: number;
  kubeAPIBurst: number;
  maxOpenFiles: number;
  kubeletCgroups: string;
  failSwapOn: boolean;
  failCgroupV1: boolean;
  protectKernelDefaults: boolean;
  volumePluginDir: string;
  logging: { format?: string; verbosity?: number };
  enableSystemLogHandler: boolean;
  crashLoopBackOff: { maxContainerRestartPeriod: string };
  seccompDefault: boolean;
  userNamespaces?: { idsPerPod?: number };
  registerWithTaints: Taint[];
  registerNode: boolean;
  containerRuntimeEndpoint: string;
  imageServiceEndpoint: string;
  [field: string]: unknown;
}

/**
 * Reads a KubeletConfiguration from YAML or JSON text. Strict: unknown fields, fields given twice and wrong types are
 * refused, and so is what Deckhand would not honour.
 * @param drafts further texts, laid over the first in order (a `--config-dir`)
 * @throws ConfigurationError naming the field
 */
export function parseKubeletConfiguration(text: string, drafts: readonly string[] = []): KubeletConfiguration {
  let merged: Record<string, unknown> = {};
  for (const one of [text, ...drafts]) merged = mergeObjects(merged, readFields(one));
  return completeConfiguration(merged);
}

/** The fields of one file, checked for names and types. @throws ConfigurationError */
export function readFields(text: string): Record<string, unknown> {
  const value = plainJson(text) ?? readYaml(text);
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (value !== null && !isObject) throw new ConfigurationError('KubeletConfiguration', 'not an object');
  const { apiVersion, kind, ...rest } = (value ?? {}) as Record<string, unknown>;
  if (kind !== 'KubeletConfiguration')
    throw new ConfigurationError('kind', `must be KubeletConfiguration, not ${String(kind)}`);
  if (apiVersion !== 'kubelet.config.k8s.io/v1beta1') {
    throw new ConfigurationError('apiVersion', `must be kubelet.config.k8s.io/v1beta1, not ${String(apiVersion)}`);
  }
  checkFields(rest, '');
  return rest;
}

/** @throws ConfigurationError naming what is there twice, or saying why this is no YAML */
function readYaml(text: string): unknown {
  const document = loadYaml().parseDocument(text, { uniqueKeys: true });
  const problem = document.errors[0];
  if (!problem) return document.toJS();
  const name = problem.code === 'DUPLICATE_KEY' ? /^\s*"?([\w./-]+)/.exec(text.slice(problem.pos[0]))?.[1] : undefined;
  if (name) throw new ConfigurationError(name, 'is there twice: names must be unique');
  throw new ConfigurationError('KubeletConfiguration', problem.message.split('\n')[0]!);
}

/** Checks a configuration given as an object and fills in defaults. @throws ConfigurationError naming the field */
export function completeConfiguration(given: Record<string, unknown> = {}): KubeletConfiguration {
  checkFields(given, '');
  const complete = structuredClone(given);
  for (const [path, field] of Object.entries(configurationFields)) {
    const parts = path.split('.');
    const isPart = Object.keys(configurationFields).some((other) => other.startsWith(`${path}.`));
    const parent = parts.slice(0, -1).reduce<any>((at, part) => at[part], complete);
    const name = parts.at(-1)!;
    if (isPart) parent[name] ??= {};
    else if (parent[name] === undefined || parent[name] === null || parent[name] === '') {
      if (field.default !== undefined) parent[name] = structuredClone(field.default);
    }
  }
  checkRelations(complete as KubeletConfiguration);
  return complete as KubeletConfiguration;
}

function checkFields(given: Record<string, unknown>, prefix: string): void {
  for (const [name, value] of Object.entries(given)) {
    const path = `${prefix}${name}`;
    const field = configurationFields[path];
    if (!field) throw new ConfigurationError(path, 'unknown field');
    if (value === null || value === undefined) continue;
    checkType(path, field, value);
    const hasParts = Object.keys(configurationFields).some((other) => other.startsWith(`${path}.`));
    if (hasParts) checkFields(value as Record<string, unknown>, `${path}.`);
    else if (field.refused && !isHarmless(field, value))
      throw new ConfigurationError(path, `${JSON.stringify(value)}: ${field.refused}`);
  }
}

/** Whether a value asks for nothing that is not done anyway. */
function isHarmless(field: ConfigurationField, value: unknown): boolean {
  if (value === '' || value === (field.default ?? '')) return true;
  if (field.only?.includes(value)) return true;
  if (field.type === 'duration') return parseDuration(String(value)) === parseDuration(String(field.default ?? '0s'));
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

function checkType(path: string, { type }: ConfigurationField, value: unknown): void {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  const fits: Record<ConfigurationField['type'], () => boolean> = {
    string: () => typeof value === 'string',
    boolean: () => typeof value === 'boolean',
    integer: () => Number.isInteger(value),
    number: () => typeof value === 'number',
    duration: () => typeof value === 'string' && parseDuration(value) !== undefined,
    quantity: () => typeof value === 'string' || typeof value === 'number',
    strings: () => Array.isArray(value) && value.every((one) => typeof one === 'string'),
    map: () =>
      isObject && Object.values(value as object).every((one) => typeof one === 'string' || typeof one === 'number'),
    lists: () =>
      isObject &&
      Object.values(value as object).every(
        (one) => Array.isArray(one) && one.every((text) => typeof text === 'string'),
      ),
    object: () => isObject,
    objects: () => Array.isArray(value),
  };
  if (!fits[type]()) {
    const wanted =
      type === 'strings'
        ? 'a list of strings'
        : type === 'lists'
          ? 'a map of lists of strings'
          : type === 'objects'
            ? 'a list'
            : `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`;
    throw new ConfigurationError(path, `must be ${wanted}, not ${JSON.stringify(value)}`);
  }
}

function checkRelations(configuration: KubeletConfiguration): void {
  const fail = (field: string, message: string): never => {
    throw new ConfigurationError(field, message);
  };
  checkConfiguration(configuration);
  const { imageGCLowThresholdPercent: low, imageGCHighThresholdPercent: high } = configuration;
  checkImageFields(configuration, fail);
  checkManagerFields(configuration as never, fail);
  const url = configuration.staticPodURL;
  if (url && !/^https?:\/\//.test(url)) fail('staticPodURL', `${url} is no http or https URL`);
  if (configuration.staticPodURLHeader && !url) fail('staticPodURLHeader', 'is for staticPodURL, which is not set');
  if (low >= high) fail('imageGCLowThresholdPercent', `${low} must be less than imageGCHighThresholdPercent ${high}`);
  checkResourceFields(configuration, fail);
  const parallel = configuration.maxParallelImagePulls;
  if (parallel !== undefined && parallel < 1) fail('maxParallelImagePulls', `${parallel} is less than 1`);
  if (parallel !== undefined && parallel > 1 && configuration.serializeImagePulls) {
    fail('maxParallelImagePulls', `${parallel} cannot be used with serializeImagePulls true`);
  }
  if (!['AlwaysAllow', 'Webhook'].includes(configuration.authorization.mode))
    fail('authorization.mode', `must be AlwaysAllow or Webhook, not ${configuration.authorization.mode}`);
  const period = parseDuration(configuration.crashLoopBackOff.maxContainerRestartPeriod)!;
  if (period < 1000 || period > 300_000)
    fail('crashLoopBackOff.maxContainerRestartPeriod', 'must be between 1s and 300s');
}

/** One configuration over another: objects are merged, everything else is replaced. */
export function mergeObjects(below: Record<string, unknown>, above: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...below };
  for (const [name, value] of Object.entries(above)) {
    const old = merged[name];
    const both = [old, value].every((one) => typeof one === 'object' && one !== null && !Array.isArray(one));
    merged[name] = both ? mergeObjects(old as Record<string, unknown>, value as Record<string, unknown>) : value;
  }
  return merged;
}
