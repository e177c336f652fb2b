import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ObjectContext, ResourceRules } from '../extension-points.ts';
import { invalid } from '../status-error.ts';
import { familyOf, type IpFamily } from './address-range.ts';
import { invalidValue } from './field-errors.ts';
import { AllocationError, type ServiceAllocator } from './service-allocator.ts';
import { validateService } from './service-validation.ts';

const opensNodePorts = (service: any): boolean =>
  service.spec.type === 'NodePort' ||
  (service.spec.type === 'LoadBalancer' && service.spec.allocateLoadBalancerNodePorts !== false);
const needsHealthPort = (service: any): boolean =>
  service.spec.type === 'LoadBalancer' && service.spec.externalTrafficPolicy === 'Local';
const needsAddress = (service: any): boolean =>
  service.spec.type !== 'ExternalName' && service.spec.clusterIP !== 'None';

/** The rules of Services: defaults, addresses and ports, validation. */
export function serviceRules(allocator: ServiceAllocator): ResourceRules {
  return {
    hasGeneration: false,
    setDefaults: setServiceDefaults,
    prepareForCreate: (service, context) => {
      alignAddresses(service);
      if (service.spec.type === 'ExternalName') clearAddresses(service.spec);
      allocate(service, undefined, allocator, context);
      service.status = { loadBalancer: {} };
    },
    prepareForUpdate: (service, old, context) => {
      if (context.subresource !== '') return;
      if (service.spec.clusterIP !== old.spec.clusterIP) followChange(service.spec, old.spec);
      keepAllocated(service, old);
      alignAddresses(service);
      allocate(service, old, allocator, context);
    },
    validate: (service, old) => validateService(service, old),
    selectableFields: ({ spec = {} }) => ({ 'spec.clusterIP': spec.clusterIP ?? '', 'spec.type': spec.type ?? '' }),
  };
}

function setServiceDefaults(service: any): void {
  const spec = (service.spec ??= {});
  spec.sessionAffinity ||= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP') {
    spec.sessionAffinityConfig ??= {};
    spec.sessionAffinityConfig.clientIP ??= {};
    spec.sessionAffinityConfig.clientIP.timeoutSeconds ??= 10_800;
  }
  spec.type ||= 'ClusterIP';
  for (const port of spec.ports ?? []) {
    port.protocol ||= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') port.targetPort = port.port;
  }
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer' || spec.externalIPs?.length > 0;
  if (external && spec.type !== 'ExternalName') spec.externalTrafficPolicy ||= 'Cluster';
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ||= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
}

/** `clusterIP` and the first of `clusterIPs` are one. */
function alignAddresses(service: any): void {
  const { spec } = service;
  if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  else if (!spec.clusterIP && spec.clusterIPs?.length) spec.clusterIP = spec.clusterIPs[0];
}

/** Who changes only `clusterIP` means the first of `clusterIPs` too; whether it may change is for validation. */
function followChange(spec: any, old: any): void {
  if (!spec.clusterIP || !deepEqual(spec.clusterIPs, old.clusterIPs)) return;
  spec.clusterIPs = [spec.clusterIP, ...(old.clusterIPs ?? []).slice(1)];
}

function clearAddresses(spec: any): void {
  for (const key of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) delete spec[key];
}

/** A client that leaves out what was allocated keeps it, as long as the Service still needs it. */
function keepAllocated(service: any, old: any): void {
  const { spec } = service;
  if (needsAddress(service) && needsAddress(old) && !spec.clusterIP && !spec.clusterIPs?.length) {
    spec.clusterIP = old.spec.clusterIP;
    spec.clusterIPs = old.spec.clusterIPs;
  }
  if (!needsAddress(service) && spec.type === 'ExternalName') {
    if (deepEqual(spec.clusterIPs, old.spec.clusterIPs)) clearAddresses(spec);
    delete spec.internalTrafficPolicy;
  } else {
    spec.ipFamilies ??= old.spec.ipFamilies;
    spec.ipFamilyPolicy ??= old.spec.ipFamilyPolicy;
  }
  if (opensNodePorts(service) && opensNodePorts(old)) {
    const before = new Map((old.spec.ports ?? []).map((port: any) => [`${port.protocol}/${port.port}`, port.nodePort]));
    const asked = new Set((spec.ports ?? []).map(({ nodePort }: any) => nodePort).filter(Boolean));
    for (const port of spec.ports ?? []) {
      const known = before.get(`${port.protocol}/${port.port}`);
      if (!port.nodePort && known && !asked.has(known)) port.nodePort = known;
    }
  }
  dropUnneeded(service, old);
}

/** A change of type lets go of what the new type has no use for, when the client just sent it back. */
function dropUnneeded(service: any, old: any): void {
  const { spec } = service;
  if (opensNodePorts(old) && !opensNodePorts(service)) {
    const before = new Set((old.spec.ports ?? []).map(({ nodePort }: any) => nodePort));
    for (const port of spec.ports ?? []) if (before.has(port.nodePort)) delete port.nodePort;
  }
  const external = ['NodePort', 'LoadBalancer'].includes(spec.type) || spec.externalIPs?.length > 0;
  if (!external && spec.externalTrafficPolicy === old.spec.externalTrafficPolicy) delete spec.externalTrafficPolicy;
  if (spec.type !== 'LoadBalancer') delete spec.allocateLoadBalancerNodePorts;
  if (needsHealthPort(service) && needsHealthPort(old)) spec.healthCheckNodePort ||= old.spec.healthCheckNodePort;
  if (!needsHealthPort(service) && spec.healthCheckNodePort === old.spec.healthCheckNodePort) {
    delete spec.healthCheckNodePort;
  }
}

/** Reserves addresses and ports; what was reserved is given back when the write fails. @throws StatusError 422 */
function allocate(service: any, old: any, allocator: ServiceAllocator, context: ObjectContext): void {
  const key = `${context.namespace}/${service.metadata.name}`;
  const taken: string[] = [];
  context.onFailure(() => allocator.release(taken, key));
  const errors: FieldError[] = [];
  if (service.spec.type !== 'ExternalName') chooseFamilies(service.spec, allocator, errors);
  if (errors.length === 0 && needsAddress(service)) allocateAddresses(service, allocator, key, taken, errors);
  const held = new Set<number>((old?.spec.ports ?? []).map(({ nodePort }: any) => nodePort).filter(Boolean));
  if (opensNodePorts(service)) allocatePorts(service, allocator, key, taken, held, errors);
  if (needsHealthPort(service)) {
    const { spec } = service;
    tryTo(errors, 'spec.healthCheckNodePort', spec.healthCheckNodePort ?? 0, () => {
      if (!spec.healthCheckNodePort) spec.healthCheckNodePort = allocator.anyPort(key);
      else if (spec.healthCheckNodePort !== old?.spec.healthCheckNodePort) {
        allocator.takePort(spec.healthCheckNodePort, key);
      }
      taken.push(String(spec.healthCheckNodePort));
    });
  }
  if (errors.length > 0) throw invalid('', 'Service', service.metadata.name, errors);
}

function tryTo(errors: FieldError[], field: string, value: unknown, action: () => void, prefix = ''): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof AllocationError)) throw error;
    errors.push(invalidValue(field, value, `${prefix}${error.message}`));
  }
}

/** Fills ipFamilies and ipFamilyPolicy from what was asked for and what the cluster has. */
function chooseFamilies(spec: any, allocator: ServiceAllocator, errors: FieldError[]): void {
  const available = allocator.ranges.map(({ family }) => family);
  const named: IpFamily[] = (spec.clusterIPs ?? [])
    .filter((one: string) => one && one !== 'None')
    .map((one: string) => familyOf(one))
    .filter(Boolean);
  const wanted: IpFamily[] = spec.ipFamilies?.length
    ? [...spec.ipFamilies]
    : named.length > 0
      ? named
      : [available[0]!];
  wanted.forEach((family, index) => {
    if (available.includes(family) || spec.clusterIP === 'None') return;
    const text = 'not configured on this cluster';
    errors.push(invalidValue(`spec.ipFamilies[${index}]`, family, text));
  });
  spec.ipFamilyPolicy ||= wanted.length > 1 ? 'RequireDualStack' : 'SingleStack';
  if (spec.ipFamilyPolicy === 'RequireDualStack' && available.length < 2 && spec.clusterIP !== 'None') {
    const text = 'this cluster is not configured for dual-stack services';
    errors.push(invalidValue('spec.ipFamilyPolicy', spec.ipFamilyPolicy, text));
  }
  if (spec.ipFamilyPolicy !== 'SingleStack') {
    for (const family of available) if (!wanted.includes(family)) wanted.push(family);
  }
  spec.ipFamilies = spec.ipFamilyPolicy === 'SingleStack' ? wanted.slice(0, 1) : wanted;
}

function allocateAddresses(
  service: any,
  allocator: ServiceAllocator,
  key: string,
  taken: string[],
  errors: FieldError[],
): void {
  const { spec } = service;
  const asked: string[] = [...(spec.clusterIPs ?? [])].slice(0, spec.ipFamilies.length);
  const addresses = spec.ipFamilies.map((family: IpFamily, index: number) => {
    const address = asked[index];
    tryTo(
      errors,
      'spec.clusterIPs',
      spec.clusterIPs ?? [],
      () => {
        if (!address) asked[index] = allocator.anyAddress(family, key);
        else if (familyOf(address)) allocator.takeAddress(address, key);
        taken.push(asked[index]!);
      },
      address ? `failed to allocate IP ${address}: ` : '',
    );
    return asked[index];
  });
  if (errors.length > 0) return;
  spec.clusterIPs = addresses;
  spec.clusterIP = addresses[0];
}

function allocatePorts(
  service: any,
  allocator: ServiceAllocator,
  key: string,
  taken: string[],
  held: ReadonlySet<number>,
  errors: FieldError[],
): void {
  // One number may serve several protocols of the same Service.
  const numbers = new Map<string, number>();
  (service.spec.ports ?? []).forEach((port: any, index: number) => {
    tryTo(errors, `spec.ports[${index}].nodePort`, port.nodePort ?? 0, () => {
      const shared = numbers.get(`${port.port}`);
      if (!port.nodePort && shared !== undefined && !isTaken(service, port, shared)) port.nodePort = shared;
      else if (!port.nodePort) port.nodePort = allocator.anyPort(key);
      else if (!held.has(port.nodePort)) allocator.takePort(port.nodePort, key);
      numbers.set(`${port.port}`, port.nodePort);
      taken.push(String(port.nodePort));
    });
  });
}

/** Whether another port of the Service uses the number with the same protocol. */
function isTaken(service: any, port: any, nodePort: number): boolean {
  return service.spec.ports.some(
    (one: any) => one !== port && one.nodePort === nodePort && one.protocol === port.protocol,
  );
}
