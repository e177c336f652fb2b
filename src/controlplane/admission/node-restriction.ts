import { deepEqual } from '../../api/patch/index.ts';
import { readSigningRequest } from '../../wire/certificates/index.ts';
import { type ClusterAuthorizer, nodeOf } from '../apiserver/authz/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { isKubeletLabel, isKubernetesLabel } from './kubelet-labels.ts';
import { checkToken } from './node-tokens.ts';
import { isMirrorPod, refuse } from './refuse.ts';

type Check = (
  request: AdmissionRequest,
  node: string,
  authorizer: ClusterAuthorizer | undefined,
) => void | Promise<void>;

const checks: Readonly<Record<string, Check>> = {
  '/pods': checkPod,
  '/nodes': checkNode,
  '/persistentvolumeclaims': checkClaim,
  '/serviceaccounts': checkToken,
  'coordination.k8s.io/leases': checkLease,
  'storage.k8s.io/csinodes': checkCsiNode,
  'resource.k8s.io/resourceslices': checkSlice,
  'certificates.k8s.io/certificatesigningrequests': checkSigningRequest,
};

/** Keeps a node's kubelet to its own Node, its own pods, their tokens, its own lease and its own certificates. */
export function nodeRestriction(authorizer?: ClusterAuthorizer): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    validate: async (request) => {
      const node = nodeOf(request.user);
      if (node === undefined) return;
      if (node === '') throw refuse(request, `could not determine node from user "${request.user.username}"`);
      await checks[`${request.resource.group}/${request.resource.plural}`]?.(request, node, authorizer);
    },
  };
}

function checkPod(request: AdmissionRequest, node: string): void {
  const { operation, subresource, object, oldObject, registry, namespace, name } = request;
  if (subresource === 'eviction' || (operation === 'DELETE' && subresource === '')) {
    const pod: any = registry.get('pods', namespace, name || object?.metadata?.name);
    if (pod && pod.spec?.nodeName !== node) {
      const what = subresource ? 'evict' : 'delete';
      throw refuse(request, `node "${node}" can only ${what} pods with spec.nodeName set to itself`);
    }
    return;
  }
  if (subresource === '' && operation === 'CREATE') return checkMirrorPod(request, node);
  if (subresource === '') {
    throw refuse(request, `unexpected operation "${operation}", node "${node}" can only create and delete mirror pods`);
  }
  if (subresource !== 'status')
    throw refuse(request, `unexpected pod subresource "${subresource}", only 'status' and 'eviction' are allowed`);
  if (oldObject?.spec?.nodeName !== node) {
    throw refuse(request, `node "${node}" can only update pod status for pods with spec.nodeName set to itself`);
  }
  if (!deepEqual(object.metadata.labels ?? {}, oldObject.metadata.labels ?? {})) {
    throw refuse(request, `node "${node}" cannot update labels through pod status`);
  }
  for (const [field, text] of [
    ['resourceClaimStatuses', 'resource claim statues'],
    ['extendedResourceClaimStatus', 'extended resource claim status'],
  ] as const)
    if (!deepEqual(object.status?.[field] ?? null, oldObject.status?.[field] ?? null))
      throw refuse(request, `node "${node}" cannot update ${text}`);
}

/** A pod of a manifest: bound to the node, owned by it, and independent of everything in the API. */
function checkMirrorPod(request: AdmissionRequest, node: string): void {
  const { object, registry } = request;
  if (!isMirrorPod(object)) {
    const text = `pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`;
    throw refuse(request, text);
  }
  if (object.spec?.nodeName !== node)
    throw refuse(request, `node "${node}" can only create pods with spec.nodeName set to itself`);
  const owners: any[] = object.metadata.ownerReferences ?? [];
  const [owner] = owners;
  const created = `node "${node}" can only create pods with`;
  if (owners.length > 1) throw refuse(request, `${created} a single owner reference set to itself`);
  if (owner?.apiVersion !== 'v1' || owner.kind !== 'Node' || owner.name !== node)
    throw refuse(request, `${created} an owner reference set to itself`);
  if (!owner.controller) throw refuse(request, `${created} a controller owner reference set to itself`);
  if (owner.blockOwnerDeletion)
    throw refuse(request, `node "${node}" must not set blockOwnerDeletion on an owner reference`);
  const known: any = registry.get('nodes', '', node);
  if (known && known.metadata.uid !== owner.uid)
    throw refuse(request, `node ${node} UID mismatch: expected ${owner.uid} got ${known.metadata.uid}`);
  const kind = namedKind(object.spec ?? {});
  if (kind) throw refuse(request, `node "${node}" can not create pods that reference ${kind}`);
}

/** The first kind of API object that a pod names. */
function namedKind(spec: any): string | undefined {
  if (spec.serviceAccountName) return 'serviceaccounts';
  const containers = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  const froms = containers.flatMap(({ env = [], envFrom = [] }: any) => [
    ...env.map((one: any) => one.valueFrom ?? {}),
    ...envFrom,
  ]);
  const sources = (spec.volumes ?? []).flatMap((volume: any) => [volume, ...(volume.projected?.sources ?? [])]);
  if (froms.some((from) => from.secretKeyRef || from.secretRef) || sources.some((one: any) => one.secret))
    return 'secrets';
  if (spec.imagePullSecrets?.length) return 'secrets';
  if (froms.some((from) => from.configMapKeyRef || from.configMapRef) || sources.some((one: any) => one.configMap))
    return 'configmaps';
  if (sources.some((one: any) => one.persistentVolumeClaim || one.ephemeral)) return 'persistentvolumeclaims';
  if (sources.some((one: any) => one.serviceAccountToken)) return 'serviceaccounts';
  if (sources.some((one: any) => one.clusterTrustBundle)) return 'clustertrustbundles';
  if (sources.some((one: any) => one.csi)) return 'csidrivers';
  if (spec.resourceClaims?.length) return 'resourceclaims';
  return undefined;
}

function checkNode(request: AdmissionRequest, node: string): void {
  const { operation, object, oldObject, name } = request;
  const target = name || object?.metadata?.name;
  if (target !== node) throw refuse(request, `node "${node}" is not allowed to modify node "${target}"`);
  if (operation === 'DELETE') throw refuse(request, `node "${node}" is not allowed to modify node "${target}"`);
  if (object.spec?.configSource && !deepEqual(object.spec.configSource, oldObject?.spec?.configSource))
    throw refuse(request, `node "${node}" is not allowed to update configSource to a new non-nil configSource`);
  const wrong = changedLabels(object, oldObject).filter(isForbiddenLabel);
  if (wrong.length > 0) {
    const list = wrong.sort().join(', ');
    const text = oldObject
      ? `is not allowed to modify labels: ${list}`
      : `node "${node}" is not allowed to set the following labels: ${list}`;
    throw refuse(request, text);
  }
  if (operation !== 'UPDATE') return;
  if (!deepEqual(object.spec?.taints ?? [], oldObject.spec?.taints ?? []))
    throw refuse(request, `node "${node}" is not allowed to modify taints`);
  if (!deepEqual(object.metadata.ownerReferences ?? [], oldObject.metadata.ownerReferences ?? []))
    throw refuse(request, `node "${node}" is not allowed to modify ownerReferences`);
}

function changedLabels(object: any, oldObject: any): string[] {
  const [now, before] = [object?.metadata?.labels ?? {}, oldObject?.metadata?.labels ?? {}];
  return Object.keys({ ...now, ...before }).filter((key) => now[key] !== before[key]);
}

/** Labels that steer workloads, and labels of Kubernetes' own that are not for kubelets. */
function isForbiddenLabel(key: string): boolean {
  const space = key.includes('/') ? key.split('/')[0]! : '';
  const restricted = 'node-restriction.kubernetes.io';
  return space === restricted || space.endsWith(`.${restricted}`) || (isKubernetesLabel(key) && !isKubeletLabel(key));
}

/** What a node may write about a claim: how large it is and what is being done to it. */
function checkClaim(request: AdmissionRequest, node: string): void {
  const { operation, subresource, object, oldObject } = request;
  if (subresource !== 'status') throw refuse(request, 'may only update PVC status');
  if (operation !== 'UPDATE') throw refuse(request, `unexpected operation "${operation}"`);
  const rest = ({ metadata, status = {}, ...other }: any) => {
    const { resourceVersion: _version, managedFields: _fields, ...meta } = metadata;
    const { capacity: _c, conditions: _d, allocatedResources: _r, allocatedResourceStatuses: _s, ...kept } = status;
    return { ...other, metadata: meta, status: kept };
  };
  if (!deepEqual(rest(object), rest(oldObject))) {
    const text = `node "${node}" is not allowed to update fields other than status.quantity and status.conditions`;
    throw refuse(request, text);
  }
}

function checkLease(request: AdmissionRequest, node: string): void {
  if (request.namespace !== 'kube-node-lease')
    throw refuse(request, 'can only access leases in the "kube-node-lease" system namespace');
  if ((request.name || request.object?.metadata?.name) !== node)
    throw refuse(request, 'can only access node lease with the same name as the requesting node');
}

function checkCsiNode(request: AdmissionRequest, node: string): void {
  if ((request.name || request.object?.metadata?.name) !== node)
    throw refuse(request, 'can only access CSINode with the same name as the requesting node');
}

function checkSlice(request: AdmissionRequest, node: string): void {
  const { operation, object, oldObject } = request;
  const verb = operation === 'CREATE' ? 'create' : operation === 'DELETE' ? 'delete' : undefined;
  if (verb && (verb === 'create' ? object : oldObject)?.spec?.nodeName !== node)
    throw refuse(request, `can only ${verb} ResourceSlice with the same NodeName as the requesting node`);
}

/** A node asks for certificates of its own name only. */
async function checkSigningRequest(request: AdmissionRequest, node: string): Promise<void> {
  const { operation, subresource, object } = request;
  const nodeSigners = ['kubernetes.io/kubelet-serving', 'kubernetes.io/kube-apiserver-client-kubelet'];
  if (operation !== 'CREATE' || subresource !== '' || !nodeSigners.includes(object.spec?.signerName)) return;
  const pem = Buffer.from(object.spec.request ?? '', 'base64').toString();
  const read = await readSigningRequest(pem).catch((error: unknown) => {
    throw refuse(request, `unable to parse csr: ${(error as Error).message}`);
  });
  if (read.commonName !== `system:node:${node}`)
    throw refuse(request, `can only create a node CSR with CN=system:node:${node}`);
}
