import type { CSIDriver, PersistentVolume, PersistentVolumeClaim, Pod } from '../../../api/index.ts';
import { attachmentName, claimsOf, needsVolumes, type WantedAttachment } from './plan.ts';

/** Where the index looks things up. */
export interface WantedSources {
  claim(key: string): PersistentVolumeClaim | undefined;
  volume(name: string): PersistentVolume | undefined;
  driver(name: string): CSIDriver | undefined;
}

/** Which volumes are to be attached to which nodes, by the name of the attachment. Follows pods one by one. */
export class WantedAttachments {
  readonly #sources: WantedSources;
  readonly #byName = new Map<string, WantedAttachment>();
  readonly #byPod = new Map<string, string[]>();
  readonly #podsByClaim = new Map<string, Set<string>>();

  constructor(sources: WantedSources) {
    this.#sources = sources;
  }

  get(name: string): WantedAttachment | undefined {
    return this.#byName.get(name);
  }

  /** The wanted attachments of one volume, on whatever node. */
  ofVolume(driver: string, handle: string): WantedAttachment[] {
    return [...this.#byName.values()].filter((one) => one.driver === driver && one.handle === handle);
  }

  /** Pods whose volumes are made of a claim. */
  podsOfClaim(claim: string): string[] {
    return [...(this.#podsByClaim.get(claim) ?? [])];
  }

  /** Looks at a pod anew. @returns names of the attachments that it wants or has wanted until now */
  follow(key: string, pod: Pod | undefined): Set<string> {
    const before = this.#byPod.get(key) ?? [];
    for (const [claim, pods] of this.#podsByClaim)
      if (pods.delete(key) && pods.size === 0) this.#podsByClaim.delete(claim);
    for (const claim of pod ? claimsOf(pod) : []) {
      const claimKey = `${pod!.metadata.namespace}/${claim}`;
      this.#podsByClaim.set(claimKey, (this.#podsByClaim.get(claimKey) ?? new Set()).add(key));
    }
    const now = pod && needsVolumes(pod) ? this.#wantedBy(pod) : [];
    for (const name of before) this.#drop(name, key);
    for (const wanted of now) {
      const known = this.#byName.get(wanted.name);
      this.#byName.set(wanted.name, { ...wanted, pods: new Set(known?.pods).add(key) });
    }
    if (now.length > 0)
      this.#byPod.set(
        key,
        now.map(({ name }) => name),
      );
    else this.#byPod.delete(key);
    return new Set([...before, ...now.map(({ name }) => name)]);
  }

  #drop(name: string, pod: string): void {
    const wanted = this.#byName.get(name);
    if (!wanted) return;
    wanted.pods.delete(pod);
    if (wanted.pods.size === 0) this.#byName.delete(name);
  }

  #wantedBy(pod: Pod): Omit<WantedAttachment, 'pods'>[] {
    const node = pod.spec.nodeName!;
    return claimsOf(pod).flatMap((name) => {
      const claim = this.#sources.claim(`${pod.metadata.namespace}/${name}`);
      const volume = claim?.spec?.volumeName ? this.#sources.volume(claim.spec.volumeName) : undefined;
      const csi = volume?.spec?.csi;
      if (!csi || volume.spec?.claimRef?.uid !== claim?.metadata.uid) return [];
      if (this.#sources.driver(csi.driver)?.spec.attachRequired === false) return [];
      const { driver, volumeHandle: handle } = csi;
      return [{ name: attachmentName(handle, driver, node), node, driver, handle, volume }];
    });
  }
}
