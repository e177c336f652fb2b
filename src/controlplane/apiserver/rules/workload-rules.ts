import { matchLabelSelector } from '../../../api/index.ts';
import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ResourceRules } from '../extension-points.ts';
import { immutableText, invalidValue, notSupported, required } from './field-errors.ts';
import { validateLabelSelector } from './metadata-validation.ts';
import { setTemplateDefaults } from './pod-defaults.ts';
import { differences } from './pod-update.ts';
import { validateTemplate } from './pod-validation.ts';

/** A number that may not be negative. */
export function notNegative(holder: any, key: string, field: string): FieldError[] {
  const value = holder?.[key];
  if (value === undefined || value === null || value >= 0) return [];
  return [invalidValue(`${field}.${key}`, value, 'must be greater than or equal to 0')];
}

/** A field that stays as it was. */
export function unchanged(now: unknown, old: unknown, field: string): FieldError[] {
  return deepEqual(now, old) ? [] : [invalidValue(field, now ?? null, immutableText)];
}

/** A selector that selects something, and the template it must select. */
function validateSelection(spec: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  const { selector } = spec;
  if (!selector) errors.push(required('spec.selector'));
  else {
    const wrong = validateLabelSelector(selector, 'spec.selector');
    errors.push(...wrong);
    const empty = !Object.keys(selector.matchLabels ?? {}).length && !selector.matchExpressions?.length;
    if (empty) errors.push(invalidValue('spec.selector', selector, 'empty selector is invalid for deployment'));
    else if (wrong.length === 0 && !matchLabelSelector(selector)(spec.template?.metadata?.labels ?? {})) {
      const labels = spec.template?.metadata?.labels ?? null;
      errors.push(invalidValue('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
    }
  }
  if (old) errors.push(...unchanged(spec.selector, old.spec.selector, 'spec.selector'));
  return errors;
}

const always = ['Always'];

/** A number, or a percentage. */
function validateAmount(value: unknown, field: string): FieldError[] {
  if (typeof value === 'number')
    return value >= 0 ? [] : [invalidValue(field, value, 'must be greater than or equal to 0')];
  if (typeof value === 'string' && /^\d+%$/.test(value)) return [];
  const text =
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
  return [invalidValue(field, value, text)];
}

const isZero = (value: unknown): boolean => value === 0 || value === '0%';

/** Rules of Deployments. */
export const deploymentRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    spec.replicas ??= 1;
    spec.strategy ??= {};
    spec.strategy.type ||= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate') {
      spec.strategy.rollingUpdate ??= {};
      spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
      spec.strategy.rollingUpdate.maxSurge ??= '25%';
    }
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    setTemplateDefaults(spec.template);
  },
  validate: ({ spec }, old) => {
    const errors = [...notNegative(spec, 'replicas', 'spec'), ...validateSelection(spec, old)];
    errors.push(...validateTemplate(spec.template, 'spec.template', always));
    const { type, rollingUpdate } = spec.strategy;
    if (!['Recreate', 'RollingUpdate'].includes(type)) {
      errors.push(notSupported('spec.strategy.type', type, ['Recreate', 'RollingUpdate']));
    }
    if (type === 'Recreate' && rollingUpdate) {
      const message = "Forbidden: may not be specified when strategy `type` is 'Recreate'";
      errors.push({ field: 'spec.strategy.rollingUpdate', reason: 'FieldValueForbidden', message });
    } else if (rollingUpdate) {
      const at = 'spec.strategy.rollingUpdate';
      errors.push(...validateAmount(rollingUpdate.maxUnavailable, `${at}.maxUnavailable`));
      errors.push(...validateAmount(rollingUpdate.maxSurge, `${at}.maxSurge`));
      if (isZero(rollingUpdate.maxUnavailable) && isZero(rollingUpdate.maxSurge)) {
        const text = 'may not be 0 when `maxSurge` is 0';
        errors.push(invalidValue(`${at}.maxUnavailable`, rollingUpdate.maxUnavailable, text));
      }
    }
    errors.push(...notNegative(spec, 'minReadySeconds', 'spec'), ...notNegative(spec, 'revisionHistoryLimit', 'spec'));
    if (spec.progressDeadlineSeconds <= (spec.minReadySeconds ?? 0)) {
      const text = 'must be greater than minReadySeconds';
      errors.push(invalidValue('spec.progressDeadlineSeconds', spec.progressDeadlineSeconds, text));
    }
    return errors;
  },
};

/** Rules of ReplicaSets. */
export const replicaSetRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    spec.replicas ??= 1;
    setTemplateDefaults(spec.template);
  },
  prepareForCreate: (object) => {
    object.status = { replicas: 0 };
  },
  validate: ({ spec }, old) => [
    ...notNegative(spec, 'replicas', 'spec'),
    ...notNegative(spec, 'minReadySeconds', 'spec'),
    ...validateSelection(spec, old),
    ...validateTemplate(spec.template, 'spec.template', always),
  ],
  selectableFields: ({ status = {} }) => ({ 'status.replicas': String(status.replicas ?? 0) }),
};

/** Rules of ReplicationControllers: their selector is a plain set of labels, taken from the template when it is left out. */
export const replicationControllerRules: ResourceRules = {
  setDefaults: (object) => {
    const { spec } = object;
    const labels = spec.template?.metadata?.labels;
    if (labels && !Object.keys(spec.selector ?? {}).length) spec.selector = { ...labels };
    if (labels && !Object.keys(object.metadata.labels ?? {}).length) object.metadata.labels = { ...labels };
    spec.replicas ??= 1;
    setTemplateDefaults(spec.template);
  },
  prepareForCreate: (object) => {
    object.status = { replicas: 0 };
  },
  validate: ({ spec }) => {
    const errors = notNegative(spec, 'replicas', 'spec');
    if (!Object.keys(spec.selector ?? {}).length) errors.push(required('spec.selector'));
    else if (!matchLabelSelector({ matchLabels: spec.selector })(spec.template?.metadata?.labels ?? {})) {
      const text = '`selector` does not match template `labels`';
      errors.push(invalidValue('spec.template.metadata.labels', spec.template?.metadata?.labels ?? null, text));
    }
    if (!spec.template) return [...errors, required('spec.template')];
    return [...errors, ...validateTemplate(spec.template, 'spec.template', always)];
  },
  selectableFields: ({ status = {} }) => ({ 'status.replicas': String(status.replicas ?? 0) }),
};

/** Rules of DaemonSets. */
export const daemonSetRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ||= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
      spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
    }
    spec.revisionHistoryLimit ??= 10;
    setTemplateDefaults(spec.template);
  },
  prepareForCreate: (object) => {
    object.status = { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
  },
  validate: ({ spec }, old) => {
    const errors = [...validateSelection(spec, old), ...validateTemplate(spec.template, 'spec.template', always)];
    if (!['OnDelete', 'RollingUpdate'].includes(spec.updateStrategy.type)) {
      errors.push(notSupported('spec.updateStrategy', spec.updateStrategy.type, ['RollingUpdate', 'OnDelete']));
    }
    return [...errors, ...notNegative(spec, 'minReadySeconds', 'spec')];
  },
};

const statefulSetFields = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

/** Rules of StatefulSets. */
export const statefulSetRules: ResourceRules = {
  setDefaults: ({ spec }) => {
    spec.podManagementPolicy ||= 'OrderedReady';
    spec.updateStrategy ??= {};
    spec.updateStrategy.type ||= 'RollingUpdate';
    if (spec.updateStrategy.type === 'RollingUpdate') {
      spec.updateStrategy.rollingUpdate ??= {};
      spec.updateStrategy.rollingUpdate.partition ??= 0;
    }
    spec.persistentVolumeClaimRetentionPolicy ??= {};
    spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= 'Retain';
    spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= 'Retain';
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    for (const claim of spec.volumeClaimTemplates ?? []) {
      claim.apiVersion ||= 'v1';
      claim.kind ||= 'PersistentVolumeClaim';
      claim.spec ??= {};
      claim.spec.volumeMode ||= 'Filesystem';
      claim.status ??= { phase: 'Pending' };
    }
    setTemplateDefaults(spec.template);
  },
  prepareForCreate: (object) => {
    object.status = { replicas: 0, availableReplicas: 0 };
  },
  validate: ({ spec }, old) => {
    // Mounts of the claims are volumes too, by the name of the claim.
    const claims = (spec.volumeClaimTemplates ?? []).map((claim: any) => ({
      name: claim.metadata?.name,
      persistentVolumeClaim: { claimName: claim.metadata?.name },
    }));
    const names = new Set((spec.template?.spec?.volumes ?? []).map(({ name }: any) => name));
    const volumes = [...(spec.template?.spec?.volumes ?? []), ...claims.filter(({ name }: any) => !names.has(name))];
    const template = { ...spec.template, spec: { ...spec.template?.spec, volumes } };
    const errors = [
      ...notNegative(spec, 'replicas', 'spec'),
      ...validateSelection(spec, undefined),
      ...validateTemplate(template, 'spec.template', always),
    ];
    if (!['OrderedReady', 'Parallel'].includes(spec.podManagementPolicy)) {
      errors.push(notSupported('spec.podManagementPolicy', spec.podManagementPolicy, ['OrderedReady', 'Parallel']));
    }
    if (old) errors.push(...validateStatefulSetChange(spec, old.spec));
    return errors;
  },
};

function validateStatefulSetChange(spec: any, old: any): FieldError[] {
  const rest = (one: any) =>
    Object.fromEntries(Object.entries(one).filter(([key]) => !statefulSetFields.includes(key)));
  if (differences(rest(old), rest(spec)).length === 0) return [];
  const list = statefulSetFields.map((name) => `'${name}'`);
  const text = `updates to statefulset spec for fields other than ${list.slice(0, -1).join(', ')} and ${list.at(-1)} are forbidden`;
  return [{ field: 'spec', reason: 'FieldValueForbidden', message: `Forbidden: ${text}` }];
}
