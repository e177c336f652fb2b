import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type ApiObject,
  type ClusterRoleBinding,
  type ConfigMap,
  type DaemonSet,
  type Resource,
  resources,
  type ServiceAccount,
} from '../../api/index.ts';
import { loadYaml } from '../../wire/documents/index.ts';

/** What differs between clusters. */
export interface ManifestSettings {
  /** The API server as nodes reach it: `https://10.0.0.1:6443`. */
  server: string;
  image: string;
  /** Fields of the KubeProxyConfiguration that are other than in the manifest. */
  configuration: Record<string, unknown>;
}

/** An object and how to write it. */
export interface ManifestObject {
  resource: Resource<ApiObject>;
  object: ApiObject;
}

/** Tells our DaemonSet from one that a user has put there under the same name. */
export const ownLabel = { 'app.kubernetes.io/managed-by': 'deckhand' } as const;

/** From which manifest a DaemonSet was made; the image is not a part of that. */
export const manifestAnnotation = 'deckhand.dev/manifest';

/** Where the DaemonSet is. */
export const daemonSetName = { namespace: 'kube-system', name: 'kube-proxy' } as const;

/** The label of its pods. */
export const podSelector = 'k8s-app=kube-proxy';

const kinds: Record<string, Resource<any>> = {
  ServiceAccount: resources.serviceaccounts satisfies Resource<ServiceAccount>,
  ClusterRoleBinding: resources.clusterrolebindings satisfies Resource<ClusterRoleBinding>,
  ConfigMap: resources.configmaps satisfies Resource<ConfigMap>,
  DaemonSet: resources.daemonsets satisfies Resource<DaemonSet>,
};

/** The manifest that anybody can apply, deploy/kube-proxy.yaml, filled in for this cluster. */
export async function renderManifest(settings: ManifestSettings): Promise<ManifestObject[]> {
  const text = await readFile(join(import.meta.dirname, '../../../deploy/kube-proxy.yaml'), 'utf8');
  return loadYaml()
    .parseAllDocuments(text)
    .map((document) => document.toJS() as ApiObject)
    .map((object) => {
      const resource = kinds[object.kind ?? ''];
      if (!resource) throw new Error(`deploy/kube-proxy.yaml has a ${object.kind}, which nobody here can write`);
      object.metadata.labels = { ...object.metadata.labels, ...ownLabel };
      if (object.kind === 'ConfigMap') fillConfigMap(object as ConfigMap, settings);
      if (object.kind === 'DaemonSet') fillDaemonSet(object as DaemonSet, settings);
      return { resource, object };
    });
}

function fillConfigMap({ data = {} }: ConfigMap, { server, configuration }: ManifestSettings): void {
  const { parse, stringify } = loadYaml();
  data['config.conf'] = stringify({ ...parse(data['config.conf']!), ...configuration });
  const kubeconfig = parse(data['kubeconfig.conf']!);
  kubeconfig.clusters[0].cluster.server = server;
  data['kubeconfig.conf'] = stringify(kubeconfig);
}

function fillDaemonSet({ metadata, spec }: DaemonSet, { image }: ManifestSettings): void {
  const version = createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, 16);
  metadata.annotations = { ...metadata.annotations, [manifestAnnotation]: version };
  for (const container of spec.template.spec!.containers) container.image = image;
}
