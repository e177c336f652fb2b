import type { FieldError } from '../extension-points.ts';
import { duplicate, forbiddenField, invalidValue, notFoundValue, notSupported, required } from './field-errors.ts';
import { validateFileKey, validateRestart } from './life-validation.ts';
import {
  checkConfigKey,
  checkEnvironmentName,
  checkIpAddress,
  checkLabelName,
  checkPortName,
  checkPortNumber,
  checkSubdomain,
} from './names.ts';
import { validateResizePolicy } from './pod-level-resources.ts';
import { validateProbes } from './probe-validation.ts';
import { validateClaims, validateResources } from './resources-validation.ts';

/** What a container is checked against: the rest of its pod. */
export interface PodScope {
  volumes: ReadonlyMap<string, any>;
  claims: readonly any[];
  hostNetwork: boolean;
  restartPolicy: string;
}

const fieldPaths = new Set([
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
]);

const resourceFields = [
  'limits.cpu',
  'limits.ephemeral-storage',
  'limits.memory',
  'requests.cpu',
  'requests.ephemeral-storage',
  'requests.memory',
];

/** Validates one container of any list. */
export function validateContainer(container: any, field: string, scope: PodScope): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(`${field}.name`));
  else
    errors.push(...checkLabelName(container.name).map((text) => invalidValue(`${field}.name`, container.name, text)));
  if (!container.image) errors.push(required(`${field}.image`));
  else if (container.image !== container.image.trim()) {
    errors.push(invalidValue(`${field}.image`, container.image, 'must not have leading or trailing whitespace'));
  }
  const policies = ['Always', 'IfNotPresent', 'Never'];
  if (!policies.includes(container.imagePullPolicy)) {
    errors.push(notSupported(`${field}.imagePullPolicy`, container.imagePullPolicy, policies));
  }
  const messagePolicies = ['FallbackToLogsOnError', 'File'];
  if (!messagePolicies.includes(container.terminationMessagePolicy)) {
    const at = `${field}.terminationMessagePolicy`;
    errors.push(notSupported(at, container.terminationMessagePolicy, messagePolicies));
  }
  errors.push(...validatePorts(container.ports ?? [], `${field}.ports`, scope));
  errors.push(...validateEnvironment(container, field, scope));
  errors.push(...validateRestart(container, field));
  errors.push(...validateMounts(container, field, scope));
  errors.push(...validateProbes(container, field));
  errors.push(...validateResources(container.resources, `${field}.resources`));
  errors.push(...validateResizePolicy(container.resizePolicy ?? [], `${field}.resizePolicy`, scope.restartPolicy));
  errors.push(...validateClaims(container.resources, scope.claims, `${field}.resources`));
  if (container.securityContext) {
    errors.push(...validateSecurityContext(container.securityContext, `${field}.securityContext`));
  }
  return errors;
}

function validatePorts(ports: any[], field: string, scope: PodScope): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  ports.forEach((port, index) => {
    const at = `${field}[${index}]`;
    if (port.name) {
      const wrong = checkPortName(port.name);
      errors.push(...wrong.map((text) => invalidValue(`${at}.name`, port.name, text)));
      if (wrong.length === 0 && names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    if (!port.containerPort) errors.push(required(`${at}.containerPort`));
    else {
      const texts = checkPortNumber(port.containerPort);
      errors.push(...texts.map((text) => invalidValue(`${at}.containerPort`, port.containerPort, text)));
    }
    if (port.hostPort) {
      errors.push(...checkPortNumber(port.hostPort).map((text) => invalidValue(`${at}.hostPort`, port.hostPort, text)));
      if (scope.hostNetwork && port.hostPort !== port.containerPort) {
        const text = 'must match `hostPort` when `hostNetwork` is true';
        errors.push(invalidValue(`${at}.containerPort`, port.containerPort, text));
      }
    }
    if (port.hostIP)
      errors.push(...checkIpAddress(port.hostIP).map((text) => invalidValue(`${at}.hostIP`, port.hostIP, text)));
    const protocols = ['SCTP', 'TCP', 'UDP'];
    if (!protocols.includes(port.protocol)) errors.push(notSupported(`${at}.protocol`, port.protocol, protocols));
  });
  return errors;
}

function validateEnvironment(container: any, field: string, scope: PodScope): FieldError[] {
  const errors: FieldError[] = [];
  (container.env ?? []).forEach((variable: any, index: number) => {
    const at = `${field}.env[${index}]`;
    if (!variable.name) errors.push(required(`${at}.name`));
    else {
      const texts = checkEnvironmentName(variable.name);
      errors.push(...texts.map((text) => invalidValue(`${at}.name`, variable.name, text)));
    }
    if (variable.valueFrom) errors.push(...validateValueFrom(variable, `${at}.valueFrom`, scope));
  });
  (container.envFrom ?? []).forEach((source: any, index: number) => {
    const at = `${field}.envFrom[${index}]`;
    if (source.prefix) {
      const texts = checkEnvironmentName(source.prefix);
      errors.push(...texts.map((text) => invalidValue(`${at}.prefix`, source.prefix, text)));
    }
    const given = ['configMapRef', 'secretRef'].filter((kind) => source[kind]);
    if (given.length === 0) errors.push(invalidValue(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    if (given.length > 1) errors.push(invalidValue(at, '', 'may not have more than one field specified at a time'));
    for (const kind of given) {
      if (!source[kind].name) errors.push(required(`${at}.${kind}.name`));
    }
  });
  return errors;
}

function validateValueFrom(variable: any, field: string, scope: PodScope): FieldError[] {
  const source = variable.valueFrom;
  const kinds = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'].filter(
    (kind) => source[kind],
  );
  if (kinds.length === 0) {
    const text = 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`';
    return [invalidValue(field, '', text)];
  }
  const errors: FieldError[] = [];
  if (variable.value) errors.push(invalidValue(field, '', 'may not be specified when `value` is not empty'));
  if (kinds.length > 1) errors.push(invalidValue(field, '', 'may not have more than one field specified at a time'));
  if (source.fieldRef) errors.push(...validateFieldRef(source.fieldRef, `${field}.fieldRef`, fieldPaths));
  if (source.resourceFieldRef)
    errors.push(...validateResourceRef(source.resourceFieldRef, `${field}.resourceFieldRef`));
  if (source.fileKeyRef) errors.push(...validateFileKey(source.fileKeyRef, `${field}.fileKeyRef`, scope.volumes));
  for (const kind of ['configMapKeyRef', 'secretKeyRef']) {
    const reference = source[kind];
    if (!reference) continue;
    if (!reference.name) errors.push(required(`${field}.${kind}.name`));
    if (!reference.key) errors.push(required(`${field}.${kind}.key`));
    else
      errors.push(
        ...checkConfigKey(reference.key).map((text) => invalidValue(`${field}.${kind}.key`, reference.key, text)),
      );
  }
  return errors;
}

/** Validates a reference to a field of the pod. */
export function validateFieldRef(reference: any, field: string, plain: ReadonlySet<string>): FieldError[] {
  const path: string = reference.fieldPath ?? '';
  if (!path) return [required(`${field}.fieldPath`)];
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed || plain.has(path)) return [];
  if (/^(metadata|spec|status)\./.test(path)) {
    const supported = [...plain].sort();
    return [notSupported(`${field}.fieldPath`, path, supported)];
  }
  return [invalidValue(`${field}.fieldPath`, path, `error converting fieldPath: field label not supported: ${path}`)];
}

/** Validates a reference to a container's resources. */
export function validateResourceRef(reference: any, field: string, withContainer = false): FieldError[] {
  const errors: FieldError[] = [];
  if (withContainer && !reference.containerName) errors.push(required(`${field}.containerName`));
  const name: string = reference.resource ?? '';
  if (!name) errors.push(required(`${field}.resource`));
  else if (!resourceFields.includes(name) && !/^(requests|limits)\.hugepages-/.test(name)) {
    errors.push(notSupported(`${field}.resource`, name, resourceFields));
  }
  return errors;
}

function validateMounts(container: any, field: string, scope: PodScope): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  (container.volumeMounts ?? []).forEach((mount: any, index: number) => {
    const at = `${field}.volumeMounts[${index}]`;
    if (!mount.name) errors.push(required(`${at}.name`));
    else if (!scope.volumes.has(mount.name)) errors.push(notFoundValue(`${at}.name`, mount.name));
    if (!mount.mountPath) errors.push(required(`${at}.mountPath`));
    else if (paths.has(mount.mountPath))
      errors.push(invalidValue(`${at}.mountPath`, mount.mountPath, 'must be unique'));
    paths.add(mount.mountPath);
    for (const key of ['subPath', 'subPathExpr']) {
      if (mount[key]) errors.push(...validateLocalPath(mount[key], `${at}.${key}`));
    }
    if (mount.subPath && mount.subPathExpr) {
      errors.push(
        invalidValue(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'),
      );
    }
    const propagations = ['Bidirectional', 'HostToContainer', 'None'];
    if (mount.mountPropagation && !propagations.includes(mount.mountPropagation)) {
      errors.push(notSupported(`${at}.mountPropagation`, mount.mountPropagation, propagations));
    }
    if (mount.mountPropagation === 'Bidirectional' && !container.securityContext?.privileged) {
      const text = 'Bidirectional mount propagation is available only to privileged containers';
      errors.push(forbiddenField(`${at}.mountPropagation`, text));
    }
  });
  (container.volumeDevices ?? []).forEach((device: any, index: number) => {
    const at = `${field}.volumeDevices[${index}]`;
    if (!device.name) errors.push(required(`${at}.name`));
    else if (!scope.volumes.has(device.name)) errors.push(notFoundValue(`${at}.name`, device.name));
    if (!device.devicePath) errors.push(required(`${at}.devicePath`));
  });
  return errors;
}

/** A path below a volume: relative, without steps back. */
export function validateLocalPath(path: string, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (path.startsWith('/')) errors.push(invalidValue(field, path, 'must be a relative path'));
  if (path.split('/').includes('..')) errors.push(invalidValue(field, path, "must not contain '..'"));
  return errors;
}

function validateSecurityContext(context: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const key of ['runAsUser', 'runAsGroup']) {
    const id = context[key];
    if (id != null && (id < 0 || id > 2147483647)) {
      errors.push(invalidValue(`${field}.${key}`, id, 'must be between 0 and 2147483647, inclusive'));
    }
  }
  const procMounts = ['Default', 'Unmasked'];
  if (context.procMount && !procMounts.includes(context.procMount)) {
    errors.push(notSupported(`${field}.procMount`, context.procMount, procMounts));
  }
  if (context.allowPrivilegeEscalation === false) {
    const at = `${field}`;
    if (context.privileged) {
      const text = 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true';
      errors.push(invalidValue(at, context, text));
    }
    if ((context.capabilities?.add ?? []).includes('CAP_SYS_ADMIN')) {
      const text = 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN';
      errors.push(invalidValue(at, context, text));
    }
  }
  errors.push(...validateSeccomp(context.seccompProfile, `${field}.seccompProfile`));
  return errors;
}

/** Validates a seccomp profile of a pod or container. */
export function validateSeccomp(profile: any, field: string): FieldError[] {
  if (!profile) return [];
  const types = ['Localhost', 'RuntimeDefault', 'Unconfined'];
  if (!types.includes(profile.type)) return [notSupported(`${field}.type`, profile.type, types)];
  if (profile.type === 'Localhost') {
    if (!profile.localhostProfile)
      return [required(`${field}.localhostProfile`, 'must be set when seccomp type is Localhost')];
    return validateLocalPath(profile.localhostProfile, `${field}.localhostProfile`);
  }
  if (profile.localhostProfile) {
    const text = 'can only be set when seccomp type is Localhost';
    return [invalidValue(`${field}.localhostProfile`, profile.localhostProfile, text)];
  }
  return [];
}

/** Object names that a container or volume refers to. */
export const checkReferenceName = checkSubdomain;
