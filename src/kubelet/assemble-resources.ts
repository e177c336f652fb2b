import type { EventRecorder } from '../client/index.ts';
import type { AdmitHandler } from './admission/admission.ts';
import { makeAdmission } from './admission/make-admission.ts';
import type { Companion, Ground } from './ground.ts';
import { measureCgroups } from './metrics/measure-calls.ts';
import type { PodManager } from './pods/pod-manager.ts';
import type { NodeReporter } from './pods/ports.ts';
import { type MachineCapacity, makeCgroups, readMemoryFacts, startEnforcement } from './resources/index.ts';

/** What else the parts about resources need. */
export interface ResourceGround {
  capacity: MachineCapacity;
  recorder: EventRecorder | undefined;
  node: NodeReporter;
  /** The heart, which is made from these parts. */
  manager(): PodManager;
  /** Those that set processors, memory and devices aside for pods. */
  allocation?: readonly AdmitHandler[];
  /** Those that are asked last about a pod: a node that is being shut down. */
  last?: readonly AdmitHandler[];
}

/** Puts the parts together that decide what pods may use: admission, cgroups, what is kept from pods. */
export function makeResources(ground: Ground, { capacity, recorder, node, manager, allocation, last }: ResourceGround) {
  const { settings, metrics, signal, clock } = ground;
  const cgroups = measureCgroups(makeCgroups(ground, capacity), metrics, clock);
  const nodeEvent = (type: 'Normal' | 'Warning', reason: string, message: string) =>
    recorder?.event({ kind: 'Node', name: settings.nodeName, uid: settings.nodeName }, type, reason, message);
  const enforcement: Companion = {
    start: () => startEnforcement(ground, cgroups, nodeEvent, signal),
    stop: () => {},
  };
  const admission = makeAdmission({
    settings,
    node: () => node.node(),
    preempt: (pod, victims, resource) => manager().preempt(pod, victims, resource),
    ...(allocation ? { allocation } : {}),
    ...(last ? { last } : {}),
  });
  return { cgroups, admission, memory: readMemoryFacts(settings.configuration), companions: [enforcement] };
}
