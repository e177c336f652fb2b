import {
  type CSIDriver,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  resources,
  type VolumeAttachment,
} from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import { isAlreadyExists, isNotFound } from '../../../client/index.ts';
import { type Controller, type ControllerContext, createControllerQueue, sameJson } from '../framework/controller.ts';
import type { Store } from '../framework/store.ts';
import { decideDetach, isOurs, mayBeShared, multiAttachText, uniqueName, type WantedAttachment } from './plan.ts';
import { WantedAttachments } from './wanted.ts';

/** Limits of the controller. */
export interface AttachDetachOptions {
  /** How long a node that is not well may keep what it should not have any longer, milliseconds. Default 360,000. */
  maximumWaitForUnmountMs?: number;
}

/**
 * Has drivers' volumes attached to the nodes whose pods use them, and detached when those nodes no longer have them
 * mounted. It makes and deletes VolumeAttachments (a driver's attacher does the work), and says in the status of Nodes
 * which volumes may be used. The watches open with the first persistent volume of a driver: most clusters have none.
 */
export function startAttachDetachController(context: ControllerContext, options: AttachDetachOptions = {}): Controller {
  const volumes = context.informers.store<PersistentVolume>(resources.persistentvolumes);
  let working: AttachDetach | undefined;
  const begin = (): void => {
    working ??= new AttachDetach(context, volumes, options.maximumWaitForUnmountMs ?? 360_000);
  };
  const unsubscribe = volumes.subscribe((_key, now) => {
    if (now?.spec?.csi) begin();
  });
  void volumes.informer.synced.then(() => {
    if (volumes.list().some(({ spec }) => spec?.csi)) begin();
  });
  return {
    stop: async () => {
      unsubscribe();
      await working?.stop();
    },
  };
}

const nodePrefix = 'node/';

class AttachDetach {
  readonly #context: ControllerContext;
  readonly #volumes: Store<PersistentVolume>;
  readonly #nodes: Store<Node>;
  readonly #pods: Store<Pod>;
  readonly #attachments: Store<VolumeAttachment>;
  readonly #wanted: WantedAttachments;
  readonly #queue: KeyedQueue;
  readonly #unsubscribe: (() => void)[];
  readonly #maximumWaitMs: number;
  /** Since when attachments have not been wanted, on the monotonic clock. */
  readonly #unwantedSince = new Map<string, number>();
  /** Attachments that are about to be deleted: their nodes are not to use them. */
  readonly #detaching = new Set<string>();
  /** What pods' users have been told last, by attachment and pod. */
  readonly #told = new Map<string, Map<string, string>>();

  constructor(context: ControllerContext, volumes: Store<PersistentVolume>, maximumWaitMs: number) {
    const { informers } = context;
    this.#context = context;
    this.#volumes = volumes;
    this.#maximumWaitMs = maximumWaitMs;
    this.#nodes = informers.store<Node>(resources.nodes);
    this.#pods = informers.store<Pod>(resources.pods);
    this.#attachments = informers.store<VolumeAttachment>(resources.volumeattachments);
    const claims = informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
    const drivers = informers.store<CSIDriver>(resources.csidrivers);
    this.#wanted = new WantedAttachments({
      claim: (key) => claims.get(key),
      volume: (name) => volumes.get(name),
      driver: (name) => drivers.get(name),
    });
    const stores = [this.#nodes, this.#pods, this.#attachments, claims, drivers, volumes];
    this.#queue = createControllerQueue(context, {
      name: 'attach-detach',
      stores,
      handle: (key) => (key.startsWith(nodePrefix) ? this.#syncNode(key.slice(nodePrefix.length)) : this.#sync(key)),
    });
    const followClaim = (claim: string): void => {
      for (const pod of this.#wanted.podsOfClaim(claim)) this.#followPod(pod);
    };
    this.#unsubscribe = [
      this.#pods.subscribe((key) => this.#followPod(key)),
      claims.subscribe((key) => followClaim(key)),
      volumes.subscribe((_key, now, before) => {
        const claim = (now ?? before)?.spec?.claimRef;
        if (claim) followClaim(`${claim.namespace}/${claim.name}`);
      }),
      drivers.subscribe((_key, now, before) => {
        if (now?.spec.attachRequired !== before?.spec.attachRequired) this.#followAll();
      }),
      this.#attachments.subscribe((key, now, before) => this.#onAttachment(key, now ?? before)),
      this.#nodes.subscribe((key) => this.#onNode(key)),
    ];
    void Promise.all(stores.map(({ informer }) => informer.synced)).then(() => {
      this.#followAll();
      for (const attachment of this.#attachments.list()) this.#onAttachment(attachment.metadata.name, attachment);
    });
  }

  async stop(): Promise<void> {
    for (const end of this.#unsubscribe) end();
    await this.#queue.stop();
  }

  #followAll(): void {
    for (const { metadata } of this.#pods.list()) this.#followPod(`${metadata.namespace}/${metadata.name}`);
  }

  #followPod(key: string): void {
    for (const name of this.#wanted.follow(key, this.#pods.get(key))) this.#queue.add(name);
  }

  /** An attachment has changed: its own turn, its node's status, and those who wait for the volume to come free. */
  #onAttachment(name: string, attachment: VolumeAttachment | undefined): void {
    if (!attachment || !isOurs(attachment)) return;
    this.#queue.add(name);
    this.#queue.add(`${nodePrefix}${attachment.spec.nodeName}`);
    const csi = this.#volumes.get(attachment.spec.source.persistentVolumeName ?? '')?.spec?.csi;
    if (!csi) return;
    for (const other of this.#wanted.ofVolume(csi.driver, csi.volumeHandle)) this.#queue.add(other.name);
  }

  #onNode(node: string): void {
    for (const { metadata, spec } of this.#attachments.list())
      if (spec.nodeName === node) this.#queue.add(metadata.name);
  }

  async #sync(name: string): Promise<void> {
    const wanted = this.#wanted.get(name);
    const found = this.#attachments.get(name);
    if (wanted) {
      this.#unwantedSince.delete(name);
      if (!found) return this.#attach(wanted);
      // One that is going has to be gone before it can be made again.
      if (!found.metadata.deletionTimestamp) this.#tellAttached(wanted, found);
      return;
    }
    this.#told.delete(name);
    if (!found) {
      this.#unwantedSince.delete(name);
      this.#detaching.delete(name);
      return;
    }
    if (isOurs(found) && !found.metadata.deletionTimestamp) await this.#detach(found);
  }

  async #attach(wanted: WantedAttachment): Promise<void> {
    const { name, node, driver, volume } = wanted;
    if (!this.#nodes.get(node)) return;
    if (!mayBeShared(volume) && this.#isElsewhere(wanted)) return;
    this.#detaching.delete(name);
    await this.#attachments
      .create({
        metadata: { name },
        spec: { attacher: driver, nodeName: node, source: { persistentVolumeName: volume.metadata.name } },
      })
      .catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
  }

  /** Whether another node has the volume; the pods that wait are told, once. */
  #isElsewhere({ name, node, driver, handle, volume, pods }: WantedAttachment): boolean {
    const nodes = this.#attachments
      .list()
      .filter(({ spec }) => spec.source.persistentVolumeName === volume.metadata.name && spec.nodeName !== node)
      .map(({ spec }) => spec.nodeName);
    if (nodes.length === 0) return false;
    const users = this.#wanted
      .ofVolume(driver, handle)
      .filter((other) => nodes.includes(other.node))
      .flatMap((other) => [...other.pods].flatMap((key) => this.#pods.get(key) ?? []));
    for (const pod of this.#podsOf(pods))
      this.#tell(name, pod, 'Warning', multiAttachText(volume.metadata.name, pod, users));
    return true;
  }

  #tellAttached({ name, pods, volume }: WantedAttachment, { status }: VolumeAttachment): void {
    const about = `for volume "${volume.metadata.name}" `;
    for (const pod of this.#podsOf(pods)) {
      if (status?.attached) this.#tell(name, pod, 'Normal', `AttachVolume.Attach succeeded ${about}`);
      else if (status?.attachError)
        this.#tell(name, pod, 'Warning', `AttachVolume.Attach failed ${about}: ${status.attachError.message ?? ''}`);
    }
  }

  #tell(name: string, pod: Pod, type: 'Normal' | 'Warning', message: string): void {
    const told = this.#told.get(name) ?? new Map<string, string>();
    if (told.get(pod.metadata.uid) === message) return;
    this.#told.set(name, told.set(pod.metadata.uid, message));
    const reason = type === 'Normal' ? 'SuccessfulAttachVolume' : 'FailedAttachVolume';
    this.#context.events('attachdetach-controller').event(pod, type, reason, message);
  }

  #podsOf(keys: Iterable<string>): Pod[] {
    return [...keys].flatMap((key) => this.#pods.get(key) ?? []);
  }

  /** First the node is told not to use the volume; only then, and if it does not have it mounted, the volume goes. */
  async #detach(found: VolumeAttachment): Promise<void> {
    const { name } = found.metadata;
    const { nodeName } = found.spec;
    const now = this.#context.clock.monotonic();
    const since = this.#unwantedSince.get(name) ?? now;
    this.#unwantedSince.set(name, since);
    const volume = this.#uniqueNameOf(found);
    const node = this.#nodes.get(nodeName);
    const decision = decideDetach(node, volume, now - since, this.#maximumWaitMs);
    if (decision.do === 'wait') {
      if (decision.ms !== undefined) this.#queue.addAfter(name, decision.ms);
      return;
    }
    this.#detaching.add(name);
    const written = await this.#writeAttached(nodeName);
    const mounted = volume !== undefined && (written?.status?.volumesInUse ?? []).includes(volume);
    if (decision.checkUse && mounted) {
      // It was mounted in this moment: back to where it was, until the node says otherwise.
      this.#detaching.delete(name);
      await this.#writeAttached(nodeName);
      return;
    }
    if (this.#wanted.get(name)) {
      this.#detaching.delete(name);
      await this.#writeAttached(nodeName);
      return;
    }
    await this.#attachments.delete(found);
  }

  #uniqueNameOf({ spec }: VolumeAttachment): string | undefined {
    const csi = this.#volumes.get(spec.source.persistentVolumeName ?? '')?.spec?.csi;
    return csi && uniqueName(csi.driver, csi.volumeHandle);
  }

  async #syncNode(node: string): Promise<void> {
    await this.#writeAttached(node);
  }

  /** Says in a Node's status what is attached to it. @returns the Node as it is then; undefined when there is none */
  async #writeAttached(nodeName: string): Promise<Node | undefined> {
    const node = this.#nodes.get(nodeName);
    if (!node) return undefined;
    const names = this.#attachments
      .list()
      .filter((one) => one.spec.nodeName === nodeName && isOurs(one) && one.status?.attached)
      .filter(({ metadata }) => !metadata.deletionTimestamp && !this.#detaching.has(metadata.name))
      .flatMap((one) => this.#uniqueNameOf(one) ?? []);
    const volumesAttached = [...new Set(names)].sort().map((name) => ({ name, devicePath: '' }));
    if (sameJson(node.status?.volumesAttached ?? [], volumesAttached)) return this.#fresh(nodeName);
    try {
      return await this.#nodes.patch({ name: nodeName }, { status: { volumesAttached } }, { subresource: 'status' });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** The Node as the API server has it now: what the watch has not told yet may say that a volume is in use. */
  async #fresh(nodeName: string): Promise<Node | undefined> {
    try {
      return await this.#context.client.get<Node>(resources.nodes, nodeName);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
