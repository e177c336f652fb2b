import { type Lease, type Node, objectKey, type Pod, resources } from '../../../api/index.ts';
import type { KeyedQueue } from '../../../async/index.ts';
import type { EventRecorder } from '../../../client/index.ts';
import { isNotFound } from '../../../client/index.ts';
import {
  apiTime,
  type Controller,
  type ControllerContext,
  controllerOfParts,
  createControllerQueue,
  sameJson,
} from '../framework/controller.ts';
import { isPodFinished, isPodReady } from '../framework/pods.ts';
import type { Store } from '../framework/store.ts';
import { evictionTime, planTaints, silentConditions } from './plan.ts';

/** Times of the node controller. */
export interface NodeLifecycleOptions {
  /** A node without a sign of life for this long is Unknown, milliseconds. Default 50,000. */
  graceMs?: number;
}

/** Watches over the nodes: silence makes them Unknown, conditions become taints, NoExecute taints evict pods. */
export function startNodeLifecycleController(
  context: ControllerContext,
  options: NodeLifecycleOptions = {},
): Controller {
  const parts = [startHealth(context, options.graceMs ?? 50_000), startTaintEviction(context)];
  return { stop: async () => void (await Promise.all(parts.map((part) => part.stop()))) };
}

function startHealth(context: ControllerContext, graceMs: number): Controller {
  return new NodeHealth(context, graceMs);
}

class NodeHealth implements Controller {
  readonly #context: ControllerContext;
  readonly #graceMs: number;
  readonly #nodes: Store<Node>;
  readonly #leases: Store<Lease>;
  readonly #pods: Store<Pod>;
  readonly #events: EventRecorder;
  readonly #seen: Map<string, { sign: string; at: number }>;
  readonly #queue: KeyedQueue;
  readonly #parts: Controller;

  constructor(context: ControllerContext, graceMs: number) {
    this.#context = context;
    this.#graceMs = graceMs;
    this.#nodes = this.#context.informers.store<Node>(resources.nodes);
    this.#leases = this.#context.informers.store<Lease>(resources.leases);
    this.#pods = this.#context.informers.store<Pod>(resources.pods);
    this.#events = this.#context.events('node-controller');
    // When a sign of life was last seen, by our own clock: the node's may be wrong.
    this.#seen = new Map<string, { sign: string; at: number }>();
    this.#queue = createControllerQueue(this.#context, {
      name: 'node-lifecycle',
      stores: [this.#nodes, this.#leases, this.#pods],
      handle: async (name) => {
        let node = this.#nodes.get(name);
        if (!node) return void this.#seen.delete(name);
        const silentMs = this.#observe(node);
        if (silentMs >= this.#graceMs) {
          const conditions = silentConditions(node, this.#context.clock.now());
          if (conditions.length > 0) {
            this.#events.event(node, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
            node = await this.#nodes.patch(
              { name },
              { status: { conditions } },
              { type: 'strategic', subresource: 'status' },
            );
          }
        }
        const ready = node.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
        if (ready === 'False' || ready === 'Unknown') await this.#markPodsNotReady(name);
        const taints = planTaints(node, this.#context.clock.now());
        if (taints) {
          const { resourceVersion } = node.metadata;
          await this.#nodes.patch({ name }, { metadata: { resourceVersion }, spec: { taints } });
        }
        if (silentMs < this.#graceMs) this.#queue.addAfter(name, this.#graceMs - silentMs + 10);
      },
    });
    const onNode = this.#nodes.subscribe((key, now, before) => {
      if (!now || !before || healthOf(now) !== healthOf(before) || !sameJson(now.spec, before.spec))
        this.#queue.add(key);
      else this.#observe(now);
    });
    // A renewed lease only moves the moment of the next look, unless the node was taken for silent.
    const onLease = this.#leases.subscribe((_key, now) => {
      if (now?.metadata.namespace !== 'kube-node-lease') return;
      const node = this.#nodes.get(now.metadata.name);
      if (node) this.#observe(node);
    });
    this.#parts = controllerOfParts([this.#queue], [onNode, onLease]);
  }
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  async #markPodsNotReady(name: string): Promise<void> {
    const time = apiTime(this.#context.clock.now());
    const ready = this.#pods.by('node', name).filter(isPodReady);
    await Promise.all(
      ready.map(async (pod) => {
        const condition = { type: 'Ready', status: 'False', lastTransitionTime: time };
        const patch = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
        try {
          await this.#pods.patch(pod.metadata, patch, { type: 'strategic', subresource: 'status' });
          this.#events.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }),
    );
  }

  #observe(node: Node): number {
    const { name } = node.metadata;
    const lease = this.#leases.get(`kube-node-lease/${name}`);
    const beats = (node.status?.conditions ?? []).map(({ lastHeartbeatTime = '' }) => lastHeartbeatTime);
    const sign = `${lease?.spec?.renewTime ?? ''} ${beats.join(' ')}`;
    const before = this.#seen.get(name);
    if (before?.sign === sign) return this.#context.clock.monotonic() - before.at;
    this.#seen.set(name, { sign, at: this.#context.clock.monotonic() });
    return 0;
  }
}

function healthOf(node: Node): string {
  return JSON.stringify((node.status?.conditions ?? []).map(({ type, status }) => [type, status]));
}

function startTaintEviction(context: ControllerContext): Controller {
  const nodes = context.informers.store<Node>(resources.nodes);
  const pods = context.informers.store<Pod>(resources.pods);
  const events = context.events('taint-eviction-controller');
  const queue = createControllerQueue(context, {
    name: 'taint-eviction',
    stores: [nodes, pods],
    concurrency: 8,
    handle: async (key) => {
      const pod = pods.get(key);
      const node = pod?.spec.nodeName ? nodes.get(pod.spec.nodeName) : undefined;
      if (!pod || !node || pod.metadata.deletionTimestamp || isPodFinished(pod)) return;
      const now = context.clock.now();
      const at = evictionTime(pod, node, now);
      if (at === undefined) return;
      if (at > now) return queue.addAfter(key, at - now);
      events.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`);
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'DeletionByTaintManager',
        message: 'Taint manager: deleting due to NoExecute taint',
        lastTransitionTime: apiTime(now),
      };
      const patch = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
      await pods.patch(pod.metadata, patch, { type: 'strategic', subresource: 'status' });
      await pods.delete(pod);
    },
  });
  const evicts = (node: Node | undefined) => (node?.spec?.taints ?? []).filter(({ effect }) => effect === 'NoExecute');
  const onNode = nodes.subscribe((key, now, before) => {
    if (!now || sameJson(evicts(now), evicts(before))) return;
    for (const pod of pods.by('node', key)) queue.add(objectKey(pod));
  });
  const onPod = pods.subscribe((key, now, before) => {
    if (now?.spec.nodeName && (!before?.spec.nodeName || !sameJson(now.spec.tolerations, before.spec.tolerations))) {
      if (evicts(nodes.get(now.spec.nodeName)).length > 0) queue.add(key);
    }
  });
  return controllerOfParts([queue], [onNode, onPod]);
}
