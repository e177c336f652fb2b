import { type PersistentVolumeClaim, resources } from '../../api/index.ts';
import { type Clock, withDeadline } from '../../async/index.ts';
import type { ApiClient } from '../../client/index.ts';
import { annotations, claimKeysOf, isClaimBound } from '../volumes/facts.ts';
import type { PodInfo } from './pod-info.ts';
import type { Objects, VolumeStep } from './storage-objects.ts';

/** How long a pod waits for its volumes to be bound or made, milliseconds. */
const bindTimeoutMs = 600_000;

/** What {@link VolumeBinding} works with. */
export interface VolumeBindingParts {
  client: ApiClient;
  claims: Objects<PersistentVolumeClaim>;
  clock: Clock;
}

/** Has claims bound before their pods are. */
export class VolumeBinding {
  readonly #parts: VolumeBindingParts;
  /** Called at every change of a claim. */
  readonly #waiting = new Set<() => void>();
  /** Uids of claims on which the chosen node was seen: when it goes again, the provisioner has given up. */
  readonly #asked = new Set<string>();

  constructor(parts: VolumeBindingParts) {
    this.#parts = parts;
  }

  /** A claim has changed. */
  notice(): void {
    for (const look of this.#waiting) look();
  }

  /** Tells the claims' controller (or a provisioner) what has been chosen. */
  async write(steps: readonly VolumeStep[]): Promise<void> {
    await Promise.all(steps.map((step) => this.#write(step)));
  }

  /**
   * Resolves when all claims of the pod are bound.
   * @throws Error when a provisioner gives the node up, when it takes too long, or the signal's reason
   */
  async bound(info: PodInfo, node: string, signal: AbortSignal): Promise<void> {
    await withDeadline('binding volumes', bindTimeoutMs, (ended) => this.#untilBound(info, node, ended), {
      clock: this.#parts.clock,
      signal,
    });
  }

  #untilBound(info: PodInfo, node: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        try {
          if (!this.#isBound(info, node)) return;
          resolve();
        } catch (error) {
          reject(error as Error);
        }
        this.#waiting.delete(look);
      };
      signal.addEventListener('abort', () => this.#waiting.delete(look), { once: true });
      this.#waiting.add(look);
      look();
    });
  }

  #isBound({ pod }: PodInfo, node: string): boolean {
    let all = true;
    for (const key of claimKeysOf(pod)) {
      const claim = this.#parts.claims.get(key);
      if (!claim) throw new Error(`error getting PVC "${key}": it has gone`);
      const { uid } = claim.metadata;
      if (isClaimBound(claim)) {
        this.#asked.delete(uid);
        // Kubelets go by the phase, which is written a moment later.
        if (claim.status?.phase !== 'Bound') all = false;
        continue;
      }
      const selected = claim.metadata.annotations?.[annotations.selectedNode];
      const volumeName = claim.spec?.volumeName;
      if (selected === node) this.#asked.add(uid);
      if (selected === undefined && !volumeName && this.#asked.delete(uid))
        throw new Error(`provisioning failed for PVC "${claim.metadata.name}"`);
      if (selected !== undefined && selected !== node)
        throw new Error(
          `selectedNode annotation value "${selected}" of PVC "${claim.metadata.name}" is not the chosen node "${node}"`,
        );
      all = false;
    }
    return all;
  }

  async #write(step: VolumeStep): Promise<void> {
    const { client } = this.#parts;
    const { namespace = '', name, uid, resourceVersion } = step.claim.metadata;
    if (step.kind === 'provision') {
      if (step.claim.metadata.annotations?.[annotations.selectedNode] === step.node) return;
      const patch = { metadata: { resourceVersion, annotations: { [annotations.selectedNode]: step.node } } };
      await client.patch(resources.persistentvolumeclaims, name, patch, { namespace, type: 'merge' });
      return;
    }
    const { metadata } = step.volume;
    const patch = {
      metadata: {
        resourceVersion: metadata.resourceVersion,
        annotations: { [annotations.boundByController]: 'yes' },
      },
      spec: { claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid, resourceVersion } },
    };
    await client.patch(resources.persistentvolumes, metadata.name, patch, { type: 'merge' });
  }
}
