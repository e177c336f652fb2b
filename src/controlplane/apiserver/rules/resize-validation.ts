import { deepEqual } from '../../../api/patch/index.ts';
import type { FieldError } from '../extension-points.ts';
import { forbiddenField, invalidValue } from './field-errors.ts';
import { qosClassOf } from './pod-resources.ts';
import { validatePodSpec } from './pod-validation.ts';

const lists = ['containers', 'initContainers'] as const;
const resizable = ['cpu', 'memory'] as const;

/** Validates a change of a pod's resources: processors and memory of containers and of the pod as a whole. */
export function validateResize(pod: any, old: any): FieldError[] {
  if (old.metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined)
    return [forbiddenField('', 'static pods cannot be resized')];
  if (old.spec.os?.name === 'windows') return [forbiddenField('', 'windows pods cannot be resized')];
  const errors = validatePodSpec(pod.spec, 'spec');
  if (errors.length > 0) return errors;
  const before = old.status?.qosClass ?? qosClassOf(old.spec);
  if (qosClassOf(pod.spec) !== before)
    errors.push(invalidValue('spec', before, 'Pod QOS Class may not change as a result of resizing'));
  const running = old.status?.containerStatuses?.find(({ state }: any) => state?.running);
  if (running && !running.resources)
    errors.push(forbiddenField('spec', 'Pod running on node without support for resize'));
  errors.push(...validatePodLevel(pod.spec.resources, old.spec.resources));
  const order = validateOrder(pod.spec, old.spec);
  if (order.length > 0) return [...errors, ...order];
  for (const list of lists) {
    (old.spec[list] ?? []).forEach((container: any, index: number) => {
      errors.push(...validateContainerResize(pod.spec[list][index], container, `spec.${list}[${index}]`, list));
    });
  }
  return errors;
}

function validateOrder(spec: any, old: any): FieldError[] {
  return lists.flatMap((list) => {
    const [now, before] = [spec[list] ?? [], old[list] ?? []];
    if (now.length !== before.length)
      return [forbiddenField(`spec.${list}`, `${list} may not be added or removed on resize`)];
    const index = before.findIndex((container: any, at: number) => now[at].name !== container.name);
    if (index < 0) return [];
    return [forbiddenField(`spec.${list}[${index}].name`, `${list} may not be renamed or reordered on resize`)];
  });
}

function validateContainerResize(now: any, old: any, field: string, list: (typeof lists)[number]): FieldError[] {
  const errors: FieldError[] = [];
  for (const kind of ['requests', 'limits'] as const) {
    if (isRemoved(now.resources?.[kind], old.resources?.[kind]))
      errors.push(forbiddenField(`${field}.resources.${kind}`, `resource ${kind} cannot be removed`));
  }
  const isInit = list === 'initContainers';
  if (!deepEqual(masked(now), masked(old))) {
    const text = 'only cpu and memory resources for init or sidecar containers are mutable';
    errors.push(
      isInit ? forbiddenField(field, text) : forbiddenField('spec', 'only cpu and memory resources are mutable'),
    );
  }
  const ordinary = isInit && old.restartPolicy !== 'Always';
  const restarts = old.resizePolicy?.some(({ restartPolicy }: any) => restartPolicy === 'RestartContainer');
  if (ordinary && restarts && !deepEqual(now.resources, old.resources)) {
    const text = 'non-sidecar init containers with a resize policy of RestartContainer cannot be resized';
    errors.push(forbiddenField(field, text));
  }
  return errors;
}

/** The container without what may be changed. */
function masked(container: any): unknown {
  return {
    ...container,
    resizePolicy: container.resizePolicy ?? null,
    resources: maskedResources(container.resources),
  };
}

function maskedResources(resources: any): unknown {
  const without = (list: any = {}) =>
    Object.fromEntries(Object.entries(list).filter(([name]) => !resizable.includes(name as 'cpu')));
  return {
    claims: resources?.claims ?? null,
    limits: without(resources?.limits),
    requests: without(resources?.requests),
  };
}

function validatePodLevel(now: any, old: any): FieldError[] {
  const errors: FieldError[] = [];
  if (old && !now) return [forbiddenField('spec.resources', 'pod-level resources cannot be removed')];
  for (const kind of ['requests', 'limits'] as const) {
    if (isRemoved(now?.[kind], old?.[kind]))
      errors.push(forbiddenField(`spec.resources.${kind}`, `pod-level resource ${kind} cannot be removed`));
  }
  if (!deepEqual(maskedResources(now), maskedResources(old)))
    errors.push(forbiddenField('spec', 'only cpu and memory resources are mutable at pod-level'));
  return errors;
}

const isRemoved = (now: any = {}, old: any = {}): boolean => Object.keys(old).some((name) => now[name] === undefined);
