import { type CSINode, type CSINodeDriver, type Node, resources } from '../../../api/index.ts';
import { type Clock, KeyedQueue, type Timer } from '../../../async/index.ts';
import { type ApiClient, isAlreadyExists, isNotFound } from '../../../client/index.ts';
import type { Logger } from '../../../log/index.ts';

/** What a driver says of this node. */
export interface DriverNodeInfo {
  nodeId: string;
  maxVolumesPerNode: bigint;
  accessibleTopology?: { segments: Record<string, string> } | undefined;
}

/** What the keeper of the CSINode needs. */
export interface CsiNodeInfoOptions {
  client: ApiClient | undefined;
  nodeName: string;
  /** The Node object as the API server has it; undefined before it is registered. */
  node: () => Node | undefined;
  log: Logger;
  clock: Clock;
}

/** The annotation of a Node that holds the drivers' names for it. */
const nodeIdAnnotation = 'csi.volume.kubernetes.io/nodeid';

/** What CSINode can say at most. */
const greatestCount = 2 ** 31 - 1;

/** How often it is looked whether the Node is still the one that owns the CSINode, milliseconds. */
const ownerCheckMs = 5_000;

/** The same until the node is registered, milliseconds. */
const firstCheckMs = 100;

/**
 * Keeps the CSINode of this node, and in its Node the drivers' topology labels and node ids. What is wanted is in memory
 * (drivers register anew after a restart of the kubelet); a write that fails is tried again.
 */
export class CsiNodeInfo {
  readonly #options: CsiNodeInfoOptions;
  readonly #wanted = new Map<string, DriverNodeInfo>();
  /** Drivers that have gone and are still in the objects, as far as known. */
  readonly #gone = new Set<string>();
  readonly #queue: KeyedQueue;
  #owner: string | undefined;
  #last: Promise<void> = Promise.resolve();
  #timer: Timer | undefined;

  constructor(options: CsiNodeInfoOptions) {
    this.#options = options;
    this.#queue = new KeyedQueue(() => this.#write(), {
      concurrency: 1,
      retryInitialMs: 100,
      retryMaximumMs: 10_000,
      clock: options.clock,
      onError: (_, error) => options.log.debug('CSINode not written', { error }),
    });
  }

  /** Makes the CSINode as soon as the node is registered, and again when its Node is another one. */
  start(): void {
    // Not at once: the kubelet's parts are still being put together.
    if (this.#options.client) this.#timer = this.#options.clock.after(0, () => this.#checkOwner());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    await this.#queue.stop();
  }

  /** Says in the API that the driver is here. @throws Error when that cannot be written */
  async install(driver: string, info: DriverNodeInfo, signal?: AbortSignal): Promise<void> {
    if (!this.#options.client) throw new Error('error getting CSI client');
    if (info.nodeId === '') throw new Error(`error adding CSI driver node info: driverNodeID must not be empty`);
    this.#wanted.set(driver, info);
    this.#gone.delete(driver);
    try {
      await this.#write();
    } catch (error) {
      if (!signal?.aborted) this.uninstall(driver);
      throw new Error(`error updating CSINode object with CSI driver node info: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Takes the driver out of the API, now or when it can be reached again. */
  uninstall(driver: string): void {
    this.#wanted.delete(driver);
    this.#gone.add(driver);
    this.#queue.add('csinode');
  }

  #checkOwner(): void {
    const uid = this.#registeredNode()?.metadata.uid;
    if (uid !== undefined && uid !== this.#owner) this.#queue.add('csinode');
    const nextMs = uid === undefined ? firstCheckMs : ownerCheckMs;
    this.#timer = this.#options.clock.after(nextMs, () => this.#checkOwner());
  }

  #registeredNode(): Node | undefined {
    const node = this.#options.node();
    return node?.metadata.uid ? node : undefined;
  }

  /** One write at a time: two registrations would overwrite each other's driver. */
  #write(): Promise<void> {
    const next = this.#last.then(() => this.#writeNow());
    this.#last = next.catch(() => {});
    return next;
  }

  async #writeNow(): Promise<void> {
    const { client } = this.#options;
    const node = this.#registeredNode();
    if (!client) return;
    if (!node) throw new Error('the node is not registered yet');
    await this.#writeNode(client, node);
    await this.#writeCsiNode(client, node);
    this.#owner = node.metadata.uid;
    this.#gone.clear();
  }

  async #writeCsiNode(client: ApiClient, node: Node): Promise<void> {
    const { nodeName } = this.#options;
    const uid = node.metadata.uid;
    let found: CSINode | undefined = await client.get(resources.csinodes, nodeName).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    const owned = found?.metadata.ownerReferences?.some((one) => one.kind === 'Node' && one.uid === uid);
    if (found && !owned) {
      await client.delete(resources.csinodes, nodeName, { uid: found.metadata.uid });
      found = undefined;
    }
    const drivers = this.#drivers(found?.spec.drivers ?? []);
    if (!found) {
      await client
        .create(resources.csinodes, {
          metadata: {
            name: nodeName,
            ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid }],
          },
          spec: { drivers },
        })
        .catch((error: unknown) => {
          if (isAlreadyExists(error)) throw new Error('somebody else has just made the CSINode', { cause: error });
          throw error;
        });
    } else if (JSON.stringify(found.spec.drivers) !== JSON.stringify(drivers)) {
      await client.update(resources.csinodes, { ...found, spec: { ...found.spec, drivers } });
    }
  }

  /** Those that are there, as they are wanted, and the new ones behind them. */
  #drivers(present: CSINodeDriver[]): CSINodeDriver[] {
    const kept = present.filter(({ name }) => !this.#gone.has(name));
    const names = new Set([...kept.map(({ name }) => name), ...this.#wanted.keys()]);
    return [...names].map((name) => {
      const info = this.#wanted.get(name);
      return info ? csiNodeDriver(name, info) : kept.find((one) => one.name === name)!;
    });
  }

  /** Node ids and topology: a label with another value than the driver's is a mistake that nobody should hide. */
  async #writeNode(client: ApiClient, node: Node): Promise<void> {
    const { annotations = {}, labels = {} } = node.metadata;
    const added: Record<string, string> = {};
    for (const { accessibleTopology } of this.#wanted.values()) {
      for (const [key, value] of Object.entries(accessibleTopology?.segments ?? {})) {
        if (labels[key] !== undefined && labels[key] !== value) {
          throw new Error(
            `detected topology value collision: driver reported "${key}":"${value}" but existing label is "${key}":"${labels[key]}"`,
          );
        }
        if (labels[key] === undefined) added[key] = value;
      }
    }
    const ids = parseIds(annotations[nodeIdAnnotation]);
    for (const name of this.#gone) delete ids[name];
    for (const [name, { nodeId }] of this.#wanted) ids[name] = nodeId;
    const text = Object.keys(ids).length > 0 ? JSON.stringify(ids) : null;
    const changed = text !== (annotations[nodeIdAnnotation] ?? null);
    if (!changed && Object.keys(added).length === 0) return;
    const metadata = { labels: added, ...(changed ? { annotations: { [nodeIdAnnotation]: text } } : {}) };
    await client.patch(resources.nodes, this.#options.nodeName, { metadata }, { type: 'merge' });
  }
}

function parseIds(text: string | undefined): Record<string, string> {
  try {
    return JSON.parse(text ?? '{}') as Record<string, string>;
  } catch {
    // Nobody else writes it: what cannot be read is written anew.
    return {};
  }
}

function csiNodeDriver(name: string, { nodeId, maxVolumesPerNode, accessibleTopology }: DriverNodeInfo): CSINodeDriver {
  const topologyKeys = Object.keys(accessibleTopology?.segments ?? {}).sort();
  const count = Math.min(Number(maxVolumesPerNode), greatestCount);
  return {
    name,
    nodeID: nodeId,
    ...(topologyKeys.length > 0 ? { topologyKeys } : {}),
    ...(count > 0 ? { allocatable: { count } } : {}),
  };
}
