import { type Node, type NodeStatus, resources } from '../../api/index.ts';
import { type ApiClient, isAlreadyExists } from '../../client/index.ts';
import { isFeatureOn } from '../config/feature-gates.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { wellKnownLabels } from './node-status.ts';

/** Says to the controllers that they attach volumes, not the kubelet. */
const attachAnnotation = 'volumes.kubernetes.io/controller-managed-attach-detach';
/** Says to a cloud's controller which address the node was given. */
const addressAnnotation = 'alpha.kubernetes.io/provided-node-ip';

/** The Node as this kubelet registers it. */
export function draftNode(settings: KubeletSettings, status: NodeStatus): Node {
  const { configuration, nodeName, nodeLabels, externalCloud } = settings;
  const taints = [...(configuration.registerWithTaints ?? [])];
  const uninitialized = 'node.cloudprovider.kubernetes.io/uninitialized';
  if (externalCloud && !taints.some(({ key }) => key === uninitialized))
    taints.push({ key: uninitialized, value: 'true', effect: 'NoSchedule' });
  return {
    metadata: {
      name: nodeName,
      labels: { ...wellKnownLabels(nodeName), ...nodeLabels },
      annotations: ownAnnotations(settings),
    },
    spec: {
      ...(taints.length > 0 ? { taints } : {}),
      ...(configuration.providerID ? { providerID: configuration.providerID } : {}),
    },
    status,
  } as unknown as Node;
}

function ownAnnotations({
  externalCloud,
  nodeIpsGiven,
  nodeIps,
  configuration,
}: KubeletSettings): Record<string, string> {
  return {
    ...(configuration['enableControllerAttachDetach'] === false ? {} : { [attachAnnotation]: 'true' }),
    ...(externalCloud && nodeIpsGiven ? { [addressAnnotation]: nodeIps.join(',') } : {}),
  };
}

/**
 * Makes the Node, or takes on the one that is there: its labels of the machine and annotations are put right, what others
 * have put on it stays. Sizes of huge pages that there are no more go from what it says that it has.
 */
export async function registerNode(client: ApiClient, settings: KubeletSettings, status: NodeStatus): Promise<Node> {
  const draft = draftNode(settings, status);
  const { name } = draft.metadata;
  if (isFeatureOn(settings.configuration.featureGates, 'KubeletRegistrationGetOnExistsOnly')) {
    try {
      return await client.create(resources.nodes, draft);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return adopt(client, await client.get(resources.nodes, name), settings, draft);
    }
  }
  const existing = await client.get(resources.nodes, name).catch(() => undefined);
  if (existing) return adopt(client, existing, settings, draft);
  try {
    return await client.create(resources.nodes, draft);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    return adopt(client, await client.get(resources.nodes, name), settings, draft);
  }
}

async function adopt(client: ApiClient, existing: Node, settings: KubeletSettings, draft: Node): Promise<Node> {
  const labels = changed(existing.metadata.labels, wellKnownLabels(settings.nodeName));
  const annotations = changed(existing.metadata.annotations, draft.metadata.annotations ?? {});
  if (draft.metadata.annotations?.[attachAnnotation] === undefined && existing.metadata.annotations?.[attachAnnotation])
    annotations[attachAnnotation] = null;
  if (Object.keys(labels).length + Object.keys(annotations).length === 0) return existing;
  return client.patch(resources.nodes, draft.metadata.name, { metadata: { labels, annotations } }, { type: 'merge' });
}

function changed(
  there: Record<string, string> | undefined,
  wanted: Record<string, string>,
): Record<string, string | null> {
  return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => there?.[key] !== value));
}

/** The patch that brings a node's status to what it is now. */
export function statusPatch(status: NodeStatus, before: NodeStatus | undefined): object {
  const gone = (of: 'capacity' | 'allocatable') =>
    Object.fromEntries(
      Object.keys(before?.[of] ?? {})
        .filter((name) => name.startsWith('hugepages-') && status[of]?.[name] === undefined)
        .map((name) => [name, null]),
    );
  return {
    status: {
      ...status,
      capacity: { ...status.capacity, ...gone('capacity') },
      allocatable: { ...status.allocatable, ...gone('allocatable') },
      // Addresses are merged by their type, of which a node of two families has two alike.
      addresses: [{ $patch: 'replace' }, ...(status.addresses ?? [])],
    },
  };
}
