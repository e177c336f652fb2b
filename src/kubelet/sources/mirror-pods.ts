import { type Pod, resources } from '../../api/index.ts';
import { type Clock, KeyedQueue } from '../../async/index.ts';
import { type ApiClient, isAlreadyExists, isConflict, isNotFound } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { configAnnotations } from '../pods/names.ts';

/** What mirror pods are made from. */
export interface MirrorPodsOptions {
  client: ApiClient;
  clock: Clock;
  log: Logger;
  nodeName: string;
  /** The uid of the Node object, when it is there: mirror pods are owned by it. */
  nodeUid(): string | undefined;
  /** The static pod of that full name, while it is to run. */
  staticPod(name: string): Pod | undefined;
  /** Whether every source of static pods has told them: before, a picture without one may be of one to come. */
  isComplete(): boolean;
  /** Whether a pod of that full name, other than the one that is to run, is still being ended here. */
  isEnding(name: string): boolean;
  /** The mirror pod of that full name as the API has it. */
  mirror(name: string): Pod | undefined;
}

/**
 * Keeps the API's pictures of static pods: made when missing, replaced when they show another pod, deleted when nothing
 * is left of theirs. Keys are full names (`namespace/name`).
 */
export class MirrorPods {
  readonly #options: MirrorPodsOptions;
  readonly #queue: KeyedQueue;

  constructor(options: MirrorPodsOptions) {
    this.#options = options;
    this.#queue = new KeyedQueue((name) => this.#reconcile(name), {
      clock: options.clock,
      retryInitialMs: 200,
      onError: (name, error) => options.log.warn('cannot keep a mirror pod', { pod: name, error }),
    });
  }

  /** Looks at one mirror pod soon. */
  check(name: string): void {
    this.#queue.add(name);
  }

  stop(): Promise<void> {
    return this.#queue.stop();
  }

  async #reconcile(name: string): Promise<void> {
    const { staticPod, mirror } = this.#options;
    const pod = staticPod(name);
    const picture = mirror(name);
    // The picture of a pod goes after the pod itself; whoever forgets that asks again.
    if (picture && this.#options.isEnding(name)) return;
    if (!pod) {
      if (picture && this.#options.isComplete()) await this.#delete(picture);
      return;
    }
    if (!picture) return this.#create(pod);
    const shows = picture.metadata.annotations?.[configAnnotations.mirror];
    const wanted = pod.metadata.annotations![configAnnotations.hash];
    // Deletion of the picture does not end the pod: it is taken away and drawn anew.
    if (picture.metadata.deletionTimestamp !== undefined || shows !== wanted) await this.#delete(picture);
  }

  async #create(pod: Pod): Promise<void> {
    const { client, nodeName, nodeUid } = this.#options;
    const { uid: _uid, ...metadata } = pod.metadata;
    const owner = nodeUid();
    const { status: _status, ...rest } = pod;
    try {
      await client.create(
        resources.pods,
        {
          ...rest,
          metadata: {
            ...metadata,
            annotations: {
              ...metadata.annotations,
              [configAnnotations.mirror]: metadata.annotations![configAnnotations.hash]!,
            },
            ...(owner
              ? { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: owner, controller: true }] }
              : {}),
          },
        },
        { namespace: metadata.namespace! },
      );
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #delete(picture: Pod): Promise<void> {
    const { name = '', namespace = '', uid = '' } = picture.metadata;
    try {
      await this.#options.client.delete(resources.pods, name, { namespace, gracePeriodSeconds: 0, uid });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    // The watch tells when it has gone; then the new one is made.
  }
}
