import { checkLogging } from '../../log/index.ts';
import { sysctlPatternProblem } from '../admission/sysctls.ts';
import { ConfigurationError } from '../errors.ts';
import { checkUserNamespaces } from '../security/id-range.ts';
import { parseDuration } from './duration.ts';
import { checkFeatureGates, isFeatureOn } from './feature-gates.ts';
import { checkTlsChoices } from './tls-choices.ts';

type Fields = Record<string, any>;

const anyPort: readonly [number, number] = [0, 65_535];
const notNegative: readonly [number, number] = [0, Number.MAX_SAFE_INTEGER];

/** Least and greatest value of fields that are numbers. */
const ranges: Readonly<Record<string, readonly [number, number]>> = {
  port: [1, 65_535],
  healthzPort: anyPort,
  readOnlyPort: anyPort,
  eventRecordQPS: notNegative,
  eventBurst: notNegative,
  imageGCHighThresholdPercent: [0, 100],
  imageGCLowThresholdPercent: [0, 100],
  iptablesDropBit: [0, 31],
  iptablesMasqueradeBit: [0, 31],
  kubeAPIQPS: notNegative,
  kubeAPIBurst: notNegative,
  nodeStatusMaxImages: [-1, Number.MAX_SAFE_INTEGER],
  nodeLeaseDurationSeconds: [1, 2_147_483_647],
  maxOpenFiles: notNegative,
  maxPods: notNegative,
  podsPerCore: notNegative,
  oomScoreAdj: [-1000, 1000],
  registryBurst: notNegative,
  registryPullQPS: notNegative,
  containerLogMaxFiles: [2, 2_147_483_647],
  containerLogMaxWorkers: [1, 2_147_483_647],
};

/** The values that a field takes. */
const choices: Readonly<Record<string, readonly string[]>> = {
  hairpinMode: ['promiscuous-bridge', 'hairpin-veth', 'none'],
  topologyManagerScope: ['container', 'pod'],
  topologyManagerPolicy: ['none', 'best-effort', 'restricted', 'single-numa-node'],
  cpuManagerPolicy: ['none', 'static'],
  memoryManagerPolicy: ['None', 'Static'],
  configMapAndSecretChangeDetectionStrategy: ['Get', 'Cache', 'Watch'],
  contentType: ['application/vnd.kubernetes.protobuf', 'application/json'],
  showHiddenMetricsForVersion: ['', '1.35'],
};

/** Durations that must not be negative or, with a number, not below so many milliseconds (0s apart). */
const leastDurations: Readonly<Record<string, number>> = {
  syncFrequency: 0,
  fileCheckFrequency: 0,
  httpCheckFrequency: 0,
  nodeStatusUpdateFrequency: 0,
  nodeStatusReportFrequency: 0,
  imageMinimumGCAge: 0,
  imageMaximumGCAge: 0,
  shutdownGracePeriod: 1000,
  shutdownGracePeriodCriticalPods: 1000,
  containerLogMonitorInterval: 3000,
};

/** What the values of several fields must be to each other; the field's own type has been checked. @throws ConfigurationError */
export function checkConfiguration(fields: Fields): void {
  checkFeatureGates(fields['featureGates'] ?? {});
  checkRanges(fields);
  checkDurations(fields);
  checkShutdown(fields);
  checkTaints(fields['registerWithTaints'] ?? []);
  checkTlsChoices(fields);
  const [logging] = checkLogging(fields['logging'] ?? {});
  if (logging) throw new ConfigurationError(`logging${logging.field}`, logging.message);
  if (fields['serverTLSBootstrap'] && !isFeatureOn(fields['featureGates'], 'RotateKubeletServerCertificate'))
    throw new ConfigurationError('serverTLSBootstrap', 'needs the feature gate RotateKubeletServerCertificate');
  if (Boolean(fields['tlsCertFile']) !== Boolean(fields['tlsPrivateKeyFile']))
    throw new ConfigurationError('tlsCertFile', 'must be given together with tlsPrivateKeyFile');
  checkUserNamespaces(fields['userNamespaces']);
  for (const sysctl of fields['allowedUnsafeSysctls'] ?? []) {
    const problem = sysctlPatternProblem(sysctl);
    if (problem) throw new ConfigurationError('allowedUnsafeSysctls', problem);
  }
  checkAddress('address', fields['address']);
  checkAddress('healthzBindAddress', fields['healthzBindAddress']);
}

function checkRanges(fields: Fields): void {
  for (const [name, [least, most]] of Object.entries(ranges)) {
    const value: unknown = fields[name];
    if (typeof value !== 'number') continue;
    if (value < least && most === Number.MAX_SAFE_INTEGER)
      throw new ConfigurationError(name, `${value} must be ${least} or greater`);
    if (value < least || value > most)
      throw new ConfigurationError(name, `${value} is not between ${least} and ${most}`);
  }
  for (const [name, allowed] of Object.entries(choices)) {
    const value: unknown = fields[name];
    if (typeof value === 'string' && !allowed.includes(value)) {
      const list = allowed.filter(Boolean).join(', ');
      throw new ConfigurationError(name, `${JSON.stringify(value)} is none of ${list}`);
    }
  }
}

function checkDurations(fields: Fields): void {
  for (const [name, least] of Object.entries(leastDurations)) {
    const ms = typeof fields[name] === 'string' ? parseDuration(fields[name]) : undefined;
    if (ms === undefined || (ms === 0 && name !== 'containerLogMonitorInterval')) continue;
    if (ms < 0) throw new ConfigurationError(name, `${fields[name]} must not be negative`);
    if (ms < least) throw new ConfigurationError(name, `${fields[name]} must be at least ${least / 1000}s`);
  }
  const period = parseDuration(String(fields['cpuCFSQuotaPeriod'] ?? '100ms')) ?? 100;
  if (period < 1 || period > 1000)
    throw new ConfigurationError('cpuCFSQuotaPeriod', `${fields['cpuCFSQuotaPeriod']} is not between 1ms and 1s`);
  const oldest = parseDuration(String(fields['imageMaximumGCAge'] ?? '0s')) ?? 0;
  const youngest = parseDuration(String(fields['imageMinimumGCAge'] ?? '2m')) ?? 0;
  if (oldest > 0 && oldest <= youngest) {
    const text = `${fields['imageMaximumGCAge']} must be greater than imageMinimumGCAge ${fields['imageMinimumGCAge']}`;
    throw new ConfigurationError('imageMaximumGCAge', text);
  }
}

function checkShutdown(fields: Fields): void {
  const ms = (name: string) => parseDuration(String(fields[name] ?? '0s')) ?? 0;
  const [all, critical] = [ms('shutdownGracePeriod'), ms('shutdownGracePeriodCriticalPods')];
  const byPriority: unknown[] = fields['shutdownGracePeriodByPodPriority'] ?? [];
  if (critical > all)
    throw new ConfigurationError('shutdownGracePeriodCriticalPods', 'must not be longer than shutdownGracePeriod');
  const gates = fields['featureGates'];
  if (all > 0 && !isFeatureOn(gates, 'GracefulNodeShutdown'))
    throw new ConfigurationError('shutdownGracePeriod', 'needs the feature gate GracefulNodeShutdown');
  if (byPriority.length === 0) return;
  if (!isFeatureOn(gates, 'GracefulNodeShutdownBasedOnPodPriority')) {
    const text = 'needs the feature gate GracefulNodeShutdownBasedOnPodPriority';
    throw new ConfigurationError('shutdownGracePeriodByPodPriority', text);
  }
  if (all > 0)
    throw new ConfigurationError(
      'shutdownGracePeriodByPodPriority',
      'cannot be given together with shutdownGracePeriod',
    );
}

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
const taintFields = ['key', 'value', 'effect', 'timeAdded'];

function checkTaints(taints: unknown[]): void {
  taints.forEach((one, index) => {
    const at = `registerWithTaints[${index}]`;
    if (typeof one !== 'object' || one === null) throw new ConfigurationError(at, 'must be an object');
    const taint = one as Record<string, unknown>;
    for (const name of Object.keys(taint))
      if (!taintFields.includes(name)) throw new ConfigurationError(`${at}.${name}`, 'unknown field');
    if (typeof taint['key'] !== 'string' || !/^([\w.-]+\/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/.test(taint['key']))
      throw new ConfigurationError(`${at}.key`, `${JSON.stringify(taint['key'])} is no name of a taint`);
    if (!effects.includes(String(taint['effect'])))
      throw new ConfigurationError(
        `${at}.effect`,
        `${JSON.stringify(taint['effect'])} is none of ${effects.join(', ')}`,
      );
    if (taint['timeAdded'] !== undefined) throw new ConfigurationError(`${at}.timeAdded`, 'must not be given');
  });
}

function checkAddress(field: string, text: unknown): void {
  if (typeof text !== 'string' || text === '') return;
  const isAddress = /^\d{1,3}(\.\d{1,3}){3}$/.test(text) || text.includes(':');
  if (!isAddress) throw new ConfigurationError(field, `${JSON.stringify(text)} is no IP address`);
}
