import { parseQuantity } from '../../api/index.ts';
import { type EvictionFields, readThresholds, ThresholdError } from '../eviction/thresholds.ts';
import { parseCpuList } from '../resources/node-allocatable.ts';
import { durationMs } from './duration.ts';

/** The fields about what pods and the system may use, as far as they have rules. */
interface ResourceFields extends EvictionFields {
  cgroupDriver: string;
  cgroupRoot: string;
  cgroupsPerQOS: boolean;
  enforceNodeAllocatable: string[];
  systemReserved?: Record<string, string>;
  kubeReserved?: Record<string, string>;
  systemReservedCgroup: string;
  kubeReservedCgroup: string;
  reservedSystemCPUs: string;
  qosReserved?: Record<string, string>;
  memorySwap: { swapBehavior: string };
  evictionMaxPodGracePeriod: number;
  evictionPressureTransitionPeriod: string;
}

type Fail = (field: string, message: string) => never;

const enforceable = [
  'none',
  'pods',
  'system-reserved',
  'kube-reserved',
  'system-reserved-compressible',
  'kube-reserved-compressible',
];
const reservable = ['cpu', 'memory', 'ephemeral-storage', 'pid'];

/** Checks the fields about resources and their cgroups against each other. `fail` throws, naming the field. */
export function checkResourceFields(configuration: ResourceFields, fail: Fail): void {
  const { cgroupDriver, memorySwap, qosReserved = {}, reservedSystemCPUs } = configuration;
  if (!['cgroupfs', 'systemd'].includes(cgroupDriver))
    fail('cgroupDriver', `must be cgroupfs or systemd, not ${cgroupDriver}`);
  const behaviours = ['', 'NoSwap', 'LimitedSwap'];
  if (!behaviours.includes(memorySwap.swapBehavior))
    fail('memorySwap.swapBehavior', `must be NoSwap or LimitedSwap, not ${memorySwap.swapBehavior}`);
  for (const [name, value] of Object.entries(qosReserved)) {
    if (name !== 'memory') fail(`qosReserved.${name}`, 'only memory can be kept from lower classes');
    const percent = /^(\d+)%$/.exec(String(value))?.[1];
    if (percent === undefined || Number(percent) > 100)
      fail('qosReserved.memory', `must be a percentage up to 100%, not ${value}`);
  }
  checkReserved(configuration, fail);
  checkEnforced(configuration, fail);
  checkEviction(configuration, fail);
  try {
    parseCpuList(reservedSystemCPUs);
  } catch (error) {
    fail('reservedSystemCPUs', (error as Error).message);
  }
}

function checkEviction(configuration: ResourceFields, fail: Fail): void {
  const { evictionMaxPodGracePeriod: grace, evictionPressureTransitionPeriod: period } = configuration;
  try {
    readThresholds(configuration);
  } catch (error) {
    if (!(error instanceof ThresholdError)) throw error;
    fail(error.field, error.message);
  }
  if (grace < 0) fail('evictionMaxPodGracePeriod', `${grace} is negative`);
  if (durationMs(period) < 0) fail('evictionPressureTransitionPeriod', `${period} is negative`);
}

function checkReserved(configuration: ResourceFields, fail: Fail): void {
  for (const field of ['systemReserved', 'kubeReserved'] as const) {
    for (const [name, value] of Object.entries(configuration[field] ?? {})) {
      if (!reservable.includes(name)) fail(`${field}.${name}`, `must be one of ${reservable.join(', ')}`);
      try {
        if (parseQuantity(value) < 0n) fail(`${field}.${name}`, `${value} is negative`);
      } catch (error) {
        fail(`${field}.${name}`, (error as Error).message.replace(`${field}.${name}: `, ''));
      }
    }
  }
}

function checkEnforced(configuration: ResourceFields, fail: Fail): void {
  const { enforceNodeAllocatable: enforced, cgroupsPerQOS, reservedSystemCPUs } = configuration;
  const field = 'enforceNodeAllocatable';
  for (const name of enforced)
    if (!enforceable.includes(name)) fail(field, `"${name}" is not one of ${enforceable.join(', ')}`);
  if (enforced.includes('none') && enforced.length > 1) fail(field, '"none" cannot stand beside others');
  const some = enforced.some((name) => name !== 'none');
  if (!cgroupsPerQOS && some) fail(field, 'must be empty or "none" when cgroupsPerQOS is false');
  for (const what of ['system', 'kube'] as const) {
    const reserved = enforced.filter((name) => name.startsWith(`${what}-reserved`));
    const cgroup = configuration[`${what}ReservedCgroup`];
    if (reserved.length > 0 && !cgroup) fail(`${what}ReservedCgroup`, `must be set when ${reserved[0]} is enforced`);
    if (reserved.length > 1)
      fail(field, `"${what}-reserved" and "${what}-reserved-compressible" cannot both be enforced`);
    if (reserved.length > 0 && reservedSystemCPUs)
      fail('reservedSystemCPUs', `cannot be used when ${reserved[0]} is enforced`);
  }
}
