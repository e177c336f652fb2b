import type { Node, Pod } from '../../api/index.ts';
import { everyContainer } from '../pods/security-context.ts';
import type { AdmitHandler } from './admission.ts';

/** Which features of nodes a pod cannot do without, by upstream's names. */
const needs: Record<string, (pod: Pod) => boolean> = {
  RestartAllContainersOnContainerExits: (pod) =>
    everyContainer(pod).some(({ restartPolicyRules }) =>
      restartPolicyRules?.some(({ action }) => action === 'RestartAllContainers'),
    ),
  UserNamespacesHostNetworkSupport: ({ spec }) => spec.hostNetwork === true && spec.hostUsers === false,
};

/** Refuses pods that need a feature which this node does not declare. */
export function declaredFeaturesHandler(node: () => Node | undefined): AdmitHandler {
  return {
    name: 'declared features',
    admit: (pod) => {
      const declared = node()?.status?.declaredFeatures;
      if (!declared) return undefined;
      const missing = Object.entries(needs)
        .filter(([name, needed]) => !declared.includes(name) && needed(pod))
        .map(([name]) => name);
      if (missing.length === 0) return undefined;
      const message = `Pod requires node features that are not available: ${missing.join(', ')}`;
      return { reason: 'PodFeatureUnsupported', message };
    },
  };
}
