import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  quantityValue,
  resources,
  type StorageClass,
} from '../../../api/index.ts';
import { isAlreadyExists } from '../../../client/index.ts';
import { annotations, classNameOf, isBindCompleted, waitsForConsumer } from '../../volumes/facts.ts';
import {
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import type { Store } from '../framework/store.ts';
import { makeDirectory, removeDirectory } from './directories.ts';
import { localPathProvisioner, localVolume, releaseFinalizer, storageClassOf } from './objects.ts';

/** Where claims of class `local-path` get their directories. */
export interface LocalPathOptions {
  /** A directory of this machine; every volume is a directory in it. */
  directory: string;
  /** The node whose kubelet runs on this machine. */
  nodeName: string;
}

/**
 * Makes volumes of claims: a directory each, on the node beside which this controller runs. It also keeps the class that
 * asks for them, which is the cluster's default unless there is another.
 */
export function startLocalPathController(context: ControllerContext, options: LocalPathOptions): Controller {
  return new LocalPathController(context, options);
}

class LocalPathController implements Controller {
  readonly #context: ControllerContext;
  readonly #options: LocalPathOptions;
  readonly #claims: Store<PersistentVolumeClaim>;
  readonly #volumes: Store<PersistentVolume>;
  readonly #classes: Store<StorageClass>;
  readonly #parts: Controller;

  constructor(context: ControllerContext, options: LocalPathOptions) {
    this.#context = context;
    this.#options = options;
    this.#claims = context.informers.store<PersistentVolumeClaim>(resources.persistentvolumeclaims);
    this.#volumes = context.informers.store<PersistentVolume>(resources.persistentvolumes);
    this.#classes = context.informers.store<StorageClass>(resources.storageclasses);
    const stores = [this.#claims, this.#volumes, this.#classes];
    const classQueue = createControllerQueue(context, {
      ...{ name: 'local-path-class', stores: [this.#classes] },
      handle: () => this.#keepClass(),
    });
    const claimQueue = createControllerQueue(context, {
      ...{ name: 'local-path', stores },
      handle: (key) => this.#provision(key),
    });
    const volumeQueue = createControllerQueue(context, {
      ...{ name: 'local-path-volume', stores: [this.#volumes] },
      handle: (name) => this.#reclaim(name),
    });
    const ends = [
      this.#claims.subscribe((key, now) => {
        if (now?.metadata.annotations?.[annotations.provisioner] === localPathProvisioner) claimQueue.add(key);
      }),
      this.#volumes.subscribe((name, now) => {
        if (now && this.#isOurs(now)) volumeQueue.add(name);
      }),
    ];
    this.#parts = controllerOfParts([classQueue, claimQueue, volumeQueue], ends);
    classQueue.add('class');
  }

  stop(): Promise<void> {
    return this.#parts.stop();
  }

  #isOurs({ metadata, spec }: PersistentVolume): boolean {
    const made = metadata.annotations?.[annotations.provisionedBy] === localPathProvisioner;
    const nodes = spec?.nodeAffinity?.required?.nodeSelectorTerms.flatMap((term) =>
      (term.matchExpressions ?? []).flatMap(({ values = [] }) => values),
    );
    return made && (nodes?.includes(this.#options.nodeName) ?? false);
  }

  /** Makes the class once. One for another node (the data directory was given a new name) is made anew. */
  async #keepClass(): Promise<void> {
    const all = this.#classes.list();
    const other = all.some(
      ({ metadata, provisioner }) =>
        provisioner !== localPathProvisioner && metadata.annotations?.[annotations.defaultClass] === 'true',
    );
    const wanted = storageClassOf(this.#options.nodeName, { isDefault: !other });
    const present = this.#classes.get(wanted.metadata.name);
    if (present?.provisioner === localPathProvisioner && !sameJson(present.allowedTopologies, wanted.allowedTopologies))
      await this.#classes.delete(present);
    else if (present) return;
    try {
      await this.#classes.create(wanted);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #provision(key: string): Promise<void> {
    const claim = this.#claims.get(key);
    if (!claim || claim.metadata.deletionTimestamp) return;
    if (isBindCompleted(claim)) return this.#grow(claim);
    if (claim.spec?.volumeName) return;
    const storageClass = this.#classes.get(classNameOf(claim));
    if (storageClass?.provisioner !== localPathProvisioner) return;
    const selected = claim.metadata.annotations?.[annotations.selectedNode];
    if (waitsForConsumer(storageClass) && !selected) return;
    const name = `pvc-${claim.metadata.uid}`;
    if (this.#volumes.get(name)) return;
    const events = this.#context.events('local-path');
    const problem = this.#problemOf(claim, storageClass, selected);
    if (problem) return events.event(claim, 'Warning', 'ProvisioningFailed', problem);
    const directory = await makeDirectory(
      this.#options.directory,
      `${name}_${claim.metadata.namespace}_${claim.metadata.name}`,
    );
    try {
      await this.#volumes.create(
        localVolume({ name, claim, storageClass, directory, nodeName: this.#options.nodeName }),
      );
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    events.event(claim, 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${name}`);
  }

  #problemOf({ spec }: PersistentVolumeClaim, { parameters }: StorageClass, selected?: string): string | undefined {
    const { nodeName } = this.#options;
    const unknown = Object.keys(parameters ?? {}).filter((key) => !key.startsWith('csi.storage.k8s.io/'));
    if (selected && selected !== nodeName)
      return `node ${selected} is not the one that local-path makes directories on (${nodeName}): schedule the pod there, or make a PersistentVolume by hand`;
    if (spec?.volumeMode === 'Block')
      return 'local-path makes directories, not devices: volumeMode Block is not possible';
    if (spec?.dataSource ?? spec?.dataSourceRef) return 'local-path cannot fill a volume from a data source';
    if (spec?.selector) return 'a claim with a selector takes existing volumes only: local-path does not make one';
    if (unknown.length > 0)
      return `local-path knows no parameter ${unknown.join(', ')}: remove it from the StorageClass`;
    return undefined;
  }

  /** A directory has no size of its own: to grow it is to say so. */
  async #grow(claim: PersistentVolumeClaim): Promise<void> {
    const volume = this.#volumes.get(claim.spec?.volumeName ?? '');
    const wanted = claim.spec?.resources?.requests?.['storage'];
    if (!volume || !wanted || !this.#isOurs(volume)) return;
    const isLarger = (than: string | number | undefined): boolean => quantityValue(wanted) > quantityValue(than ?? 0);
    if (isLarger(volume.spec?.capacity?.['storage'])) {
      await this.#volumes.patch(volume.metadata, { spec: { capacity: { storage: wanted } } });
    }
    if (!isLarger(claim.status?.capacity?.['storage'])) return;
    await this.#claims.patch(claim.metadata, { status: { capacity: { storage: wanted } } }, { subresource: 'status' });
    this.#context.events('local-path').event(claim, 'Normal', 'VolumeResizeSuccessful', 'Resize volume succeeded');
  }

  /** A released volume goes with its directory, where its policy says so; one that is deleted by hand as well. */
  async #reclaim(name: string): Promise<void> {
    const volume = this.#volumes.get(name);
    if (!volume) return;
    const { deletionTimestamp, finalizers = [], resourceVersion } = volume.metadata;
    const deletes = volume.spec?.persistentVolumeReclaimPolicy === 'Delete';
    const phase = volume.status?.phase;
    if (!deletionTimestamp) {
      if (deletes && phase === 'Released') await this.#volumes.delete(volume);
      return;
    }
    if (!finalizers.includes(releaseFinalizer) || phase === 'Bound') return;
    if (deletes) await removeDirectory(this.#options.directory, volume.spec?.local?.path ?? '');
    const left = finalizers.filter((one) => one !== releaseFinalizer);
    await this.#volumes.patch(volume.metadata, { metadata: { resourceVersion, finalizers: left } });
  }
}
