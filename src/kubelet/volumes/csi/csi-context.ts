import { type CSIDriver, type CSIPersistentVolumeSource, type Node, type Pod, resources } from '../../../api/index.ts';
import { type Clock, withDeadline } from '../../../async/index.ts';
import { type ApiClient, createInformer, type Informer, isNotFound } from '../../../client/index.ts';
import type { Logger } from '../../../log/index.ts';
import type { ResolvedVolume } from '../plugin.ts';
import type { DriverClient } from './driver-client.ts';
import type { DriverRegistry } from './driver-registry.ts';
import { csiText } from './errors.ts';

/** A token for a pod's service account. */
export interface PodToken {
  token: string;
  /** As TokenRequest writes it. */
  expirationTimestamp: string;
}

/** What the parts of the CSI plugin share. */
export interface CsiContext {
  /** The kubelet's root directory. */
  root: string;
  nodeName: string;
  client: ApiClient | undefined;
  drivers: DriverRegistry;
  objects: CsiDriverObjects;
  node: () => Node | undefined;
  token: (pod: Pod, request: { audience?: string; expirationSeconds?: number }) => Promise<PodToken>;
  /** Notes that a pod waits for a driver: it is woken when the driver registers. */
  waitsFor: (driver: string, podUid: string) => void;
  log: Logger;
  clock: Clock;
}

/** How long the first list of CSIDrivers may take, milliseconds. */
const firstListMs = 30_000;

/** The CSIDriver objects of the cluster: watched from the first volume or driver on, since most nodes have none. */
export class CsiDriverObjects {
  readonly #client: ApiClient | undefined;
  readonly #options: { log: Logger; clock: Clock; onChange?: (driver: string) => void };
  #informer: Informer<CSIDriver> | undefined;

  constructor(
    client: ApiClient | undefined,
    options: { log: Logger; clock: Clock; onChange?: (driver: string) => void },
  ) {
    this.#client = client;
    this.#options = options;
  }

  /** The object of a driver; undefined when there is none. @throws Error when the list cannot be had */
  async get(driver: string): Promise<CSIDriver | undefined> {
    const informer = this.#watch();
    if (!informer.isSynced) {
      const { clock } = this.#options;
      await withDeadline('reading CSIDrivers', firstListMs, () => informer.synced, { clock });
    }
    return informer.get(driver);
  }

  /** The same, from what is known now. */
  peek(driver: string): CSIDriver | undefined {
    return this.#informer?.get(driver);
  }

  stop(): void {
    this.#informer?.stop();
  }

  #watch(): Informer<CSIDriver> {
    if (!this.#client) throw new Error('CSIDriver lister does not exist');
    if (!this.#informer) {
      const { log, clock, onChange } = this.#options;
      this.#informer = createInformer(this.#client, resources.csidrivers, {
        log,
        clock,
        ...(onChange ? { onChange } : {}),
      });
      this.#informer.start();
    }
    return this.#informer;
  }
}

/**
 * The client of a driver.
 * @param step what needs it, in upstream's words: the beginning of the error's text
 * @param podUid the pod that waits for it, where there is one
 */
export function driverFor(context: CsiContext, name: string, step: string, podUid?: string): DriverClient {
  try {
    return context.drivers.client(name);
  } catch (cause) {
    if (podUid !== undefined) context.waitsFor(name, podUid);
    throw new Error(csiText(`${step}: ${(cause as Error).message}`), { cause });
  }
}

/** The CSI source of a persistent volume. @throws Error when it has none */
export function persistentSource({ persistentVolume }: ResolvedVolume): CSIPersistentVolumeSource {
  const source = persistentVolume?.spec?.csi;
  if (!source) throw new Error('volume source not found in volume.Spec');
  return source;
}

/** The first of a persistent volume's access modes. */
export function accessModeOf({ persistentVolume }: ResolvedVolume): string {
  return persistentVolume?.spec?.accessModes?.[0] ?? 'ReadWriteOnce';
}

/** Whether a controller attaches the driver's volumes to nodes: unless its CSIDriver says otherwise. */
export async function needsAttach(context: CsiContext, driver: string): Promise<boolean> {
  return (await context.objects.get(driver))?.spec.attachRequired !== false;
}

/** What a Secret holds, for a driver. @throws Error in upstream's words */
export async function readSecret(
  context: CsiContext,
  reference: { name?: string; namespace?: string } | undefined,
  field: string,
): Promise<Record<string, string>> {
  if (!reference) return {};
  const { name = '', namespace = '' } = reference;
  try {
    const { data = {} } = await context.client!.get(resources.secrets, name, { namespace });
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  } catch (cause) {
    const why = csiText(
      `failed to find the secret ${name} in the namespace ${namespace} with error: ${(cause as Error).message}`,
    );
    throw new Error(`fetching ${field} ${namespace}/${name} failed: ${why}`, { cause });
  }
}

/** The VolumeAttachment of a volume to this node. @throws Error when it cannot be read or does not exist */
export async function readAttachment(context: CsiContext, attachment: string, signal?: AbortSignal) {
  if (!context.client) throw new Error(csiText('failed to get a kubernetes client'));
  return context.client
    .get(resources.volumeattachments, attachment, signal ? { signal } : {})
    .catch((error: unknown) => {
      if (isNotFound(error))
        throw new Error(`volumeattachments.storage.k8s.io "${attachment}" not found`, { cause: error });
      throw error;
    });
}
