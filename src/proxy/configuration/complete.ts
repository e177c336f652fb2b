import { durationMs, formatDuration } from './duration.ts';
import { type ConfigurationField, configurationFields, zeroCounts } from './fields.ts';
import { withPort } from './settings.ts';

type Document = Record<string, any>;

/** The value at a path such as `iptables.syncPeriod`. */
export function valueAt(document: Document, path: string): any {
  return path.split('.').reduce<any>((at, part) => at?.[part], document);
}

/** Sets the value at a path; makes the sections on the way. */
export function setValue(document: Document, path: string, value: unknown): void {
  const [first, second] = path.split('.') as [string, string?];
  if (second === undefined) document[first] = value;
  else (document[first] ??= {})[second] = value;
}

/** A document with upstream's defaults filled in, in the order of the table. */
export function completeDocument(given: Document): Document {
  const complete: Document = { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' };
  for (const [path, field] of Object.entries(configurationFields)) {
    const value = valueAt(given, path);
    setValue(complete, path, isUnset(value, field, path) ? structuredClone(field.default) : normal(value, field));
  }
  const isIPv6 = String(complete['bindAddress']).includes(':');
  const [everywhere, loopback] = isIPv6 ? ['[::]', '[::1]'] : ['0.0.0.0', '127.0.0.1'];
  complete['healthzBindAddress'] = withPort(complete['healthzBindAddress'] || everywhere, 10256);
  complete['metricsBindAddress'] = withPort(complete['metricsBindAddress'] || loopback, 10249);
  return complete;
}

/** Upstream's defaults take the place of zeros, too. */
function isUnset(value: unknown, { type }: ConfigurationField, path: string): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (type === 'duration') return durationMs(value) === 0 && !zeroCounts.has(path);
  return value === 0 && ['clientConnection.qps', 'clientConnection.burst'].includes(path);
}

function normal(value: unknown, { type }: ConfigurationField): unknown {
  return type === 'duration' ? formatDuration(durationMs(value)!) : structuredClone(value);
}
