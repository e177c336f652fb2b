import { accessSync } from 'node:fs';
import type { Node, Pod } from '../../api/index.ts';
import { describeError } from '../errors.ts';
import { isCritical } from '../pods/container-resources.ts';
import type { PodFailure } from '../pods/pod-record.ts';
import { everyContainer } from '../pods/security-context.ts';
import { readText } from '../resources/machine.ts';
import type { AdmitHandler } from './admission.ts';
import { describeMisfit, findMisfits, type Misfit } from './predicates.ts';
import { choosePreempted } from './preemption.ts';
import { forbiddenSysctl } from './sysctls.ts';

/** Refuses pods that set sysctls which are neither safe nor allowed. */
export function sysctlHandler(allowed: readonly string[]): AdmitHandler {
  return {
    name: 'sysctl',
    admit: (pod) => {
      const message = forbiddenSysctl(pod, allowed);
      return message === undefined ? undefined : { reason: 'SysctlForbidden', message };
    },
  };
}

/** What the predicates need. */
export interface PredicateFacts {
  /** The Node object; undefined while it is not known, which lets pods in. */
  node(): Node | undefined;
  maxPods: number;
  /** Ends pods in favour of another, which waits for that before it starts. */
  preempt(pod: Pod, victims: readonly Pod[], resource: string): void;
}

/**
 * Refuses pods that do not fit the node: system, groups policy, room, labels, ports, taints. A critical pod that lacks
 * nothing but room gets it from others.
 */
export function predicateHandler(facts: PredicateFacts): AdmitHandler {
  return {
    name: 'predicates',
    admit: (pod, others) => {
      const node = facts.node();
      if (!node) return undefined;
      const unsupported = unsupportedBy(node, pod);
      if (unsupported) return unsupported;
      const misfits = findMisfits(pod, others, node, facts.maxPods);
      if (misfits.length === 0) return undefined;
      if (!isCritical(pod)) return describeMisfit(misfits[0]!);
      const shortages = misfits.filter(isShortage);
      const rest = misfits.find((one) => !isShortage(one));
      if (rest) return describeMisfit(rest);
      try {
        const victims = choosePreempted(pod, others, shortages);
        facts.preempt(pod, victims, shortages[0]!.resource);
        return undefined;
      } catch (error) {
        const cause = `preemption: error finding a set of pods to preempt: ${describeError(error)}`;
        const message = `Unexpected error while attempting to recover from admission failure: ${cause}`;
        return { reason: 'UnexpectedAdmissionError', message };
      }
    },
  };
}

const isShortage = (misfit: Misfit): misfit is Extract<Misfit, { kind: 'resource' }> => misfit.kind === 'resource';

function unsupportedBy(node: Node, { metadata, spec }: Pod): PodFailure | undefined {
  const wanted = metadata.labels?.['kubernetes.io/os'];
  if (wanted !== undefined && wanted !== 'linux') {
    return {
      reason: 'PodOSSelectorNodeLabelDoesNotMatch',
      message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    };
  }
  if (spec.os?.name && spec.os.name !== 'linux') {
    return { reason: 'PodOSNotSupported', message: "Failed to admit pod as the OS field doesn't match node OS" };
  }
  const strict = spec.securityContext?.supplementalGroupsPolicy === 'Strict';
  if (strict && node.status?.features && node.status.features.supplementalGroupsPolicy !== true) {
    return {
      reason: 'SupplementalGroupsPolicyNotSupported',
      message: 'SupplementalGroupsPolicy=Strict is not supported in this node',
    };
  }
  return undefined;
}

/** Whether the kernel enforces AppArmor profiles. */
export function appArmorEnabled(): boolean {
  if (!readText('/sys/module/apparmor/parameters/enabled').startsWith('Y')) return false;
  try {
    accessSync('/sys/kernel/security/apparmor');
    return true;
  } catch {
    return false;
  }
}

const legacyProfile = 'container.apparmor.security.beta.kubernetes.io/';

/** Refuses pods whose AppArmor profile nobody here would enforce, or that have none where one is promised. */
export function appArmorHandler(enabled: () => boolean): AdmitHandler {
  return {
    name: 'AppArmor',
    admit: (pod) => {
      const profiles = appArmorProfiles(pod).filter(({ type }) => type !== 'Unconfined');
      if (profiles.length === 0) return undefined;
      const refuse = (text: string) => ({ reason: 'AppArmor', message: `Cannot enforce AppArmor: ${text}` });
      if (!enabled()) return refuse('AppArmor is not enabled on the host');
      const unnamed = profiles.some(({ type, name }) => type === 'Localhost' && name.trim() === '');
      return unnamed ? refuse('invalid empty AppArmor profile name: ""') : undefined;
    },
  };
}

function appArmorProfiles(pod: Pod): { type: string; name: string }[] {
  const common = pod.spec.securityContext?.appArmorProfile;
  return everyContainer(pod).flatMap((container) => {
    const { appArmorProfile: own } = container.securityContext ?? {};
    const annotation = pod.metadata.annotations?.[`${legacyProfile}${container.name}`];
    const field = own ?? (annotation ? undefined : common);
    if (field) return [{ type: field.type, name: field.localhostProfile ?? '' }];
    if (!annotation) return [];
    if (annotation.startsWith('localhost/'))
      return [{ type: 'Localhost', name: annotation.slice('localhost/'.length) }];
    return [{ type: annotation === 'unconfined' ? 'Unconfined' : 'RuntimeDefault', name: '' }];
  });
}
