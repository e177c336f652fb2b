/** What the cluster adds to pods, nodes and claims: priorities, tolerations, taints, the default storage class. */
import type { AdmissionPlugin } from '../apiserver/extension-points.ts';
import { StatusError } from '../apiserver/status-error.ts';
import { isPodCreate, refuse } from './refuse.ts';

/** Turns the name of a PriorityClass into a number, and keeps pods from choosing the number themselves. */
export const priority: AdmissionPlugin = {
  name: 'Priority',
  mutate: (request) => {
    if (!isPodCreate(request)) return;
    const { spec } = request.object;
    const { registry } = request;
    let found: any;
    if (spec.priorityClassName) {
      found = registry.get('scheduling.k8s.io/priorityclasses', '', spec.priorityClassName);
      if (!found) throw refuse(request, `no PriorityClass with name ${spec.priorityClassName} was found`);
    } else {
      const defaults = registry.list<any>('scheduling.k8s.io/priorityclasses').filter((one) => one.globalDefault);
      found = defaults.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
      if (found) spec.priorityClassName = found.metadata.name;
    }
    const value: number = found?.value ?? 0;
    if (spec.priority !== undefined && spec.priority !== value) {
      throw refuse(
        request,
        `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
      );
    }
    spec.priority = value;
    const policy: string = found?.preemptionPolicy ?? 'PreemptLowerPriority';
    if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
      throw refuse(
        request,
        `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
      );
    }
    spec.preemptionPolicy = policy;
  },
  validate: (request) => {
    const { resource, operation, object, registry, name } = request;
    if (resource.plural !== 'priorityclasses' || operation === 'DELETE' || !object?.globalDefault) return;
    const other = registry
      .list<any>('scheduling.k8s.io/priorityclasses')
      .find((one) => one.globalDefault && one.metadata.name !== name);
    if (!other) return;
    const text = `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`;
    throw refuse(request, text);
  },
};

const notReady = 'node.kubernetes.io/not-ready';
const unreachable = 'node.kubernetes.io/unreachable';

/** Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: 'DefaultTolerationSeconds',
  mutate: (request) => {
    if (!isPodCreate(request)) return;
    const { spec } = request.object;
    const tolerated = (key: string) =>
      (spec.tolerations ?? []).some(
        (one: any) => (one.key === key || !one.key) && (one.effect === 'NoExecute' || !one.effect),
      );
    for (const key of [notReady, unreachable]) {
      if (tolerated(key)) continue;
      spec.tolerations ??= [];
      spec.tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
    }
  },
};

/** A new node takes no pods before it is ready. */
export const taintNodesByCondition: AdmissionPlugin = {
  name: 'TaintNodesByCondition',
  mutate: (request) => {
    const { resource, operation, subresource, object } = request;
    if (operation !== 'CREATE' || resource.group !== '' || resource.plural !== 'nodes' || subresource !== '') return;
    const taints: any[] = object.spec?.taints ?? [];
    if (taints.some(({ key, effect }) => key === notReady && effect === 'NoSchedule')) return;
    object.spec = { ...object.spec, taints: [...taints, { key: notReady, effect: 'NoSchedule' }] };
  },
};

const defaultClass = 'storageclass.kubernetes.io/is-default-class';

/** Claims that name no class get the default one, the newest when there are several. */
export const defaultStorageClass: AdmissionPlugin = {
  name: 'DefaultStorageClass',
  mutate: (request) => {
    const { resource, operation, subresource, object, registry } = request;
    if (operation !== 'CREATE' || resource.plural !== 'persistentvolumeclaims' || subresource !== '') return;
    if (object.spec?.storageClassName !== undefined && object.spec.storageClassName !== null) return;
    const classes = registry
      .list('storage.k8s.io/storageclasses')
      .filter(({ metadata }) => metadata.annotations?.[defaultClass] === 'true')
      .sort((a, b) => String(b.metadata.creationTimestamp).localeCompare(String(a.metadata.creationTimestamp)));
    if (classes[0]) object.spec.storageClassName = classes[0].metadata.name;
  },
};

/** A RuntimeClass says what it costs and where it can run. */
export const runtimeClass: AdmissionPlugin = {
  name: 'RuntimeClass',
  mutate: (request) => {
    if (!isPodCreate(request)) return;
    const { spec } = request.object;
    if (!spec.runtimeClassName) {
      if (spec.overhead)
        throw refuse(request, 'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead');
      return;
    }
    const found: any = request.registry.get('node.k8s.io/runtimeclasses', '', spec.runtimeClassName);
    if (!found) throw refuse(request, `pod rejected: RuntimeClass "${spec.runtimeClassName}" not found`);
    if (found.overhead?.podFixed) spec.overhead = { ...found.overhead.podFixed };
    for (const [key, value] of Object.entries(found.scheduling?.nodeSelector ?? {})) {
      if (spec.nodeSelector?.[key] !== undefined && spec.nodeSelector[key] !== value) {
        throw new StatusError(
          403,
          'Forbidden',
          `pods "${request.name}" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${spec.nodeSelector[key]}`,
        );
      }
      spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
    }
    if (found.scheduling?.tolerations)
      spec.tolerations = [...(spec.tolerations ?? []), ...found.scheduling.tolerations];
  },
};
