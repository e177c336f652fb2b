import { resources } from '../../../api/index.ts';
import { resourceRows } from '../../../api/schema/index.ts';
import type { ResourceRules } from '../extension-points.ts';
import {
  configMapRules,
  eventRules,
  leaseRules,
  namespaceRules,
  nodeRules,
  priorityClassRules,
  runtimeClassRules,
  secretRules,
} from './cluster-rules.ts';
import { csiDriverRules, csiNodeRules, csiStorageCapacityRules, volumeAttachmentRules } from './csi-rules.ts';
import { cronJobRules, jobRules } from './job-rules.ts';
import { type NameCheck, usualName, validateMetadata } from './metadata-validation.ts';
import { moreTableCells } from './more-table-cells.ts';
import { checkLabelName, checkPathSegment, checkServiceName } from './names.ts';
import {
  autoscalerRules,
  disruptionBudgetRules,
  endpointSliceRules,
  endpointsRules,
  ingressRules,
  networkPolicyRules,
  signingRequestRules,
} from './network-rules.ts';
import { setTemplateDefaults } from './pod-defaults.ts';
import { podRules } from './pod-rules.ts';
import { bindingRules, clusterRoleRules, roleRules } from './rbac-rules.ts';
import type { ServiceAllocator } from './service-allocator.ts';
import { serviceRules } from './service-rules.ts';
import { claimRules, storageClassRules, volumeRules } from './storage-rules.ts';
import { tableCells } from './table-cells.ts';
import {
  daemonSetRules,
  deploymentRules,
  replicaSetRules,
  replicationControllerRules,
  statefulSetRules,
} from './workload-rules.ts';

export { type AddressRange, addressAt, familyOf, parseRange } from './address-range.ts';
export { systemPriorities } from './cluster-rules.ts';
export { podRequests, qosClassOf } from './pod-resources.ts';
export { ServiceAllocator } from './service-allocator.ts';

const rbac = 'rbac.authorization.k8s.io';

/** How the names of a kind must look, where it is not the usual way. */
const nameChecks: Record<string, NameCheck> = {
  namespaces: checkLabelName,
  services: checkServiceName,
  [`${rbac}/roles`]: checkPathSegment,
  [`${rbac}/rolebindings`]: checkPathSegment,
  [`${rbac}/clusterroles`]: checkPathSegment,
  [`${rbac}/clusterrolebindings`]: checkPathSegment,
  'networking.k8s.io/ipaddresses': checkPathSegment,
  'flowcontrol.apiserver.k8s.io/flowschemas': checkPathSegment,
  'flowcontrol.apiserver.k8s.io/prioritylevelconfigurations': checkPathSegment,
};

/** Kinds whose metadata.generation counts changes of spec, beside those whose rules say so. */
const withGeneration = new Set([
  'apps/deployments',
  'apps/replicasets',
  'apps/daemonsets',
  'apps/statefulsets',
  'replicationcontrollers',
  'batch/jobs',
  'batch/cronjobs',
  'apiextensions.k8s.io/customresourcedefinitions',
  'flowcontrol.apiserver.k8s.io/flowschemas',
  'flowcontrol.apiserver.k8s.io/prioritylevelconfigurations',
  'admissionregistration.k8s.io/mutatingwebhookconfigurations',
  'admissionregistration.k8s.io/validatingwebhookconfigurations',
  'admissionregistration.k8s.io/validatingadmissionpolicies',
  'admissionregistration.k8s.io/validatingadmissionpolicybindings',
]);

function ownRules(allocator: ServiceAllocator): Record<string, ResourceRules> {
  return {
    pods: podRules,
    services: serviceRules(allocator),
    namespaces: namespaceRules,
    nodes: nodeRules,
    configmaps: configMapRules,
    secrets: secretRules,
    events: eventRules,
    endpoints: endpointsRules,
    persistentvolumeclaims: claimRules,
    persistentvolumes: volumeRules,
    replicationcontrollers: replicationControllerRules,
    podtemplates: { setDefaults: (object) => setTemplateDefaults(object.template) },
    'apps/deployments': deploymentRules,
    'apps/replicasets': replicaSetRules,
    'apps/daemonsets': daemonSetRules,
    'apps/statefulsets': statefulSetRules,
    'batch/jobs': jobRules,
    'batch/cronjobs': cronJobRules,
    'autoscaling/horizontalpodautoscalers': autoscalerRules,
    'discovery.k8s.io/endpointslices': endpointSliceRules,
    'networking.k8s.io/ingresses': ingressRules,
    'networking.k8s.io/networkpolicies': networkPolicyRules,
    'policy/poddisruptionbudgets': disruptionBudgetRules,
    'certificates.k8s.io/certificatesigningrequests': signingRequestRules,
    'coordination.k8s.io/leases': leaseRules,
    'storage.k8s.io/storageclasses': storageClassRules,
    'storage.k8s.io/csidrivers': csiDriverRules,
    'storage.k8s.io/csinodes': csiNodeRules,
    'storage.k8s.io/csistoragecapacities': csiStorageCapacityRules,
    'storage.k8s.io/volumeattachments': volumeAttachmentRules,
    'scheduling.k8s.io/priorityclasses': priorityClassRules,
    'node.k8s.io/runtimeclasses': runtimeClassRules,
    [`${rbac}/roles`]: roleRules,
    [`${rbac}/clusterroles`]: clusterRoleRules,
    [`${rbac}/rolebindings`]: bindingRules(true),
    [`${rbac}/clusterrolebindings`]: bindingRules(false),
  };
}

/** Kinds that have a status of their own, which a create does not set. A kubelet creates its Node with one. */
function kindsWithStatus(): Set<string> {
  const kinds = new Set<string>();
  for (const { group, plural, subresource } of resourceRows) {
    if (subresource === 'status' && plural !== 'nodes') kinds.add(group === '' ? plural : `${group}/${plural}`);
  }
  return kinds;
}

/** The rules of every built-in kind, by `plural` or `group/plural`. */
export function createRules(allocator: ServiceAllocator): Record<string, ResourceRules> {
  const own = ownRules(allocator);
  const withStatus = kindsWithStatus();
  const all: Record<string, ResourceRules> = {};
  for (const { group, plural } of Object.values(resources)) {
    const key = group === '' ? plural : `${group}/${plural}`;
    if (all[key]) continue;
    all[key] = complete(key, own[key] ?? {}, withStatus.has(key));
  }
  return all;
}

/** Adds what all kinds have in common to the rules of one. */
function complete(key: string, rules: ResourceRules, hasStatus: boolean): ResourceRules {
  const checkName = nameChecks[key] ?? usualName;
  const cells = rules.tableCells ?? tableCells[key] ?? moreTableCells[key];
  return {
    hasGeneration: withGeneration.has(key),
    ...rules,
    ...(cells ? { tableCells: cells } : {}),
    prepareForCreate: (object, context) => {
      if (hasStatus) object.status = {};
      return rules.prepareForCreate?.(object, context);
    },
    validate: (object, old, context) => [
      ...validateMetadata(object.metadata, checkName),
      ...(rules.validate?.(object, old, context) ?? []),
    ],
  };
}
