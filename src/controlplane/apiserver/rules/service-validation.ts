import type { FieldError } from '../extension-points.ts';
import { familyOf } from './address-range.ts';
import { duplicate, forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { validateLabels } from './metadata-validation.ts';
import { checkIpAddress, checkLabelName, checkPortNumber, checkSubdomain } from './names.ts';
import { validatePortReference } from './probe-validation.ts';

const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'];

/** Validates a Service, and with `old` what of it may have changed. */
export function validateService(service: any, old: any): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  if (!types.includes(spec.type)) errors.push(notSupported('spec.type', spec.type, types));
  const headless = spec.clusterIP === 'None';
  if (!(spec.ports?.length > 0) && !headless && spec.type !== 'ExternalName') errors.push(required('spec.ports'));
  errors.push(...validatePorts(service));
  if (spec.selector) errors.push(...validateLabels(spec.selector, 'spec.selector'));
  if (!['ClientIP', 'None'].includes(spec.sessionAffinity)) {
    errors.push(notSupported('spec.sessionAffinity', spec.sessionAffinity, ['ClientIP', 'None']));
  }
  const timeout = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (timeout !== undefined && (timeout <= 0 || timeout > 86_400)) {
    const text = 'must be greater than 0 and less than or equal to 86400';
    errors.push(invalidValue('spec.sessionAffinityConfig.clientIP.timeoutSeconds', timeout, text));
  }
  errors.push(...validateType(spec, headless), ...validateAddresses(spec), ...validatePolicies(spec));
  if (old) errors.push(...validateChange(spec, old.spec));
  return errors;
}

function validatePorts(service: any): FieldError[] {
  const { spec } = service;
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const seen = new Set<string>();
  const nodePorts = new Set<string>();
  (spec.ports ?? []).forEach((port: any, index: number) => {
    const at = `spec.ports[${index}]`;
    if (!port.name) {
      if (spec.ports.length > 1) errors.push(required(`${at}.name`));
    } else {
      errors.push(...checkLabelName(port.name).map((text) => invalidValue(`${at}.name`, port.name, text)));
      if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    errors.push(...checkPortNumber(port.port).map((text) => invalidValue(`${at}.port`, port.port ?? 0, text)));
    const protocols = ['SCTP', 'TCP', 'UDP'];
    if (!protocols.includes(port.protocol)) errors.push(notSupported(`${at}.protocol`, port.protocol, protocols));
    errors.push(...validatePortReference(port.targetPort, `${at}.targetPort`));
    const key = `${port.protocol}/${port.port}`;
    if (seen.has(key)) errors.push(duplicate(at, { port: port.port, protocol: port.protocol }));
    seen.add(key);
    if (!port.nodePort) return;
    if (spec.type === 'ClusterIP' || spec.type === 'ExternalName') {
      errors.push(forbiddenField(`${at}.nodePort`, `may not be used when \`type\` is '${spec.type}'`));
    }
    const open = `${port.protocol}/${port.nodePort}`;
    if (nodePorts.has(open)) errors.push(duplicate(`${at}.nodePort`, port.nodePort));
    nodePorts.add(open);
  });
  return errors;
}

function validateType(spec: any, headless: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.type === 'ExternalName') {
    if (spec.clusterIP) {
      errors.push(forbiddenField('spec.clusterIPs', "may not be set when `type` is 'ExternalName'"));
    }
    if (!spec.externalName) errors.push(required('spec.externalName'));
    else {
      const name = spec.externalName.replace(/\.$/, '');
      errors.push(...checkSubdomain(name).map((text) => invalidValue('spec.externalName', spec.externalName, text)));
    }
  }
  if (headless && (spec.type === 'NodePort' || spec.type === 'LoadBalancer')) {
    const text = `may not be set to 'None' for ${spec.type} services`;
    errors.push(invalidValue('spec.clusterIPs[0]', 'None', text));
  }
  return errors;
}

function validateAddresses(spec: any): FieldError[] {
  const errors: FieldError[] = [];
  (spec.clusterIPs ?? []).forEach((address: string, index: number) => {
    const at = `spec.clusterIPs[${index}]`;
    if (address === 'None' && index === 0) return;
    if (!familyOf(address)) {
      errors.push(...checkIpAddress(address).map((text) => invalidValue(at, address, text)));
    }
  });
  if (spec.clusterIP && spec.clusterIPs?.[0] !== spec.clusterIP) {
    const text = 'first value must match `clusterIP`';
    errors.push(invalidValue('spec.clusterIPs', spec.clusterIPs ?? [], text));
  }
  (spec.externalIPs ?? []).forEach((address: string, index: number) => {
    errors.push(...checkIpAddress(address).map((text) => invalidValue(`spec.externalIPs[${index}]`, address, text)));
    if (/^(127\.|0\.0\.0\.0$|169\.254\.|22[4-9]\.|23\d\.)/.test(address)) {
      const text = 'may not be unspecified, in the loopback range (127.0.0.0/8, ::1/128), link-local or multicast';
      errors.push(invalidValue(`spec.externalIPs[${index}]`, address, text));
    }
  });
  const policies = ['SingleStack', 'PreferDualStack', 'RequireDualStack'];
  if (spec.ipFamilyPolicy && !policies.includes(spec.ipFamilyPolicy)) {
    errors.push(notSupported('spec.ipFamilyPolicy', spec.ipFamilyPolicy, policies));
  }
  return errors;
}

function validatePolicies(spec: any): FieldError[] {
  const errors: FieldError[] = [];
  const policies = ['Cluster', 'Local'];
  for (const key of ['externalTrafficPolicy', 'internalTrafficPolicy']) {
    if (spec[key] && !policies.includes(spec[key])) errors.push(notSupported(`spec.${key}`, spec[key], policies));
  }
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer' || spec.externalIPs?.length > 0;
  if (spec.externalTrafficPolicy && !external) {
    const text = 'may only be set for externally-accessible services';
    errors.push(invalidValue('spec.externalTrafficPolicy', spec.externalTrafficPolicy, text));
  }
  if (spec.healthCheckNodePort && !(spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local')) {
    const text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
    errors.push(invalidValue('spec.healthCheckNodePort', spec.healthCheckNodePort, text));
  }
  return errors;
}

/** The addresses of a Service stay, unless it becomes (or was) an alias of an outside name. */
function validateChange(spec: any, old: any): FieldError[] {
  if (spec.type === 'ExternalName' || old.type === 'ExternalName') return [];
  const now: string[] = spec.clusterIPs ?? [];
  const before: string[] = old.clusterIPs ?? [];
  if (before[0] && now[0] !== before[0]) {
    return [invalidValue('spec.clusterIPs[0]', now, 'may not change once set')];
  }
  if (before[1] && now[1] && now[1] !== before[1]) {
    return [invalidValue('spec.clusterIPs[1]', now, 'may not change once set')];
  }
  return [];
}
