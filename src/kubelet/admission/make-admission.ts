import type { Node, Pod } from '../../api/index.ts';
import type { KubeletSettings } from '../config/settings.ts';
import { type Admission, type AdmitHandler, createAdmission } from './admission.ts';
import { declaredFeaturesHandler } from './declared-features.ts';
import { appArmorEnabled, appArmorHandler, predicateHandler, sysctlHandler } from './handlers.ts';

/** What takes part in admission. Handlers are asked in the order in which they stand here. */
export interface AdmissionParts {
  settings: KubeletSettings;
  maxPods: number;
  /** Those that are asked first: a node under pressure. */
  first?: readonly AdmitHandler[];
  /** Those that set processors, memory and devices aside. */
  allocation?: readonly AdmitHandler[];
  node(): Node | undefined;
  /** Ends pods in favour of another, which waits for that before it starts. */
  preempt(pod: Pod, victims: readonly Pod[], resource: string): void;
  /** Those that are asked last: a node that is being shut down. */
  last?: readonly AdmitHandler[];
}

/** The admission of a kubelet, in upstream's order. */
export function makeAdmission({
  settings,
  maxPods,
  first = [],
  allocation = [],
  node,
  preempt,
  last = [],
}: AdmissionParts): Admission {
  const { allowedUnsafeSysctls } = settings.configuration;
  const appArmor = appArmorEnabled();
  return createAdmission([
    ...first,
    sysctlHandler(allowedUnsafeSysctls),
    ...allocation,
    predicateHandler({ node, maxPods, preempt }),
    appArmorHandler(() => appArmor),
    declaredFeaturesHandler(node),
    ...last,
  ]);
}
