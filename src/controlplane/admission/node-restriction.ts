import { deepEqual } from '../../api/patch/index.ts';
import { nodeOf } from '../apiserver/authz/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { isMirrorPod, refuse } from './refuse.ts';

const protectedLabel = 'node-restriction.kubernetes.io/';

/** Keeps a node's kubelet to its own Node, its own pods and its own lease. */
export const nodeRestriction: AdmissionPlugin = {
  name: 'NodeRestriction',
  validate: (request) => {
    const node = nodeOf(request.user);
    if (node === undefined) return;
    const { group, plural } = request.resource;
    if (group === '' && plural === 'pods') checkPod(request, node);
    else if (group === '' && plural === 'nodes') checkNode(request, node);
    else if (group === '' && plural === 'serviceaccounts' && request.subresource === 'token') checkToken(request, node);
    else if (group === 'coordination.k8s.io' && plural === 'leases') {
      if (request.namespace !== 'kube-node-lease' || request.name !== node) {
        throw refuse(request, `can only access node lease with the same name as the requesting node`);
      }
    }
  },
};

function checkPod(request: AdmissionRequest, node: string): void {
  const { operation, subresource, object, oldObject, registry, namespace, name } = request;
  if (subresource === 'eviction' || (operation === 'DELETE' && subresource === '')) {
    const pod: any = registry.get('pods', namespace, name);
    if (pod && pod.spec?.nodeName !== node) {
      throw refuse(
        request,
        `node "${node}" can only ${subresource ? 'evict' : 'delete'} pods with spec.nodeName set to itself`,
      );
    }
    return;
  }
  if (operation === 'CREATE' && subresource === '') {
    if (!isMirrorPod(object))
      throw refuse(
        request,
        `pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`,
      );
    if (object.spec?.nodeName !== node)
      throw refuse(request, `node "${node}" can only create pods with spec.nodeName set to itself`);
    return;
  }
  if (operation !== 'UPDATE' || subresource !== 'status') return;
  if (oldObject?.spec?.nodeName !== node) {
    throw refuse(request, `node "${node}" can only update pod status for pods with spec.nodeName set to itself`);
  }
  if (!deepEqual(object.metadata.labels ?? {}, oldObject.metadata.labels ?? {})) {
    throw refuse(request, `node "${node}" cannot update labels through pod status`);
  }
}

function checkNode(request: AdmissionRequest, node: string): void {
  const { operation, object, oldObject, name } = request;
  const target = name || object?.metadata?.name;
  if (operation === 'DELETE' || target !== node) {
    throw refuse(request, `node "${node}" is not allowed to modify node "${target}"`);
  }
  const changed = Object.keys({ ...object?.metadata?.labels, ...oldObject?.metadata?.labels }).filter(
    (key) => object?.metadata?.labels?.[key] !== oldObject?.metadata?.labels?.[key],
  );
  const wrong = changed.filter(
    (key) => key.startsWith(protectedLabel) || key.split('/')[0]!.endsWith(`.${protectedLabel.slice(0, -1)}`),
  );
  if (wrong.length > 0) {
    throw refuse(request, `is not allowed to modify labels: ${wrong.join(', ')}`);
  }
  if (operation === 'UPDATE' && !deepEqual(object.spec?.taints ?? [], oldObject.spec?.taints ?? [])) {
    throw refuse(request, `node "${node}" is not allowed to modify taints`);
  }
}

function checkToken(request: AdmissionRequest, node: string): void {
  const reference = request.object?.spec?.boundObjectRef;
  if (reference?.kind !== 'Pod') throw refuse(request, `node requested token not bound to a pod`);
  const pod: any = request.registry.get('pods', request.namespace, reference.name);
  if (pod?.spec?.nodeName !== node) {
    throw refuse(request, `node requested token bound to a pod scheduled on a different node`);
  }
}
