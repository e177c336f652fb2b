import { join } from 'node:path';
import type { Pod, Secret } from '../../api/index.ts';
import type { PodEvents } from '../pods/pod-events.ts';
import type { CredentialProviders } from './credential-providers.ts';
import { parseImageName } from './image-name.ts';
import {
  type CredentialEntries,
  matchingCredentials,
  nodeEntries,
  type PullCredential,
  secretEntries,
} from './pull-secrets.ts';

/** Where logins come from. */
export interface ImageCredentialsOptions {
  /** Directory with a `config.json` of the node's own logins. */
  rootDirectory: string;
  /** Reads a pull secret; undefined when there is none. */
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  /** Programs that give logins; undefined without any. */
  providers?: CredentialProviders | undefined;
  events: PodEvents;
}

/** The logins with which a pod may pull an image, the most exact first; of equal ones those of its pull secrets. */
export async function imageCredentials(
  options: ImageCredentialsOptions,
  pod: Pod,
  image: string,
): Promise<PullCredential[]> {
  const { rootDirectory, providers } = options;
  const name = parseImageName(image);
  const sources = await secretSources(options, pod);
  // Read each time: a changed file counts at once.
  sources.push({ entries: await nodeEntries([join(rootDirectory, 'config.json'), '/root/.docker/config.json']) });
  if (providers) sources.push(...(await providers.entries(pod, name)));
  return matchingCredentials(name, sources);
}

async function secretSources({ secret, events }: ImageCredentialsOptions, pod: Pod): Promise<CredentialEntries[]> {
  const sources: CredentialEntries[] = [];
  const missing: string[] = [];
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    if (!name) continue;
    const namespace = pod.metadata.namespace ?? 'default';
    const found = await secret(namespace, name).catch(() => undefined);
    if (!found) missing.push(name);
    else {
      const { uid } = found.metadata;
      sources.push({ entries: secretEntries(found), source: { secret: { uid, namespace, name } } });
    }
  }
  if (missing.length > 0) {
    const message = `Unable to retrieve some image pull secrets (${missing.join(', ')}); attempting to pull the image may not succeed.`;
    events.warning(pod, 'FailedToRetrieveImagePullSecret', message);
  }
  return sources;
}
