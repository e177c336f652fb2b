import type { Cluster } from '../cluster.ts';
import type { CsiDriver } from './csi-driver.ts';

/** What of a persistent volume and its claim matters to a test. */
export interface CsiVolumeOptions {
  accessModes?: string[];
  fsType?: string;
  mode?: 'Filesystem' | 'Block';
  attributes?: Record<string, string>;
  mountOptions?: string[];
  size?: string;
  /** More fields of spec.csi: secrets. */
  csi?: object;
}

/** Creates objects. */
export async function apply(cluster: Cluster, ...objects: object[]): Promise<void> {
  await cluster.kubectl(['apply', '-f', '-'], { input: objects.map((one) => JSON.stringify(one)).join('\n') });
}

/** The CSIDriver of a driver. */
export function csiDriverObject(driver: CsiDriver, spec: object): object {
  return { apiVersion: 'storage.k8s.io/v1', kind: 'CSIDriver', metadata: { name: driver.name }, spec };
}

/** Makes a volume in a driver, and a persistent volume and a claim of one name that are bound to each other. */
export async function boundClaim(
  cluster: Cluster,
  driver: CsiDriver,
  name: string,
  options: CsiVolumeOptions = {},
): Promise<void> {
  const { accessModes = ['ReadWriteOnce'], fsType, mode = 'Filesystem', mountOptions, size = '1Gi' } = options;
  await driver.createVolume(name, { hello: name });
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: {
      storageClassName: '',
      volumeName: name,
      volumeMode: mode,
      accessModes,
      resources: { requests: { storage: size } },
    },
  };
  await apply(cluster, claim, {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name },
    spec: {
      capacity: { storage: size },
      accessModes,
      volumeMode: mode,
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: '',
      ...(mountOptions ? { mountOptions } : {}),
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace: 'default' },
      csi: {
        driver: driver.name,
        volumeHandle: name,
        ...(fsType ? { fsType } : {}),
        ...(options.attributes ? { volumeAttributes: options.attributes } : {}),
        ...options.csi,
      },
    },
  });
}

/** A pod of one container with volumes; each is mounted at `/mnt/<its name>`. */
export function podWithVolumes(
  name: string,
  image: string,
  volumes: Record<string, object>,
  more: { spec?: object; container?: object; mount?: object; metadata?: object } = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...more.metadata },
    spec: {
      // Not 0: that would take the pod out of the API before its volumes are away.
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'main',
          image,
          command: ['sh', '-c', 'trap "exit 0" TERM; sleep 100000 & wait'],
          volumeMounts: Object.keys(volumes).map((one) => ({ name: one, mountPath: `/mnt/${one}`, ...more.mount })),
          ...more.container,
        },
      ],
      volumes: Object.entries(volumes).map(([one, source]) => ({ name: one, ...source })),
      ...more.spec,
    },
  };
}
