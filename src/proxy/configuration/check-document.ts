import { isIPv4, isIPv6, parsePrefix } from '../../host/netlink/index.ts';
import { checkLogging } from '../../log/index.ts';
import { valueAt } from './complete.ts';
import { durationMs } from './duration.ts';
import { checkFeatureGates } from './feature-gates.ts';
import { configurationFields } from './fields.ts';
import { splitBindAddress } from './settings.ts';

type Document = Record<string, any>;

/** Least and greatest values. */
const ranges: Readonly<Record<string, readonly [number, number]>> = {
  'iptables.masqueradeBit': [0, 31],
  'nftables.masqueradeBit': [0, 31],
  oomScoreAdj: [-1000, 1000],
  'conntrack.maxPerCore': [0, Number.MAX_SAFE_INTEGER],
  'conntrack.min': [0, Number.MAX_SAFE_INTEGER],
  'clientConnection.burst': [0, Number.MAX_SAFE_INTEGER],
};

/** The values that a field takes. */
const choices: Readonly<Record<string, readonly string[]>> = {
  mode: ['iptables', 'ipvs', 'nftables'],
  detectLocalMode: ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'],
  showHiddenMetricsForVersion: ['1.35'],
};

/** What is spoken to the API server: JSON. Whoever takes upstream's protobuf takes that too. */
const contentTypes = ['application/json', 'application/vnd.kubernetes.protobuf', '*/*'];

/** Problems of the values of a completed document, and what is to be told of it. */
export function checkDocument(document: Document): { problems: string[]; warnings: string[] } {
  const { problems, warnings } = checkFeatureGates(document['featureGates'] ?? {});
  problems.push(
    ...checkUnusable(document),
    ...checkRanges(document),
    ...checkTimes(document),
    ...checkAddresses(document),
    ...checkDetection(document),
    ...checkLogging(document['logging']).map(({ field, message }) => `logging${field}: ${message}`),
  );
  for (const [path, { unused }] of Object.entries(configurationFields))
    if (unused && valueAt(document, path)) warnings.push(`${path} does nothing: ${unused}`);
  return { problems, warnings };
}

/** What is for something that is not here. */
function checkUnusable(document: Document): string[] {
  const problems: string[] = [];
  for (const [path, field] of Object.entries(configurationFields)) {
    const value = valueAt(document, path);
    if (field.refused && value !== field.default) problems.push(`${path}: ${JSON.stringify(value)} ${field.refused}`);
  }
  for (const path of ['clientConnection.contentType', 'clientConnection.acceptContentTypes']) {
    const types = String(valueAt(document, path))
      .split(',')
      .map((one) => one.trim());
    for (const type of types)
      if (type && !contentTypes.includes(type))
        problems.push(`${path}: ${JSON.stringify(type)} is none of ${contentTypes.join(', ')}`);
  }
  return problems;
}

function checkRanges(document: Document): string[] {
  const problems: string[] = [];
  for (const [path, [least, most]] of Object.entries(ranges)) {
    const value: number = valueAt(document, path);
    if (value >= least && value <= most) continue;
    const rule =
      most === Number.MAX_SAFE_INTEGER ? `must be ${least} or greater` : `must be within ${least} and ${most}`;
    problems.push(`${path}: ${value} ${rule}`);
  }
  for (const [path, allowed] of Object.entries(choices)) {
    const value = valueAt(document, path);
    if (value && !allowed.includes(value))
      problems.push(`${path}: ${JSON.stringify(value)} is none of ${allowed.join(', ')}`);
  }
  return problems;
}

function checkTimes(document: Document): string[] {
  const problems: string[] = [];
  for (const [path, { type }] of Object.entries(configurationFields))
    if (type === 'duration' && (durationMs(valueAt(document, path)) ?? 0) < 0)
      problems.push(`${path}: ${valueAt(document, path)} must not be negative`);
  for (const section of ['iptables', 'ipvs', 'nftables']) {
    const { syncPeriod, minSyncPeriod } = document[section];
    if (durationMs(minSyncPeriod)! > durationMs(syncPeriod)!)
      problems.push(`${section}.minSyncPeriod: ${minSyncPeriod} must not be longer than syncPeriod, ${syncPeriod}`);
  }
  return problems;
}

function checkAddresses(document: Document): string[] {
  const problems: string[] = [];
  const isAddress = (text: string) => isIPv4(text) || isIPv6(text);
  if (!isAddress(document['bindAddress']))
    problems.push(`bindAddress: ${JSON.stringify(document['bindAddress'])} is no IP address`);
  for (const field of ['healthzBindAddress', 'metricsBindAddress']) {
    const value: string = document[field];
    const where = splitBindAddress(value);
    if (value !== '' && (!where || !isAddress(where.host) || where.port === 0))
      problems.push(`${field}: ${JSON.stringify(value)} is not an address with a port`);
  }
  const nodePorts: string[] = document['nodePortAddresses'];
  if (nodePorts.includes('primary') && nodePorts.length > 1)
    problems.push('nodePortAddresses: "primary" stands alone or not at all');
  for (const one of nodePorts) if (one !== 'primary') problems.push(...checkPrefix('nodePortAddresses', one));
  for (const one of document['ipvs'].excludeCIDRs) problems.push(...checkPrefix('ipvs.excludeCIDRs', one));
  return problems;
}

function checkDetection(document: Document): string[] {
  const { detectLocalMode, detectLocal } = document;
  if (detectLocalMode === 'BridgeInterface' && !detectLocal.bridgeInterface)
    return ['detectLocal.bridgeInterface: must be set for BridgeInterface'];
  if (detectLocalMode === 'InterfaceNamePrefix' && !detectLocal.interfaceNamePrefix)
    return ['detectLocal.interfaceNamePrefix: must be set for InterfaceNamePrefix'];
  if (detectLocalMode && detectLocalMode !== 'ClusterCIDR') return [];
  const ranges = splitList(document['clusterCIDR']);
  const problems = ranges.flatMap((one) => checkPrefix('clusterCIDR', one));
  const families = new Set(ranges.map((one) => one.includes(':')));
  if (problems.length === 0 && families.size !== ranges.length)
    problems.push('clusterCIDR: must be one CIDR, or one of each family');
  return problems;
}

function checkPrefix(path: string, value: string): string[] {
  try {
    if (!value.includes('/')) throw new RangeError();
    parsePrefix(value);
    return [];
  } catch {
    return [`${path}: ${JSON.stringify(value)} is not a CIDR`];
  }
}

/** The parts of a list that is written with commas. */
export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);
}
