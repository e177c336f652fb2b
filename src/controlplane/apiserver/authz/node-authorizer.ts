import type { ApiObject } from '../../../api/index.ts';
import type { Registry, RequestAttributes, UserInfo } from '../extension-points.ts';
import { type PolicyRule, ruleAllows } from './rbac-index.ts';

const prefix = 'system:node:';

/** The node that a user is; undefined for everybody else. */
export function nodeOf(user: UserInfo): string | undefined {
  if (!user.username.startsWith(prefix) || !user.groups.includes('system:nodes')) return undefined;
  return user.username.slice(prefix.length);
}

const rule = (apiGroups: string[], resources: string[], verbs: string[]): PolicyRule => ({
  apiGroups,
  resources,
  verbs,
});
const read = ['get', 'list', 'watch'];

/** What every node may do, whatever runs on it. */
export const nodeRules: readonly PolicyRule[] = [
  rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
  rule(['authorization.k8s.io'], ['localsubjectaccessreviews', 'subjectaccessreviews'], ['create']),
  rule([''], ['services'], read),
  rule([''], ['events'], ['create', 'update', 'patch']),
  rule(['events.k8s.io'], ['events'], ['create', 'update', 'patch']),
  rule([''], ['endpoints'], ['get']),
  rule(['certificates.k8s.io'], ['certificatesigningrequests'], ['create', ...read]),
  rule(['node.k8s.io'], ['runtimeclasses'], read),
  rule(['storage.k8s.io'], ['csidrivers'], read),
  rule(['resource.k8s.io'], ['resourceslices'], [...read, 'create', 'update', 'patch', 'delete', 'deletecollection']),
  rule(['certificates.k8s.io'], ['clustertrustbundles'], read),
];

/** The objects that a pod lets its node read, as `plural namespace/name`. */
function* references(pod: any): Generator<string> {
  const { namespace } = pod.metadata;
  const spec = pod.spec ?? {};
  const at = (plural: string, name: string | undefined) => `${plural} ${namespace}/${name}`;
  if (spec.serviceAccountName) yield at('serviceaccounts', spec.serviceAccountName);
  for (const { name } of spec.imagePullSecrets ?? []) yield at('secrets', name);
  for (const volume of spec.volumes ?? []) {
    if (volume.secret) yield at('secrets', volume.secret.secretName);
    if (volume.configMap) yield at('configmaps', volume.configMap.name);
    if (volume.persistentVolumeClaim) yield at('persistentvolumeclaims', volume.persistentVolumeClaim.claimName);
    if (volume.ephemeral) yield at('persistentvolumeclaims', `${pod.metadata.name}-${volume.name}`);
    if (volume.azureFile) yield at('secrets', volume.azureFile.secretName);
    if (volume.csi?.nodePublishSecretRef) yield at('secrets', volume.csi.nodePublishSecretRef.name);
    for (const source of volume.projected?.sources ?? []) {
      if (source.secret) yield at('secrets', source.secret.name);
      if (source.configMap) yield at('configmaps', source.configMap.name);
    }
  }
  for (const container of [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ]) {
    for (const { valueFrom } of container.env ?? []) {
      if (valueFrom?.secretKeyRef) yield at('secrets', valueFrom.secretKeyRef.name);
      if (valueFrom?.configMapKeyRef) yield at('configmaps', valueFrom.configMapKeyRef.name);
    }
    for (const source of container.envFrom ?? []) {
      if (source.secretRef) yield at('secrets', source.secretRef.name);
      if (source.configMapRef) yield at('configmaps', source.configMapRef.name);
    }
  }
}

const referenced = new Set(['secrets', 'configmaps', 'persistentvolumeclaims', 'serviceaccounts']);

/** Lets nodes do what nodes do, and read what the pods bound to them name. Follows the pods in the store. */
export class NodeAuthorizer {
  readonly #podsByNode = new Map<string, Map<string, ApiObject>>();
  readonly #nodeByPod = new Map<string, string>();
  #registry: Registry | undefined;

  follow(registry: Registry): () => void {
    this.#registry = registry;
    for (const pod of registry.list('pods')) this.#note(pod, true);
    return registry.subscribe('pods', ({ type, object }) => this.#note(object, type !== 'DELETED'));
  }

  #note(pod: any, present: boolean): void {
    const key = `${pod.metadata.namespace}/${pod.metadata.name}`;
    const node = present ? pod.spec?.nodeName : undefined;
    const before = this.#nodeByPod.get(key);
    if (before !== undefined && before !== node) {
      this.#podsByNode.get(before)?.delete(key);
      this.#nodeByPod.delete(key);
    }
    if (!node) return;
    this.#nodeByPod.set(key, node);
    const pods = this.#podsByNode.get(node) ?? new Map<string, ApiObject>();
    pods.set(key, pod);
    this.#podsByNode.set(node, pods);
  }

  /** Undefined when the caller is no node: others decide. */
  authorize(attributes: RequestAttributes): { allowed: boolean; reason: string } | undefined {
    const node = nodeOf(attributes.user);
    if (node === undefined) return undefined;
    if (node === '') return deny(`unknown node for user "${attributes.user.username}"`);
    const { resource, verb, name, namespace } = attributes;
    if (resource?.group === '' && resource.plural === 'nodes') return authorizeNode(attributes, node);
    if (resource?.group === '' && resource.plural === 'pods') return this.#authorizePod(attributes, node);
    if (resource?.group === '' && referenced.has(resource.plural)) return this.#authorizeReference(attributes, node);
    if (resource?.group === '' && resource.plural === 'persistentvolumes' && verb === 'get') {
      return this.#isBoundToPodOf(node, name)
        ? { allowed: true, reason: '' }
        : deny(`no relationship found between node '${node}' and this object`);
    }
    if (resource?.group === 'storage.k8s.io' && resource.plural === 'volumeattachments') {
      const attachment: any = this.#registry?.get('storage.k8s.io/volumeattachments', '', name);
      return verb === 'get' && resource.subresource === '' && attachment?.spec?.nodeName === node
        ? { allowed: true, reason: '' }
        : deny(`no relationship found between node '${node}' and this object`);
    }
    if (resource?.group === 'coordination.k8s.io' && resource.plural === 'leases') {
      return ownObject(attributes, node, 'node lease', namespace === 'kube-node-lease');
    }
    if (resource?.group === 'storage.k8s.io' && resource.plural === 'csinodes') {
      return ownObject(attributes, node, 'CSINode', resource.subresource === '');
    }
    return nodeRules.some((one) => ruleAllows(one, attributes)) ? { allowed: true, reason: '' } : undefined;
  }

  #authorizePod(attributes: RequestAttributes, node: string): { allowed: boolean; reason: string } | undefined {
    const { verb, name, namespace, fields = {} } = attributes;
    const { subresource } = attributes.resource!;
    const writes: Record<string, string[]> = {
      '': ['create', 'delete'],
      status: ['update', 'patch'],
      eviction: ['create'],
    };
    // Admission looks at what is written.
    if (writes[subresource]?.includes(verb)) return { allowed: true, reason: '' };
    if (subresource !== '' || !read.includes(verb)) return undefined;
    if (verb !== 'get' && fields['spec.nodeName'] === node) return { allowed: true, reason: '' };
    if (name === '') return deny('can only list/watch pods with spec.nodeName field selector');
    return this.#nodeByPod.get(`${namespace}/${name}`) === node
      ? { allowed: true, reason: '' }
      : deny(`no relationship found between node '${node}' and this object`);
  }

  #authorizeReference(attributes: RequestAttributes, node: string): { allowed: boolean; reason: string } | undefined {
    const { verb, name, namespace } = attributes;
    const { plural, subresource } = attributes.resource!;
    const status =
      plural === 'persistentvolumeclaims' && subresource === 'status' && ['update', 'patch'].includes(verb);
    const token = plural === 'serviceaccounts' && subresource === 'token' && verb === 'create';
    const reads = plural === 'serviceaccounts' || plural === 'persistentvolumeclaims' ? ['get'] : read;
    if (!token && !status && (subresource !== '' || !reads.includes(verb))) {
      return deny(`can only read resources of this type`);
    }
    if (name === '') return deny('No Object name found');
    const wanted = `${plural} ${namespace}/${name}`;
    for (const pod of this.#podsByNode.get(node)?.values() ?? []) {
      for (const one of references(pod)) if (one === wanted) return { allowed: true, reason: '' };
    }
    if (plural === 'secrets' && this.#isSecretOfVolumeOf(node, `${namespace}/${name}`))
      return { allowed: true, reason: '' };
    return deny(`no relationship found between node '${node}' and this object`);
  }

  /** Whether a persistent volume of a pod on the node names the secret for a call that its kubelet makes. */
  #isSecretOfVolumeOf(node: string, secret: string): boolean {
    for (const pod of this.#podsByNode.get(node)?.values() ?? []) {
      for (const one of references(pod)) {
        const [plural, key] = one.split(' ') as [string, string];
        if (plural !== 'persistentvolumeclaims') continue;
        const [namespace, name] = key.split('/') as [string, string];
        const claim: any = this.#registry?.get('persistentvolumeclaims', namespace, name);
        const volume: any = this.#registry?.get('persistentvolumes', '', claim?.spec?.volumeName ?? '');
        if (!volume || volume.spec?.claimRef?.uid !== claim.metadata.uid) continue;
        if (nodeSecretsOf(volume).includes(secret)) return true;
      }
    }
    return false;
  }

  #isBoundToPodOf(node: string, volume: string): boolean {
    const claim = (this.#registry?.get('persistentvolumes', '', volume) as any)?.spec?.claimRef;
    if (!claim) return false;
    const wanted = `persistentvolumeclaims ${claim.namespace}/${claim.name}`;
    for (const pod of this.#podsByNode.get(node)?.values() ?? []) {
      for (const one of references(pod)) if (one === wanted) return true;
    }
    return false;
  }
}

/** A node reads its own Node object, and writes one; admission looks at which. */
function authorizeNode(
  { verb, name, resource }: RequestAttributes,
  node: string,
): { allowed: boolean; reason: string } | undefined {
  const writes = resource!.subresource === '' ? ['create', 'update', 'patch'] : ['update', 'patch'];
  if (['', 'status'].includes(resource!.subresource) && writes.includes(verb)) return { allowed: true, reason: '' };
  if (resource!.subresource !== '' || !read.includes(verb)) return undefined;
  if (name === node) return { allowed: true, reason: '' };
  return deny(`node '${node}' cannot read ${name === '' ? 'all nodes' : `'${name}'`}, only its own Node object`);
}

/** An object that has the name of its node. Admission looks at the name of what is created. */
function ownObject(
  { verb, name }: RequestAttributes,
  node: string,
  what: string,
  isRightPlace: boolean,
): { allowed: boolean; reason: string } {
  const verbs = ['get', 'create', 'update', 'patch', 'delete'];
  if (!verbs.includes(verb) || !isRightPlace) return deny(`can only get, create, update, patch, or delete a ${what}`);
  if (verb !== 'create' && name !== node)
    return deny(`can only access ${what} with the same name as the requesting node`);
  return { allowed: true, reason: '' };
}

const deny = (reason: string): { allowed: boolean; reason: string } => ({ allowed: false, reason });

/** The secrets, as `namespace/name`, that a persistent volume's driver is given on the node. */
function nodeSecretsOf(volume: any): string[] {
  const { nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef } = volume.spec?.csi ?? {};
  return [nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef]
    .filter(Boolean)
    .map(({ namespace, name }) => `${namespace}/${name}`);
}
