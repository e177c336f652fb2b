import { quantityValue } from '../../api/index.ts';
import { parseCpuOptions } from '../managers/cpu-options.ts';
import { parseCpuSet } from '../managers/cpu-set.ts';
import { parseTopologyOptions } from '../managers/topology-options.ts';
import { isFeatureOn } from './feature-gates.ts';

/** The fields about the CPU, memory and topology managers. */
interface ManagerFields {
  cpuManagerPolicy: string;
  cpuManagerPolicyOptions?: Record<string, string>;
  memoryManagerPolicy: string;
  topologyManagerPolicy: string;
  topologyManagerPolicyOptions?: Record<string, string>;
  reservedSystemCPUs: string;
  systemReservedCgroup: string;
  kubeReservedCgroup: string;
  reservedMemory?: { numaNode?: unknown; limits?: Record<string, unknown> }[];
  featureGates: Record<string, boolean>;
  shutdownGracePeriodByPodPriority?: unknown[];
}

/** Checks those fields, as far as they can be without knowing the machine. `fail` throws, naming the field. */
export function checkManagerFields(fields: ManagerFields, fail: (field: string, message: string) => never): void {
  const attempt = <T>(field: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      return fail(field, (error as Error).message);
    }
  };
  const { cpuManagerPolicyOptions = {}, topologyManagerPolicyOptions = {}, reservedMemory = [] } = fields;
  const alpha = isFeatureOn(fields.featureGates, 'CPUManagerPolicyAlphaOptions');
  const options = attempt('cpuManagerPolicyOptions', () => parseCpuOptions(cpuManagerPolicyOptions, alpha));
  if (Object.keys(cpuManagerPolicyOptions).length > 0 && fields.cpuManagerPolicy !== 'static')
    fail('cpuManagerPolicyOptions', 'are for cpuManagerPolicy static');
  if (options.alignBySocket && fields.topologyManagerPolicy === 'single-numa-node')
    fail('cpuManagerPolicyOptions', 'align-by-socket cannot be used with topologyManagerPolicy single-numa-node');
  attempt('topologyManagerPolicyOptions', () => parseTopologyOptions(topologyManagerPolicyOptions));
  const cpus = attempt('reservedSystemCPUs', () => parseCpuSet(fields.reservedSystemCPUs));
  if (cpus.size > 0 && (fields.systemReservedCgroup || fields.kubeReservedCgroup))
    fail('reservedSystemCPUs', 'cannot be used with systemReservedCgroup or kubeReservedCgroup');
  onlyFields('reservedMemory', reservedMemory, ['numaNode', 'limits'], fail);
  checkPriorities(fields.shutdownGracePeriodByPodPriority ?? [], fail);
  const seen = new Set<string>();
  reservedMemory.forEach(({ numaNode, limits = {} }, index) => {
    const field = `reservedMemory[${index}]`;
    if (!Number.isInteger(numaNode) || (numaNode as number) < 0)
      fail(`${field}.numaNode`, 'must be the number of a NUMA node');
    if (Object.keys(limits).length === 0) fail(`${field}.limits`, 'says nothing');
    for (const [name, quantity] of Object.entries(limits)) {
      if (name !== 'memory' && !name.startsWith('hugepages-'))
        fail(`${field}.limits`, `${name} is neither memory nor hugepages-<size>`);
      if (seen.has(`${numaNode} ${name}`)) fail(`${field}.limits`, `${name} of NUMA node ${numaNode} is there twice`);
      seen.add(`${numaNode} ${name}`);
      if (attempt(`${field}.limits.${name}`, () => quantityValue(String(quantity))) <= 0)
        fail(`${field}.limits.${name}`, 'must be greater than 0');
    }
  });
  if (reservedMemory.length > 0 && fields.memoryManagerPolicy !== 'Static')
    fail('reservedMemory', 'is for memoryManagerPolicy Static');
  if (reservedMemory.length === 0 && fields.memoryManagerPolicy === 'Static')
    fail('reservedMemory', 'memoryManagerPolicy Static needs to know on which NUMA nodes memory is reserved');
}

type Fail = (field: string, message: string) => never;

/** Lists of objects have the fields that they may have, and no others. */
function onlyFields(field: string, list: readonly unknown[], names: readonly string[], fail: Fail): void {
  for (const [index, one] of list.entries()) {
    if (typeof one !== 'object' || one === null || Array.isArray(one)) fail(`${field}[${index}]`, 'must be an object');
    const other = Object.keys(one as object).find((name) => !names.includes(name));
    if (other) fail(`${field}[${index}].${other}`, 'unknown field');
  }
}

function checkPriorities(list: readonly unknown[], fail: Fail): void {
  const field = 'shutdownGracePeriodByPodPriority';
  onlyFields(field, list, ['priority', 'shutdownGracePeriodSeconds'], fail);
  for (const [index, one] of (list as Record<string, unknown>[]).entries()) {
    const { priority, shutdownGracePeriodSeconds: seconds } = one;
    if (!Number.isInteger(priority)) fail(`${field}[${index}].priority`, 'must be a whole number');
    if (!Number.isInteger(seconds) || (seconds as number) < 0)
      fail(`${field}[${index}].shutdownGracePeriodSeconds`, 'must be a whole number of at least 0');
    if (list.findIndex((other) => (other as typeof one)['priority'] === priority) !== index)
      fail(`${field}[${index}].priority`, `${priority} is there twice`);
  }
}
