import type { AdmitHandler } from '../admission/admission.ts';
import { isCritical, qosClass } from '../pods/container-resources.ts';
import type { NodePressure } from '../pods/ports.ts';

/**
 * Keeps pods off a node that runs short. Critical pods come in; when only memory is short, so do pods that ask for some,
 * and others that tolerate it.
 */
export function pressureHandler(pressures: () => ReadonlySet<NodePressure>): AdmitHandler {
  return {
    name: 'pressure',
    admit: (pod) => {
      const now = pressures();
      if (now.size === 0 || isCritical(pod)) return undefined;
      if (now.size === 1 && now.has('MemoryPressure')) {
        if (qosClass(pod) !== 'BestEffort') return undefined;
        const tolerated = (pod.spec.tolerations ?? []).some(
          ({ key, operator, effect, value }) =>
            (!effect || effect === 'NoSchedule') &&
            (operator === 'Exists' ? !key || key === taint : key === taint && !value),
        );
        if (tolerated) return undefined;
      }
      return { reason: 'Evicted', message: `The node had condition: [${[...now].join(' ')}]. ` };
    },
  };
}

const taint = 'node.kubernetes.io/memory-pressure';
