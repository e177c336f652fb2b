import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError, ObjectContext, ResourceRules } from '../extension-points.ts';
import { type PodScope, validateContainer } from './container-validation.ts';
import { forbiddenField } from './field-errors.ts';
import { podCells } from './pod-cells.ts';
import { setPodSpecDefaults } from './pod-defaults.ts';
import { qosClassOf } from './pod-resources.ts';
import { validatePodUpdate } from './pod-update.ts';
import { validatePodSpec } from './pod-validation.ts';
import { validateResize } from './resize-validation.ts';

/** The rules of Pods. */
export const podRules: ResourceRules = {
  hasGeneration: true,
  setDefaults: (pod) => {
    pod.spec ??= {};
    setPodSpecDefaults(pod.spec, true);
  },
  prepareForCreate: (pod) => {
    pod.status = { phase: 'Pending', qosClass: safeQosClass(pod.spec) };
    const gates = pod.spec.schedulingGates;
    if (gates?.length > 0) {
      const message = 'Scheduling is blocked due to non-empty scheduling gates';
      const condition = { type: 'PodScheduled', status: 'False', reason: 'SchedulingGated', message };
      pod.status.conditions = [condition];
    }
  },
  prepareForUpdate: (pod, old, context) => {
    // The class of a pod is decided once.
    if (context.subresource === 'status' && pod.status) pod.status.qosClass ??= old.status?.qosClass;
    if (context.subresource === 'status' && pod.status && !pod.status.qosClass) delete pod.status.qosClass;
  },
  validate: validatePod,
  graceSeconds: podGraceSeconds,
  selectableFields: ({ spec = {}, status = {} }) => ({
    'spec.nodeName': spec.nodeName ?? '',
    'spec.restartPolicy': spec.restartPolicy ?? '',
    'spec.schedulerName': spec.schedulerName ?? '',
    'spec.serviceAccountName': spec.serviceAccountName ?? '',
    'spec.hostNetwork': String(spec.hostNetwork ?? false),
    'status.phase': status.phase ?? '',
    'status.podIP': status.podIP ?? '',
    'status.podIPs': status.podIPs?.[0]?.ip ?? '',
    'status.nominatedNodeName': status.nominatedNodeName ?? '',
  }),
  tableCells: podCells,
};

/** A quantity that cannot be read is named by validation afterwards. */
function safeQosClass(spec: any): string {
  try {
    return qosClassOf(spec);
  } catch {
    return 'BestEffort';
  }
}

/** A pod that no node runs goes at once; otherwise the node is given time to end it. */
function podGraceSeconds(pod: any, requested: number | undefined): number {
  const grace = requested ?? pod.spec.terminationGracePeriodSeconds ?? 30;
  if (!pod.spec.nodeName || pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded') return 0;
  return grace < 0 ? 1 : grace;
}

function validatePod(pod: any, old: any | undefined, context: ObjectContext): FieldError[] {
  if (context.subresource === 'status') return [];
  if (!old) {
    const errors = validatePodSpec(pod.spec, 'spec');
    if (pod.spec.ephemeralContainers?.length) {
      errors.push(forbiddenField('spec.ephemeralContainers', 'cannot be set on create'));
    }
    if (pod.spec.nodeName && pod.spec.schedulingGates?.length) {
      errors.push(forbiddenField('spec.nodeName', 'cannot be set until all schedulingGates have been cleared'));
    }
    return errors;
  }
  if (context.subresource === 'ephemeralcontainers') return validateEphemeral(pod, old);
  if (context.subresource === 'resize') return validateResize(pod, old);
  if (deepEqual(pod.spec, old.spec)) return [];
  return [...validatePodSpec(pod.spec, 'spec'), ...validatePodUpdate(pod, old)];
}

const notForEphemeral = ['ports', 'livenessProbe', 'readinessProbe', 'startupProbe', 'lifecycle', 'resizePolicy'];

/** Ephemeral containers are only ever added. */
function validateEphemeral(pod: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  const field = 'spec.ephemeralContainers';
  const now: any[] = pod.spec.ephemeralContainers ?? [];
  const byName = new Map(now.map((container) => [container.name, container]));
  for (const before of old.spec.ephemeralContainers ?? []) {
    const after = byName.get(before.name);
    if (!after) errors.push(forbiddenField(field, `existing ephemeral containers "${before.name}" may not be removed`));
    else if (!deepEqual(before, after)) {
      errors.push(forbiddenField(field, `existing ephemeral containers "${before.name}" may not be changed`));
    }
  }
  const scope: PodScope = {
    volumes: new Map((pod.spec.volumes ?? []).map((volume: any) => [volume.name, volume])),
    claims: [],
    hostNetwork: pod.spec.hostNetwork ?? false,
    restartPolicy: pod.spec.restartPolicy,
  };
  const others = new Set([...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])].map(({ name }) => name));
  now.forEach((container, index) => {
    const at = `${field}[${index}]`;
    errors.push(...validateContainer(container, at, scope));
    if (others.has(container.name)) {
      errors.push({
        field: `${at}.name`,
        reason: 'FieldValueDuplicate',
        message: `Duplicate value: "${container.name}"`,
      });
    }
    others.add(container.name);
    for (const key of notForEphemeral) {
      if (container[key]) errors.push(forbiddenField(`${at}.${key}`, 'cannot be set for an Ephemeral Container'));
    }
    const target = container.targetContainerName;
    if (
      target &&
      ![...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])].some(({ name }) => name === target)
    ) {
      errors.push({
        field: `${at}.targetContainerName`,
        reason: 'FieldValueNotFound',
        message: `Not found: "${target}"`,
      });
    }
  });
  return errors;
}
