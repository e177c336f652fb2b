/**
 * Between the two forms of resources that are served twice: events (core and events.k8s.io) and horizontal pod autoscalers
 * (autoscaling/v1 and v2). Everything else has one form.
 */
import type { ResourceInfo } from '../resource-table.ts';

type JsonObject = Record<string, any>;

/** Event fields by their name in core/v1 and in events.k8s.io/v1. */
const eventFields: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
];

function renameFields(object: JsonObject, from: 0 | 1, apiVersion: string): JsonObject {
  const result: JsonObject = { ...object, apiVersion };
  for (const pair of eventFields) {
    const value = object[pair[from]];
    delete result[pair[from]];
    if (value !== undefined) result[pair[from === 0 ? 1 : 0]] = value;
  }
  return result;
}

/** Where v1 keeps the metrics that it has no field for. */
const metricsAnnotation = 'autoscaling.alpha.kubernetes.io/metrics';

function isCpuUtilization(metric: JsonObject): boolean {
  const resource = metric['resource'];
  return metric['type'] === 'Resource' && resource?.name === 'cpu' && resource.target?.type === 'Utilization';
}

function scalerToV1(object: JsonObject): JsonObject {
  const { metrics = [], behavior: _, ...spec } = object['spec'] ?? {};
  const cpu = metrics.find(isCpuUtilization);
  const others = metrics.filter((metric: JsonObject) => metric !== cpu);
  if (cpu) spec.targetCPUUtilizationPercentage = cpu.resource.target.averageUtilization;
  const { currentMetrics = [], conditions: __, ...status } = object['status'] ?? {};
  const current = currentMetrics.find(
    (one: JsonObject) => one['type'] === 'Resource' && one['resource']?.name === 'cpu',
  );
  if (current?.resource.current?.averageUtilization !== undefined) {
    status.currentCPUUtilizationPercentage = current.resource.current.averageUtilization;
  }
  const metadata = { ...object['metadata'] };
  if (others.length > 0) {
    metadata.annotations = { ...metadata.annotations, [metricsAnnotation]: JSON.stringify(others) };
  }
  return { ...object, apiVersion: 'autoscaling/v1', metadata, spec, ...(object['status'] ? { status } : {}) };
}

function scalerFromV1(object: JsonObject): JsonObject {
  const { targetCPUUtilizationPercentage: percent, ...spec } = object['spec'] ?? {};
  const { currentCPUUtilizationPercentage: current, ...status } = object['status'] ?? {};
  const metadata = { ...object['metadata'] };
  const metrics: JsonObject[] = [];
  if (percent !== undefined) {
    const target = { type: 'Utilization', averageUtilization: percent };
    metrics.push({ type: 'Resource', resource: { name: 'cpu', target } });
  }
  const kept = metadata.annotations?.[metricsAnnotation];
  if (typeof kept === 'string') {
    metrics.push(...parseMetrics(kept));
    metadata.annotations = { ...metadata.annotations };
    delete metadata.annotations[metricsAnnotation];
  }
  if (metrics.length > 0) spec.metrics = metrics;
  if (current !== undefined) {
    status.currentMetrics = [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: current } } }];
  }
  return { ...object, apiVersion: 'autoscaling/v2', metadata, spec, ...(object['status'] ? { status } : {}) };
}

/** An annotation that somebody else broke is left out. */
function parseMetrics(text: string): JsonObject[] {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}

/** A stored object as the resource's version shows it; the same object when it is stored in that version. */
export function fromStorage(info: ResourceInfo, object: any): any {
  if (info.storage === info) return object;
  return info.plural === 'events' ? renameFields(object, 0, info.apiVersion) : scalerToV1(object);
}

/** An object of the resource's version as it is stored. */
export function toStorage(info: ResourceInfo, object: any): any {
  if (info.storage === info) return object;
  return info.plural === 'events' ? renameFields(object, 1, info.storage.apiVersion) : scalerFromV1(object);
}
