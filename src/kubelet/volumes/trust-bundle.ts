import { type ClusterTrustBundleProjection, matchLabelSelector, type ObjectMeta } from '../../api/index.ts';
import { type ApiClient, isNotFound } from '../../client/index.ts';
import { VolumeError } from './volume-error.ts';

interface ClusterTrustBundle {
  metadata: ObjectMeta;
  spec: { signerName?: string; trustBundle: string };
}

const path = '/apis/certificates.k8s.io/v1beta1/clustertrustbundles';

/**
 * The certificates of the ClusterTrustBundles that a projection names: one by its name, or all of a signer that have the
 * labels. Each certificate comes once, and nothing but certificates comes.
 * @throws VolumeError when there are none and they are not optional
 */
export async function readTrustBundle(
  client: Pick<ApiClient, 'request'> | undefined,
  { name, signerName, labelSelector, optional }: ClusterTrustBundleProjection,
): Promise<string> {
  if (!client) throw new VolumeError('INVALID', 'a pod without an API server cannot use ClusterTrustBundles');
  const bundles = name ? await readOne(client, name) : await readAll(client, signerName ?? '', labelSelector);
  if (bundles.length === 0 && !optional) {
    const text = name
      ? `clustertrustbundle "${name}" not found`
      : `combination of signerName ${signerName} and labelSelector matched zero ClusterTrustBundles`;
    throw new VolumeError('NOT_FOUND', text);
  }
  const blocks = bundles.flatMap(({ spec }) => spec.trustBundle.match(certificate) ?? []);
  return [...new Set(blocks.map((block) => `${block.replaceAll('\r', '').trim()}\n`))].sort().join('');
}

const certificate = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

async function readOne(client: Pick<ApiClient, 'request'>, name: string): Promise<ClusterTrustBundle[]> {
  const found = await read<ClusterTrustBundle>(client, `${path}/${encodeURIComponent(name)}`);
  return found ? [found] : [];
}

async function readAll(
  client: Pick<ApiClient, 'request'>,
  signerName: string,
  labelSelector: ClusterTrustBundleProjection['labelSelector'],
): Promise<ClusterTrustBundle[]> {
  // Without a selector nothing is selected; an empty one selects all.
  if (!labelSelector) return [];
  const selects = matchLabelSelector(labelSelector);
  const query = `fieldSelector=${encodeURIComponent(`spec.signerName=${signerName}`)}`;
  const list = await read<{ items: ClusterTrustBundle[] }>(client, `${path}?${query}`);
  return (list?.items ?? []).filter(({ metadata, spec }) => spec.signerName === signerName && selects(metadata.labels));
}

async function read<T>(client: Pick<ApiClient, 'request'>, url: string): Promise<T | undefined> {
  try {
    return JSON.parse((await client.request('GET', url)).body.toString()) as T;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
