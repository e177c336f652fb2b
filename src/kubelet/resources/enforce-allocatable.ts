import type { Clock } from '../../async/index.ts';
import { openCgroups } from '../../host/cgroups/index.ts';
import type { Logger } from '../../log/index.ts';
import { describeError } from '../errors.ts';
import type { PodCgroups } from '../pods/ports.ts';
import { reservationLimits } from './node-allocatable.ts';

/** What holds pods and the system to their parts of the node. */
export interface Enforcement {
  cgroups: PodCgroups;
  /** `enforceNodeAllocatable`. */
  enforced: readonly string[];
  systemReserved: Readonly<Record<string, string>>;
  systemReservedCgroup: string;
  kubeReserved: Readonly<Record<string, string>>;
  kubeReservedCgroup: string;
  /** Tells of the node: type, reason, message. */
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
  log: Logger;
  clock: Clock;
}

/** How often the cgroups are written anew, milliseconds. */
const refreshMs = 60_000;

/**
 * Makes the cgroups of pods, limits those of the reservations, and keeps all of them as they should be until the signal
 * aborts. @throws Error when a reservation cannot be enforced: what is promised to the system would not be kept
 */
export async function enforceAllocatable(options: Enforcement, signal: AbortSignal): Promise<void> {
  const { cgroups, enforced, event } = options;
  try {
    await cgroups.start();
    if (enforced.includes('pods'))
      event('Normal', 'NodeAllocatableEnforced', 'Updated Node Allocatable limit across pods');
  } catch (error) {
    const text = `Failed to update Node Allocatable Limits ${JSON.stringify(describeError(error))}`;
    event('Warning', 'FailedNodeAllocatableEnforcement', text);
    throw error;
  }
  limitReservation(options, 'system');
  limitReservation(options, 'kube');
  void keepFresh(options, signal);
}

function limitReservation(options: Enforcement, name: 'system' | 'kube'): void {
  const { enforced, event } = options;
  const full = enforced.includes(`${name}-reserved`);
  if (!full && !enforced.includes(`${name}-reserved-compressible`)) return;
  const cgroup = options[`${name}ReservedCgroup`];
  const list = options[`${name}Reserved`];
  const what = name === 'system' ? 'System' : 'Kube';
  const tree = openCgroups();
  const fail = (why: string): never => {
    const message = `Failed to enforce ${what} Reserved Cgroup Limits on ${JSON.stringify(cgroup)}: ${why}`;
    event('Warning', 'FailedNodeAllocatableEnforcement', message);
    throw new Error(message);
  };
  if (!tree.exists(cgroup)) fail(`["${cgroup}"] cgroup does not exist`);
  try {
    tree.apply(cgroup, reservationLimits(list, !full));
  } catch (error) {
    fail(describeError(error));
  }
  const text = `Updated limits on ${name} reserved cgroup ${cgroup}`;
  event('Normal', 'NodeAllocatableEnforced', text);
}

async function keepFresh({ cgroups, log, clock }: Enforcement, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await clock.sleep(refreshMs, signal);
    } catch {
      return;
    }
    await cgroups.refresh().catch((error: unknown) => log.warn('the cgroups of pods are not refreshed', { error }));
  }
}
