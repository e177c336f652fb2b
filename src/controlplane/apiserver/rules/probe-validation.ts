import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { checkHeaderName, checkPortName, checkPortNumber } from './names.ts';

/** Validates a port that is a number or the name of one. */
export function validatePortReference(port: unknown, field: string): FieldError[] {
  if (typeof port === 'number') return checkPortNumber(port).map((text) => invalidValue(field, port, text));
  const name = String(port ?? '');
  return checkPortName(name).map((text) => invalidValue(field, name, text));
}

function validateHttpGet(action: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!action.path) errors.push(required(`${field}.path`));
  errors.push(...validatePortReference(action.port, `${field}.port`));
  if (!['HTTP', 'HTTPS'].includes(action.scheme))
    errors.push(notSupported(`${field}.scheme`, action.scheme, ['HTTP', 'HTTPS']));
  for (const header of action.httpHeaders ?? []) {
    const texts = checkHeaderName(header.name ?? '');
    errors.push(...texts.map((text) => invalidValue(`${field}.httpHeaders`, header.name ?? '', text)));
  }
  return errors;
}

/** Validates a probe's or hook's action: exactly one of those that may stand there. */
function validateAction(holder: any, allowed: readonly string[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const given = allowed.filter((kind) => holder[kind] != null);
  for (const kind of given.slice(1)) {
    errors.push(forbiddenField(`${field}.${kind}`, 'may not specify more than 1 handler type'));
  }
  if (given.length === 0) return [required(field, 'must specify a handler type')];
  const [kind] = given;
  const at = `${field}.${kind}`;
  if (kind === 'exec' && !(holder.exec.command?.length > 0)) errors.push(required(`${at}.command`));
  if (kind === 'httpGet') errors.push(...validateHttpGet(holder.httpGet, at));
  if (kind === 'tcpSocket') errors.push(...validatePortReference(holder.tcpSocket.port, `${at}.port`));
  if (kind === 'grpc') {
    errors.push(...checkPortNumber(holder.grpc.port).map((text) => invalidValue(`${at}.port`, holder.grpc.port, text)));
  }
  if (kind === 'sleep' && !(holder.sleep.seconds >= 0)) {
    errors.push(invalidValue(`${at}.seconds`, holder.sleep.seconds, 'must be greater than or equal to 0'));
  }
  return errors;
}

function validateProbe(probe: any, field: string, once: boolean): FieldError[] {
  const errors = validateAction(probe, ['exec', 'httpGet', 'tcpSocket', 'grpc'], field);
  for (const key of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ]) {
    if ((probe[key] ?? 0) < 0) {
      errors.push(invalidValue(`${field}.${key}`, probe[key], 'must be greater than or equal to 0'));
    }
  }
  if (once && probe.successThreshold !== 1) {
    errors.push(invalidValue(`${field}.successThreshold`, probe.successThreshold, 'must be 1'));
  }
  if (probe.terminationGracePeriodSeconds != null && probe.terminationGracePeriodSeconds <= 0) {
    const text = 'must be greater than 0';
    errors.push(invalidValue(`${field}.terminationGracePeriodSeconds`, probe.terminationGracePeriodSeconds, text));
  }
  return errors;
}

/** Validates probes and hooks of a container. */
export function validateProbes(container: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (container.livenessProbe) errors.push(...validateProbe(container.livenessProbe, `${field}.livenessProbe`, true));
  if (container.readinessProbe) {
    errors.push(...validateProbe(container.readinessProbe, `${field}.readinessProbe`, false));
    if (container.readinessProbe.terminationGracePeriodSeconds != null) {
      const text = 'must not be set for readinessProbes';
      const { terminationGracePeriodSeconds } = container.readinessProbe;
      const at = `${field}.readinessProbe.terminationGracePeriodSeconds`;
      errors.push(invalidValue(at, terminationGracePeriodSeconds, text));
    }
  }
  if (container.startupProbe) errors.push(...validateProbe(container.startupProbe, `${field}.startupProbe`, true));
  for (const hook of ['postStart', 'preStop']) {
    const handler = container.lifecycle?.[hook];
    if (!handler) continue;
    const at = `${field}.lifecycle.${hook}`;
    errors.push(...validateAction(handler, ['exec', 'httpGet', 'tcpSocket', 'sleep'], at));
  }
  return errors;
}
