import type { Node, NodeStatus } from '../../api/index.ts';
import type { EventRecorder } from '../../client/index.ts';
import { type NodePressure, nodePressures } from '../pods/ports.ts';

/** The reason of the event when a node begins or ceases to run short of something. */
const pressureEvents: Record<NodePressure, readonly [none: string, some: string]> = {
  MemoryPressure: ['NodeHasSufficientMemory', 'NodeHasInsufficientMemory'],
  DiskPressure: ['NodeHasNoDiskPressure', 'NodeHasDiskPressure'],
  PIDPressure: ['NodeHasSufficientPID', 'NodeHasInsufficientPID'],
};

/** Tells what becomes of a node, once for each change. */
export class NodeEvents {
  readonly #nodeName: string;
  readonly #recorder: EventRecorder | undefined;
  readonly #told = new Map<string, string>();

  constructor(nodeName: string, recorder: EventRecorder | undefined) {
    this.#nodeName = nodeName;
    this.#recorder = recorder;
  }

  starting(): void {
    this.#event('Normal', 'Starting', 'Starting kubelet.');
  }

  /** The machine was started anew since the node was last written. */
  rebooted(bootId: string): void {
    this.#event('Warning', 'Rebooted', `Node ${this.#nodeName} has been rebooted, boot id: ${bootId}`);
  }

  /** Tells what of the status is another than before. */
  status({ conditions = [] }: NodeStatus): void {
    const is = (type: string) => conditions.find((one) => one.type === type)?.status === 'True';
    this.#change('Ready', is('Ready') ? 'NodeReady' : 'NodeNotReady', is('Ready'));
    for (const type of nodePressures) this.#change(type, pressureEvents[type][is(type) ? 1 : 0], true);
  }

  /** Tells when pods may be bound to the node no more, and again. */
  schedulable(node: Node): void {
    const reason = node.spec?.unschedulable ? 'NodeNotSchedulable' : 'NodeSchedulable';
    this.#change('unschedulable', reason, reason === 'NodeNotSchedulable');
  }

  /** The first time only what is out of the ordinary is told. */
  #change(what: string, reason: string, first: boolean): void {
    const before = this.#told.get(what);
    if (before === reason) return;
    this.#told.set(what, reason);
    if (before === undefined && !first) return;
    this.#event('Normal', reason, `Node ${this.#nodeName} status is now: ${reason}`);
  }

  #event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#recorder?.event({ kind: 'Node', name: this.#nodeName, uid: this.#nodeName }, type, reason, message);
  }
}
