/**
 * What drivers' sidecars do in real clusters, as far as tests need it: provisions, attaches and resizes volumes of one
 * driver by its controller service.
 *
 * Usage: node sidecars-process.ts KUBECONFIG SOCKET DRIVER
 */

import { Controller } from '../../../src/api/csi/index.ts';
import {
  type ApiObject,
  type CSINode,
  type PersistentVolume,
  type PersistentVolumeClaim,
  quantityValue,
  type Resource,
  resources,
  type StorageClass,
  type VolumeAttachment,
} from '../../../src/api/index.ts';
import { KeyedQueue } from '../../../src/async/index.ts';
import { createClient, createInformer, type Informer, loadKubeconfig } from '../../../src/client/index.ts';
import { createGrpcClient } from '../../../src/wire/grpc/index.ts';

const [kubeconfig, socket, driver] = process.argv.slice(2) as [string, string, string];
const client = createClient(await loadKubeconfig(kubeconfig));
const controller = createGrpcClient(Controller, `unix://${socket}`);
const finalizer = `external-attacher/${driver.replaceAll('.', '-')}`;
const text = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function watch<T extends ApiObject>(resource: Resource<T>, onChange: (key: string) => void): Informer<T> {
  const informer = createInformer(client, resource, { onChange });
  informer.start();
  return informer;
}
const queue = (handle: (key: string) => Promise<void>): KeyedQueue =>
  new KeyedQueue(handle, {
    retryInitialMs: 50,
    retryMaximumMs: 1000,
    onError: (key, error) => console.error(`${key}: ${text(error)}`),
  });

const attaching = queue(attach);
const claimsToDo = queue(provide);
const volumesToDo = queue(reclaim);
const attachments = watch<VolumeAttachment>(resources.volumeattachments, (key) => attaching.add(key));
const nodes = watch<CSINode>(resources.csinodes, () => {
  for (const { metadata } of attachments.list()) attaching.add(metadata.name);
});
const volumes = watch<PersistentVolume>(resources.persistentvolumes, (key) => {
  volumesToDo.add(key);
  for (const { metadata, spec } of attachments.list())
    if (spec.source.persistentVolumeName === key) attaching.add(metadata.name);
});
const classes = watch<StorageClass>(resources.storageclasses, () => {
  for (const { metadata } of claims.list()) claimsToDo.add(`${metadata.namespace}/${metadata.name}`);
});
const claims: Informer<PersistentVolumeClaim> = watch(resources.persistentvolumeclaims, (key) => claimsToDo.add(key));
await Promise.all([attachments.synced, nodes.synced, volumes.synced, classes.synced, claims.synced]);
console.log('ready');

async function attach(name: string): Promise<void> {
  const found = attachments.get(name);
  if (found?.spec.attacher !== driver) return;
  const volume = volumes.get(found.spec.source.persistentVolumeName ?? '');
  const volumeId = volume?.spec?.csi?.volumeHandle ?? '';
  const nodeId = nodes.get(found.spec.nodeName)?.spec.drivers.find((one) => one.name === driver)?.nodeID ?? '';
  const status = (value: object) =>
    client.patch(resources.volumeattachments, name, { status: value }, { type: 'merge', subresource: 'status' });
  try {
    if (found.metadata.deletionTimestamp) {
      if (!found.metadata.finalizers?.includes(finalizer)) return;
      await controller.controllerUnpublishVolume({ volumeId, nodeId });
      await client.patch(resources.volumeattachments, name, { metadata: { finalizers: null } }, { type: 'merge' });
      return;
    }
    if (found.status?.attached) return;
    if (!volume) throw new Error(`persistent volume of ${name} not found`);
    if (nodeId === '') throw new Error(`node "${found.spec.nodeName}" has no NodeID for driver ${driver}`);
    if (!found.metadata.finalizers?.includes(finalizer))
      await client.patch(
        resources.volumeattachments,
        name,
        { metadata: { finalizers: [finalizer] } },
        { type: 'merge' },
      );
    const { publishContext } = await controller.controllerPublishVolume({
      volumeId,
      nodeId,
      readonly: volume.spec?.csi?.readOnly ?? false,
      volumeContext: volume.spec?.csi?.volumeAttributes ?? {},
    });
    await status({ attached: true, attachmentMetadata: publishContext, attachError: null });
  } catch (error) {
    const failure = { message: `rpc error: ${text(error)}`, time: new Date().toISOString().replace(/\.\d+Z/, 'Z') };
    await status({
      attached: found.status?.attached ?? false,
      [found.metadata.deletionTimestamp ? 'detachError' : 'attachError']: failure,
    });
    throw error;
  }
}

async function provide(key: string): Promise<void> {
  const claim = claims.get(key);
  if (!claim || claim.metadata.deletionTimestamp) return;
  const storage = classes.get(claim.spec?.storageClassName ?? '');
  if (storage?.provisioner !== driver) return;
  if (claim.spec?.volumeName) return resize(claim);
  const selected = claim.metadata.annotations?.['volume.kubernetes.io/selected-node'];
  if (storage.volumeBindingMode === 'WaitForFirstConsumer' && !selected) return;
  const name = `pvc-${claim.metadata.uid}`;
  if (volumes.get(name)) return;
  const parameters = storage.parameters ?? {};
  const size = claim.spec?.resources?.requests?.['storage'] ?? '0';
  const { volume } = await controller.createVolume({
    name,
    capacityRange: { requiredBytes: BigInt(quantityValue(size)) },
    parameters: Object.fromEntries(
      Object.entries(parameters).filter(([one]) => !one.startsWith('csi.storage.k8s.io/')),
    ),
  });
  const { uid, namespace = '' } = claim.metadata;
  const reference = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: claim.metadata.name, namespace, uid };
  const segments = volume?.accessibleTopology[0]?.segments;
  const terms = segments && [
    {
      matchExpressions: Object.entries(segments).map(([one, value]) => ({ key: one, operator: 'In', values: [value] })),
    },
  ];
  await client.create(resources.persistentvolumes, {
    metadata: { name, annotations: { 'pv.kubernetes.io/provisioned-by': driver } },
    spec: {
      capacity: { storage: size },
      accessModes: claim.spec?.accessModes ?? [],
      volumeMode: claim.spec?.volumeMode ?? 'Filesystem',
      persistentVolumeReclaimPolicy: storage.reclaimPolicy ?? 'Delete',
      storageClassName: storage.metadata.name,
      ...(storage.mountOptions ? { mountOptions: storage.mountOptions } : {}),
      claimRef: reference,
      csi: {
        driver,
        volumeHandle: volume!.volumeId,
        fsType: parameters['csi.storage.k8s.io/fstype'] ?? 'ext4',
        volumeAttributes: volume!.volumeContext,
      },
      ...(terms ? { nodeAffinity: { required: { nodeSelectorTerms: terms } } } : {}),
    },
  });
}

async function resize(claim: PersistentVolumeClaim): Promise<void> {
  const volume = volumes.get(claim.spec?.volumeName ?? '');
  const wanted = claim.spec?.resources?.requests?.['storage'];
  if (!volume?.spec?.csi || !wanted) return;
  if (quantityValue(wanted) <= quantityValue(volume.spec.capacity?.['storage'] ?? '0')) return;
  await controller.controllerExpandVolume({
    volumeId: volume.spec.csi.volumeHandle,
    capacityRange: { requiredBytes: BigInt(quantityValue(wanted)) },
  });
  const { name, namespace = '' } = claim.metadata;
  await client.patch(
    resources.persistentvolumes,
    volume.metadata.name,
    { spec: { capacity: { storage: wanted } } },
    { type: 'merge' },
  );
  const condition = {
    type: 'FileSystemResizePending',
    status: 'True',
    message: 'Waiting for user to (re-)start a pod',
  };
  await client.patch(
    resources.persistentvolumeclaims,
    name,
    { status: { conditions: [condition] } },
    { namespace, type: 'merge', subresource: 'status' },
  );
}

async function reclaim(name: string): Promise<void> {
  const volume = volumes.get(name);
  if (volume?.spec?.csi?.driver !== driver || volume.status?.phase !== 'Released') return;
  if (volume.spec.persistentVolumeReclaimPolicy !== 'Delete') return;
  if (attachments.list().some(({ spec }) => spec.source.persistentVolumeName === name))
    throw new Error(`${name} is still attached`);
  await controller.deleteVolume({ volumeId: volume.spec.csi.volumeHandle });
  await client.delete(resources.persistentvolumes, name);
}
