import type { Image } from '../../api/cri/index.ts';
import { SerialRunner } from '../../async/index.ts';
import type { Logger } from '../../log/index.ts';
import { parseImageName, withoutVersion } from './image-name.ts';
import type { ImageAccess, PullRecords } from './pull-records.ts';
import type { PullCredential } from './pull-secrets.ts';
import type { RequiresVerification } from './verification-policy.ts';

/** So many secrets are noted for an image without a pull of their own. */
const maximumNoted = 100;

/**
 * Decides whether a pod may use an image that is on the node, by what was pulled with which login (upstream's
 * KubeletEnsureSecretPulledImages): a pod that cannot show a login which has pulled the image has to pull it itself.
 */
export class PullAuthorization {
  readonly #records: PullRecords;
  readonly #requires: RequiresVerification;
  readonly #log: Logger;
  readonly #serial = new SerialRunner();
  readonly #running = new Map<string, number>();

  constructor(records: PullRecords, requires: RequiresVerification, log: Logger) {
    this.#records = records;
    this.#log = log;
    this.#requires = requires;
  }

  /** Takes over what a kubelet that was killed was pulling: those images that are there now are ours. */
  async adopt(images: () => Promise<readonly Image[]>): Promise<void> {
    const left = await this.#records.pulling();
    if (left.size === 0) return;
    const byName = new Map<string, string>();
    for (const { id, repoTags, repoDigests } of await images())
      for (const name of [...repoTags, ...repoDigests]) byName.set(name, id);
    for (const image of [...left]) {
      const ref = byName.get(fullName(image)) ?? byName.get(image);
      if (ref === undefined) continue;
      // Nothing is known of the login: whoever uses it next has to show one.
      await this.#records.update(ref, (mapping) => (mapping ? undefined : {}));
      await this.#records.endPull(image);
    }
  }

  /**
   * Whether the pod has to pull the image although it is there.
   * @param image its name as the pod has it
   * @param imageRef its id in the runtime
   */
  async mustPull(image: string, imageRef: string, credentials: () => Promise<PullCredential[]>): Promise<boolean> {
    const record = await this.#records.pulled(imageRef);
    const pulled = record !== undefined || (await this.#records.pulling()).has(image);
    if (!this.#requires(image, pulled)) return false;
    const access = record?.credentialMapping?.[withoutVersion(image)];
    if (!access) return true;
    if (access.nodePodsAccessible) return false;
    for (const { source, hash } of await credentials()) {
      if (!source) continue;
      if ('serviceAccount' in source) {
        if (access.kubernetesServiceAccounts?.some((one) => sameObject(one, source.serviceAccount))) return false;
        continue;
      }
      const known = access.kubernetesSecrets ?? [];
      const byHash = known.some(({ credentialHash }) => credentialHash !== '' && credentialHash === hash);
      const bySecret = known.some((one) => sameObject(one, source.secret));
      if (!byHash && !bySecret) continue;
      // The same login in another secret, or a new one in the same secret: good from now on too.
      if (!(byHash && bySecret) && known.length < maximumNoted) {
        const more = { kubernetesSecrets: [{ ...source.secret, credentialHash: hash }] };
        await this.#note(image, imageRef, more);
      }
      return false;
    }
    return true;
  }

  /** Runs a pull of an image, and notes with which login it went well. */
  async pulling<T extends { ref: string; used: PullCredential | undefined }>(
    image: string,
    pull: () => Promise<T>,
  ): Promise<T> {
    await this.#serial.run(image, async () => {
      await this.#records.beginPull(image);
      this.#running.set(image, (this.#running.get(image) ?? 0) + 1);
    });
    let noted = true;
    try {
      const result = await pull();
      await this.#note(image, result.ref, accessBy(result.used)).catch((error: unknown) => {
        // The intent stays: the image counts as pulled by us, and whoever uses it next has to show a login.
        noted = false;
        this.#log.warn('cannot note who may use an image', { image, error });
      });
      return result;
    } finally {
      await this.#serial.run(image, async () => {
        const running = this.#running.get(image)! - 1;
        if (running > 0) this.#running.set(image, running);
        else {
          this.#running.delete(image);
          if (noted) await this.#records.endPull(image);
        }
      });
    }
  }

  #note(image: string, imageRef: string, access: ImageAccess): Promise<void> {
    const name = withoutVersion(image);
    return this.#serial.run(imageRef, () =>
      this.#records.update(imageRef, (mapping = {}) => {
        const merged = mergeAccess(mapping[name], access);
        return merged ? { ...mapping, [name]: merged } : undefined;
      }),
    );
  }
}

function accessBy(used: PullCredential | undefined): ImageAccess {
  const source = used?.source;
  if (!source) return { nodePodsAccessible: true };
  if ('serviceAccount' in source) return { kubernetesServiceAccounts: [source.serviceAccount] };
  return { kubernetesSecrets: [{ ...source.secret, credentialHash: used.hash }] };
}

/** Both together, or undefined when the second adds nothing. */
export function mergeAccess(known: ImageAccess | undefined, more: ImageAccess): ImageAccess | undefined {
  if (!known) return more;
  if (known.nodePodsAccessible) return undefined;
  if (more.nodePodsAccessible) return { nodePodsAccessible: true };
  const secrets = [...(known.kubernetesSecrets ?? [])];
  const accounts = [...(known.kubernetesServiceAccounts ?? [])];
  let changed = false;
  for (const secret of more.kubernetesSecrets ?? []) {
    const at = secrets.findIndex((one) => sameObject(one, secret));
    if (at >= 0 && secrets[at]!.credentialHash === secret.credentialHash) continue;
    if (at >= 0) secrets[at] = secret;
    else secrets.push(secret);
    changed = true;
  }
  for (const account of more.kubernetesServiceAccounts ?? []) {
    if (accounts.some((one) => sameObject(one, account))) continue;
    accounts.push(account);
    changed = true;
  }
  if (!changed) return undefined;
  return {
    ...(secrets.length > 0 ? { kubernetesSecrets: secrets } : {}),
    ...(accounts.length > 0 ? { kubernetesServiceAccounts: accounts } : {}),
  };
}

interface ObjectName {
  uid: string;
  namespace: string;
  name: string;
}

function sameObject(a: ObjectName, b: ObjectName): boolean {
  return a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;
}

function fullName(image: string): string {
  try {
    return parseImageName(image).full;
  } catch {
    return image;
  }
}
