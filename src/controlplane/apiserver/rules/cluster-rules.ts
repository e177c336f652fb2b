/** Rules of namespaces, nodes, configuration, storage and the rest of the small kinds. */
import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import { forbiddenField, immutableText, invalidValue, notSupported, required, tooLong } from './field-errors.ts';
import { checkConfigKey, checkQualifiedName } from './names.ts';
import { unchanged } from './workload-rules.ts';

const dataLimit = 1024 * 1024;

/** Rules of Namespaces. */
export const namespaceRules: ResourceRules = {
  hasGeneration: false,
  setDefaults: (namespace) => {
    namespace.metadata.labels = {
      ...namespace.metadata.labels,
      'kubernetes.io/metadata.name': namespace.metadata.name,
    };
  },
  prepareForCreate: (namespace) => {
    namespace.spec ??= {};
    const finalizers: string[] = namespace.spec.finalizers ?? [];
    if (!finalizers.includes('kubernetes')) namespace.spec.finalizers = [...finalizers, 'kubernetes'];
    namespace.status = { phase: 'Active' };
  },
  prepareForUpdate: (namespace, old, { subresource }) => {
    if (subresource === '' && old.spec) namespace.spec = { ...namespace.spec, finalizers: old.spec.finalizers };
  },
  selectableFields: ({ status = {} }) => ({ 'status.phase': status.phase ?? '' }),
};

/** Rules of Nodes. */
export const nodeRules: ResourceRules = {
  hasGeneration: false,
  setDefaults: (node) => {
    node.spec ??= {};
  },
  prepareForCreate: (node) => {
    node.status ??= {};
  },
  validate: (node, old) => {
    const errors: FieldError[] = [];
    (node.spec.taints ?? []).forEach((taint: any, index: number) => {
      const at = `spec.taints[${index}]`;
      errors.push(...checkQualifiedName(taint.key ?? '').map((text) => invalidValue(`${at}.key`, taint.key, text)));
      const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
      if (!effects.includes(taint.effect)) errors.push(notSupported(`${at}.effect`, taint.effect ?? '', effects));
    });
    if (old?.spec?.podCIDR && node.spec.podCIDR !== old.spec.podCIDR) {
      errors.push(forbiddenField('spec.podCIDRs', 'node updates may not change podCIDR except from "" to valid'));
    }
    if (old?.spec?.providerID && node.spec.providerID !== old.spec.providerID) {
      errors.push(forbiddenField('spec.providerID', 'node updates may not change providerID except from "" to valid'));
    }
    return errors;
  },
  selectableFields: ({ spec = {} }) => ({ 'spec.unschedulable': String(spec.unschedulable ?? false) }),
};

/** The data of a ConfigMap or Secret: good keys, not too much, unchanged once it is immutable. */
function validateData(
  object: any,
  old: any,
  fields: readonly string[],
  sizeOf: (value: string) => number,
): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const field of fields) {
    for (const [key, value] of Object.entries<string>(object[field] ?? {})) {
      size += sizeOf(value);
      errors.push(...checkConfigKey(key).map((text) => invalidValue(`${field}[${key}]`, key, text)));
      if (field === 'binaryData' && key in (object.data ?? {})) {
        errors.push(invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
      }
    }
  }
  if (size > dataLimit) errors.push(tooLong(fields[0]!, dataLimit));
  if (!old?.immutable) return errors;
  const text = 'field is immutable when `immutable` is set';
  if (!object.immutable) errors.push(forbiddenField('immutable', text));
  for (const field of fields)
    if (!deepEqual(object[field] ?? {}, old[field] ?? {})) errors.push(forbiddenField(field, text));
  return errors;
}

/** Rules of ConfigMaps. */
export const configMapRules: ResourceRules = {
  validate: (object, old) => validateData(object, old, ['data', 'binaryData'], (value) => Buffer.byteLength(value)),
};

/** The keys that a Secret of a type must have. */
const secretKeys: Record<string, readonly string[]> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
};

/** Rules of Secrets. */
export const secretRules: ResourceRules = {
  setDefaults: (secret) => {
    secret.type ||= 'Opaque';
    if (!secret.stringData) return;
    secret.data ??= {};
    for (const [key, value] of Object.entries<string>(secret.stringData)) {
      secret.data[key] = Buffer.from(value).toString('base64');
    }
    delete secret.stringData;
  },
  validate: (secret, old) => {
    const errors = validateData(secret, old, ['data'], (value) => Math.floor((value.length * 3) / 4));
    for (const key of secretKeys[secret.type] ?? []) {
      if (secret.data?.[key] === undefined) errors.push(required(`data[${key}]`));
    }
    const config = secret.data?.['.dockerconfigjson'];
    if (secret.type === 'kubernetes.io/dockerconfigjson' && config !== undefined && !isJson(config)) {
      errors.push(invalidValue('data[.dockerconfigjson]', '<secret contents redacted>', 'invalid character in JSON'));
    }
    if (secret.type === 'kubernetes.io/service-account-token') {
      if (!secret.metadata.annotations?.['kubernetes.io/service-account.name']) {
        errors.push(required('metadata.annotations[kubernetes.io/service-account.name]'));
      }
    }
    if (old) errors.push(...unchanged(secret.type, old.type, 'type'));
    return errors;
  },
  selectableFields: ({ type }) => ({ type: type ?? '' }),
};

function isJson(base64: string): boolean {
  try {
    JSON.parse(Buffer.from(base64, 'base64').toString());
    return true;
  } catch {
    return false;
  }
}

/** Rules of Events: searched by what they are about. */
export const eventRules: ResourceRules = {
  selectableFields: ({ involvedObject = {}, source = {}, reason, type, reportingComponent }) => ({
    'involvedObject.kind': involvedObject.kind ?? '',
    'involvedObject.namespace': involvedObject.namespace ?? '',
    'involvedObject.name': involvedObject.name ?? '',
    'involvedObject.uid': involvedObject.uid ?? '',
    'involvedObject.apiVersion': involvedObject.apiVersion ?? '',
    'involvedObject.resourceVersion': involvedObject.resourceVersion ?? '',
    'involvedObject.fieldPath': involvedObject.fieldPath ?? '',
    'regarding.kind': involvedObject.kind ?? '',
    'regarding.namespace': involvedObject.namespace ?? '',
    'regarding.name': involvedObject.name ?? '',
    'regarding.uid': involvedObject.uid ?? '',
    reason: reason ?? '',
    reportingComponent: reportingComponent ?? '',
    reportingController: reportingComponent ?? '',
    source: source.component ?? reportingComponent ?? '',
    type: type ?? '',
  }),
};

/** Rules of PriorityClasses. */
export const priorityClassRules: ResourceRules = {
  setDefaults: (object) => {
    object.preemptionPolicy ||= 'PreemptLowerPriority';
  },
  validate: (object, old) => {
    const errors: FieldError[] = [];
    const { name } = object.metadata;
    if (name.startsWith('system-') && !(name in systemPriorities)) {
      errors.push(
        forbiddenField('metadata.name', "priority class names with 'system-' prefix are reserved for system use only"),
      );
    } else if (object.value > 1_000_000_000 && !(name in systemPriorities)) {
      const text = `maximum allowed value of a user defined priority is 1000000000`;
      errors.push(forbiddenField('value', text));
    }
    if (old && (object.value ?? 0) !== (old.value ?? 0)) {
      errors.push(forbiddenField('value', 'may not be changed in an update.'));
    }
    return errors;
  },
};

/** The priorities of the system's own classes. */
export const systemPriorities: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

/** Rules of RuntimeClasses. */
export const runtimeClassRules: ResourceRules = {
  validate: (object, old) => {
    const errors: FieldError[] = object.handler ? [] : [required('handler')];
    if (old && object.handler !== old.handler) errors.push(invalidValue('handler', object.handler, immutableText));
    return errors;
  },
};

/** Rules of Leases. */
export const leaseRules: ResourceRules = {
  validate: ({ spec = {} }) => {
    const errors: FieldError[] = [];
    if (spec.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0) {
      errors.push(invalidValue('spec.leaseDurationSeconds', spec.leaseDurationSeconds, 'must be greater than 0'));
    }
    if (spec.leaseTransitions < 0) {
      errors.push(invalidValue('spec.leaseTransitions', spec.leaseTransitions, 'must be greater than or equal to 0'));
    }
    return errors;
  },
};
