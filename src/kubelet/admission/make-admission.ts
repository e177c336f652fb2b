import type { Node } from '../../api/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { type Admission, type AdmitHandler, createAdmission } from './admission.ts';
import { admitPod } from './admit-pod.ts';

/** What takes part in admission. Handlers are asked in the order in which they stand here. */
export interface AdmissionParts {
  settings: KubeletSettings;
  node(): Node | undefined;
  /** Those that set processors, memory and devices aside. */
  allocation?: readonly AdmitHandler[];
  /** Those that are asked last: a node that is being shut down. */
  last?: readonly AdmitHandler[];
}

/** The admission of a kubelet, in upstream's order. */
export function makeAdmission({ settings, node, allocation = [], last = [] }: AdmissionParts): Admission {
  const { maxPods, allowedUnsafeSysctls } = settings.configuration;
  const predicates: AdmitHandler = {
    name: 'predicates',
    admit: (pod, others) => admitPod(pod, others, { node: node(), maxPods, allowedUnsafeSysctls }),
  };
  return createAdmission([...allocation, predicates, ...last]);
}
