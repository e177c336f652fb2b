import type { FieldError } from '../extension-points.ts';
import { type PodScope, validateContainer, validateSeccomp } from './container-validation.ts';
import { duplicate, forbiddenField, invalidValue, notSupported, required } from './field-errors.ts';
import { validateHostnameOverride } from './life-validation.ts';
import { validateAnnotations, validateLabelSelector, validateLabels } from './metadata-validation.ts';
import { checkIpAddress, checkLabelName, checkLabelValue, checkQualifiedName, checkSubdomain } from './names.ts';
import { validatePodLevelResources } from './pod-level-resources.ts';
import { validatePodUsers } from './pod-users-validation.ts';
import { validateVolumes } from './volume-validation.ts';

const dnsPolicies = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'];

/** Validates a PodSpec. `restartPolicies`: what the kind allows. */
export function validatePodSpec(
  spec: any,
  field: string,
  restartPolicies = ['Always', 'OnFailure', 'Never'],
): FieldError[] {
  const errors = validateVolumes(spec.volumes ?? [], `${field}.volumes`);
  const scope: PodScope = {
    volumes: new Map((spec.volumes ?? []).map((volume: any) => [volume.name, volume])),
    claims: spec.resourceClaims ?? [],
    hostNetwork: spec.hostNetwork ?? false,
    restartPolicy: spec.restartPolicy,
  };
  errors.push(...validateContainers(spec, field, scope));
  errors.push(...validatePodLevelResources(spec, `${field}.resources`));
  if (!restartPolicies.includes(spec.restartPolicy)) {
    errors.push(notSupported(`${field}.restartPolicy`, spec.restartPolicy, restartPolicies));
  }
  if (!dnsPolicies.includes(spec.dnsPolicy))
    errors.push(notSupported(`${field}.dnsPolicy`, spec.dnsPolicy, dnsPolicies));
  errors.push(...validateDnsConfig(spec, `${field}.dnsConfig`));
  errors.push(...validateNames(spec, field));
  errors.push(...validateHostnameOverride(spec, field));
  errors.push(...validateNumbers(spec, field));
  errors.push(...validatePodSecurity(spec, `${field}.securityContext`), ...validatePodUsers(spec, field));
  (spec.tolerations ?? []).forEach((one: any, index: number) => {
    errors.push(...validateToleration(one, `${field}.tolerations[${index}]`));
  });
  errors.push(...validateSpread(spec.topologySpreadConstraints ?? [], `${field}.topologySpreadConstraints`));
  errors.push(...validateAffinity(spec.affinity, `${field}.affinity`));
  (spec.hostAliases ?? []).forEach((alias: any, index: number) => {
    const at = `${field}.hostAliases[${index}].ip`;
    errors.push(...checkIpAddress(alias.ip ?? '').map((text) => invalidValue(at, alias.ip ?? '', text)));
  });
  return errors;
}

function validateContainers(spec: any, field: string, scope: PodScope): FieldError[] {
  const errors: FieldError[] = [];
  if (!(spec.containers?.length > 0)) errors.push(required(`${field}.containers`));
  const names = new Set<string>();
  const hostPorts = new Set<string>();
  for (const list of ['initContainers', 'containers', 'ephemeralContainers']) {
    (spec[list] ?? []).forEach((container: any, index: number) => {
      const at = `${field}.${list}[${index}]`;
      errors.push(...validateContainer(container, at, scope));
      if (names.has(container.name)) errors.push(duplicate(`${at}.name`, container.name));
      names.add(container.name);
      if (list === 'containers') errors.push(...claimHostPorts(container, at, hostPorts));
      if (list === 'initContainers') errors.push(...validateInitContainer(container, at));
    });
  }
  return errors;
}

function claimHostPorts(container: any, field: string, taken: Set<string>): FieldError[] {
  return (container.ports ?? []).flatMap((port: any, index: number) => {
    if (!port.hostPort) return [];
    const key = `${port.protocol}/${port.hostIP ?? ''}/${port.hostPort}`;
    if (taken.has(key)) return [duplicate(`${field}.ports[${index}].hostPort`, key)];
    taken.add(key);
    return [];
  });
}

/** What runs to its end before the others is neither probed nor hooked; what runs beside them may be. */
function validateInitContainer(container: any, field: string): FieldError[] {
  if (container.restartPolicy === 'Always') return [];
  const errors: FieldError[] = [];
  for (const key of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe']) {
    const text = 'may not be set for init containers without restartPolicy=Always';
    if (container[key]) errors.push(forbiddenField(`${field}.${key}`, text));
  }
  return errors;
}

function validateDnsConfig(spec: any, field: string): FieldError[] {
  const config = spec.dnsConfig;
  if (spec.dnsPolicy === 'None') {
    if (!config?.nameservers?.length) {
      return [required(`${field}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None')];
    }
  }
  if (!config) return [];
  const errors: FieldError[] = [];
  if (config.nameservers?.length > 3) {
    errors.push(invalidValue(`${field}.nameservers`, config.nameservers, 'must not have more than 3 nameservers'));
  }
  (config.nameservers ?? []).forEach((address: string, index: number) => {
    const at = `${field}.nameservers[${index}]`;
    errors.push(...checkIpAddress(address).map((text) => invalidValue(at, address, text)));
  });
  if (config.searches?.length > 32) {
    errors.push(invalidValue(`${field}.searches`, config.searches, 'must not have more than 32 search paths'));
  }
  (config.options ?? []).forEach((option: any, index: number) => {
    if (!option.name) errors.push(required(`${field}.options[${index}]`, 'must not be empty'));
  });
  return errors;
}

function validateNames(spec: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const check = (key: string, texts: (value: string) => string[]): void => {
    if (spec[key]) errors.push(...texts(spec[key]).map((text) => invalidValue(`${field}.${key}`, spec[key], text)));
  };
  check('hostname', checkLabelName);
  check('subdomain', checkLabelName);
  check('serviceAccountName', checkSubdomain);
  check('nodeName', checkSubdomain);
  check('priorityClassName', checkSubdomain);
  check('runtimeClassName', checkSubdomain);
  errors.push(...validateLabels(spec.nodeSelector ?? {}, `${field}.nodeSelector`));
  (spec.imagePullSecrets ?? []).forEach((reference: any, index: number) => {
    if (!reference.name) errors.push(required(`${field}.imagePullSecrets[${index}].name`));
  });
  (spec.readinessGates ?? []).forEach((gate: any, index: number) => {
    const at = `${field}.readinessGates[${index}].conditionType`;
    const texts = checkQualifiedName(gate.conditionType ?? '');
    errors.push(...texts.map((text) => invalidValue(at, gate.conditionType ?? '', text)));
  });
  if (spec.preemptionPolicy && !['Never', 'PreemptLowerPriority'].includes(spec.preemptionPolicy)) {
    errors.push(notSupported(`${field}.preemptionPolicy`, spec.preemptionPolicy, ['Never', 'PreemptLowerPriority']));
  }
  if (spec.os && !['linux', 'windows'].includes(spec.os.name)) {
    errors.push(notSupported(`${field}.os.name`, spec.os.name, ['linux', 'windows']));
  }
  return errors;
}

function validateNumbers(spec: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const deadline = spec.activeDeadlineSeconds;
  if (deadline != null && (deadline < 1 || deadline > 2147483647)) {
    errors.push(
      invalidValue(`${field}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive'),
    );
  }
  if (spec.terminationGracePeriodSeconds < 0) {
    const text = 'must be greater than or equal to 0';
    errors.push(invalidValue(`${field}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds, text));
  }
  return errors;
}

const sysctlPattern = /^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/;

function validatePodSecurity(spec: any, field: string): FieldError[] {
  const context = spec.securityContext ?? {};
  const errors: FieldError[] = [];
  for (const key of ['runAsUser', 'runAsGroup', 'fsGroup']) {
    const id = context[key];
    if (id != null && (id < 0 || id > 2147483647)) {
      errors.push(invalidValue(`${field}.${key}`, id, 'must be between 0 and 2147483647, inclusive'));
    }
  }
  const changePolicies = ['Always', 'OnRootMismatch'];
  if (context.fsGroupChangePolicy && !changePolicies.includes(context.fsGroupChangePolicy)) {
    errors.push(notSupported(`${field}.fsGroupChangePolicy`, context.fsGroupChangePolicy, changePolicies));
  }
  const names = new Set<string>();
  (context.sysctls ?? []).forEach((sysctl: any, index: number) => {
    const at = `${field}.sysctls[${index}].name`;
    if (!sysctl.name) errors.push(required(at));
    else if (!sysctlPattern.test(sysctl.name)) {
      const text = `must have at most 253 characters and match regex ${sysctlPattern.source}`;
      errors.push(invalidValue(at, sysctl.name, text));
    } else if (names.has(sysctl.name)) errors.push(duplicate(at, sysctl.name));
    names.add(sysctl.name);
  });
  if (spec.shareProcessNamespace && spec.hostPID) {
    errors.push(
      invalidValue(
        `${field.replace(/\.securityContext$/, '')}.shareProcessNamespace`,
        true,
        'ShareProcessNamespace and HostPID cannot both be enabled',
      ),
    );
  }
  return [...errors, ...validateSeccomp(context.seccompProfile, `${field}.seccompProfile`)];
}

/** Validates one toleration. */
export function validateToleration(toleration: any, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (toleration.key) {
    errors.push(
      ...checkQualifiedName(toleration.key).map((text) => invalidValue(`${field}.key`, toleration.key, text)),
    );
  } else if (toleration.operator !== 'Exists') {
    const text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"';
    errors.push(invalidValue(`${field}.operator`, toleration.operator ?? '', text));
  }
  const operator = toleration.operator || 'Equal';
  if (!['Equal', 'Exists', 'Lt', 'Gt'].includes(operator)) {
    errors.push(notSupported(`${field}.operator`, toleration.operator, ['Equal', 'Exists']));
  }
  if (operator === 'Exists' && toleration.value) {
    const text = "value must be empty when `operator` is 'Exists'";
    errors.push(invalidValue(`${field}.operator`, toleration, text));
  }
  if (operator === 'Equal' && toleration.value) {
    const texts = checkLabelValue(toleration.value);
    errors.push(...texts.map((text) => invalidValue(`${field}.operator`, toleration.value, text)));
  }
  const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
  if (toleration.effect && !effects.includes(toleration.effect)) {
    errors.push(notSupported(`${field}.effect`, toleration.effect, effects));
  }
  if (toleration.tolerationSeconds != null && toleration.effect !== 'NoExecute') {
    const text = "effect must be 'NoExecute' when `tolerationSeconds` is set";
    errors.push(invalidValue(`${field}.effect`, toleration.effect ?? '', text));
  }
  return errors;
}

function validateSpread(constraints: any[], field: string): FieldError[] {
  return constraints.flatMap((one, index) => {
    const at = `${field}[${index}]`;
    const errors: FieldError[] = [];
    if (!(one.maxSkew > 0)) errors.push(invalidValue(`${at}.maxSkew`, one.maxSkew ?? 0, 'must be greater than zero'));
    if (!one.topologyKey) errors.push(required(`${at}.topologyKey`, 'can not be empty'));
    const actions = ['DoNotSchedule', 'ScheduleAnyway'];
    if (!actions.includes(one.whenUnsatisfiable)) {
      errors.push(notSupported(`${at}.whenUnsatisfiable`, one.whenUnsatisfiable ?? '', actions));
    }
    if (one.labelSelector) errors.push(...validateLabelSelector(one.labelSelector, `${at}.labelSelector`));
    return errors;
  });
}

function validateAffinity(affinity: any, field: string): FieldError[] {
  if (!affinity) return [];
  const errors: FieldError[] = [];
  const node = affinity.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const nodeField = `${field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`;
  if (node && !(node.nodeSelectorTerms?.length > 0)) {
    errors.push(required(`${nodeField}.nodeSelectorTerms`, 'must have at least one node selector term'));
  }
  (node?.nodeSelectorTerms ?? []).forEach((term: any, index: number) => {
    errors.push(...validateNodeTerm(term, `${nodeField}.nodeSelectorTerms[${index}]`));
  });
  for (const kind of ['podAffinity', 'podAntiAffinity']) {
    const hard = affinity[kind]?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
    hard.forEach((term: any, index: number) => {
      const at = `${field}.${kind}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`;
      if (!term.topologyKey) errors.push(required(`${at}.topologyKey`, 'can not be empty'));
      if (term.labelSelector) errors.push(...validateLabelSelector(term.labelSelector, `${at}.labelSelector`));
    });
    const soft = affinity[kind]?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    soft.forEach((term: any, index: number) => {
      const at = `${field}.${kind}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      if (!(term.weight >= 1 && term.weight <= 100)) {
        errors.push(invalidValue(`${at}.weight`, term.weight ?? 0, 'must be in the range 1-100'));
      }
      if (!term.podAffinityTerm?.topologyKey) {
        errors.push(required(`${at}.podAffinityTerm.topologyKey`, 'can not be empty'));
      }
    });
  }
  return errors;
}

function validateNodeTerm(term: any, field: string): FieldError[] {
  return (term.matchExpressions ?? []).flatMap((expression: any, index: number) => {
    const at = `${field}.matchExpressions[${index}]`;
    const count = expression.values?.length ?? 0;
    switch (expression.operator) {
      case 'In':
      case 'NotIn':
        return count > 0 ? [] : [required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'")];
      case 'Exists':
      case 'DoesNotExist':
        return count === 0
          ? []
          : [forbiddenField(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")];
      case 'Gt':
      case 'Lt':
        return count === 1
          ? []
          : [required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'")];
      default:
        return [invalidValue(`${at}.operator`, expression.operator ?? '', 'not a valid selector operator')];
    }
  });
}

/** Validates the pod template of a workload. */
export function validateTemplate(template: any, field: string, restartPolicies?: string[]): FieldError[] {
  return [
    ...validateLabels(template?.metadata?.labels ?? {}, `${field}.labels`),
    ...validateAnnotations(template?.metadata?.annotations ?? {}, `${field}.annotations`),
    ...validatePodSpec(template?.spec ?? {}, `${field}.spec`, restartPolicies),
  ];
}
