import { ConfigurationError } from '../errors.ts';
import { checksum, type Dumped, map, readCheckpoint, text, writeCheckpoint } from './checkpoint.ts';
import { formatCpuSet, parseCpuSet } from './cpu-set.ts';

/** Which processors are whose. */
export interface CpuState {
  /** Processors that nobody has for itself. */
  shared: Set<number>;
  /** Processors of containers that have some for themselves, by pod and name. */
  assigned: Map<string, Map<string, Set<number>>>;
}

interface CpuFile {
  policyName: string;
  defaultCpuSet: string;
  entries?: Record<string, Record<string, string>>;
  checksum: number;
}

/** The file's fields as upstream's checksum sees them. */
function dumped({ policyName, defaultCpuSet, entries = {} }: Omit<CpuFile, 'checksum'>): Dumped {
  return {
    type: 'state.CPUManagerCheckpoint',
    pointer: true,
    fields: [
      ['PolicyName', text('string', policyName)],
      ['DefaultCPUSet', text('string', defaultCpuSet)],
      [
        'Entries',
        map('map[string]map[string]string', entries, (pod) =>
          map('map[string]string', pod, (cpus) => text('string', cpus)),
        ),
      ],
      ['Checksum', text('checksum.Checksum', 0)],
    ],
  };
}

/** Reads cpu_manager_state; undefined when there is none. @throws ConfigurationError when it is broken or of another policy */
export async function readCpuState(file: string, policy: string): Promise<CpuState | undefined> {
  const found = await readCheckpoint<CpuFile>(file);
  if (!found) return undefined;
  const remedy = 'drain the node and remove the file';
  if (found.checksum !== 0 && checksum(dumped(found)) !== found.checksum)
    throw new ConfigurationError('cpuManagerPolicy', `${file} is corrupt (its checksum does not fit): ${remedy}`);
  if (found.policyName !== policy)
    throw new ConfigurationError(
      'cpuManagerPolicy',
      `configured policy "${policy}" differs from policy "${found.policyName}" in ${file}: ${remedy}`,
    );
  const assigned: CpuState['assigned'] = new Map();
  for (const [pod, containers] of Object.entries(found.entries ?? {}))
    assigned.set(pod, new Map(Object.entries(containers).map(([name, cpus]) => [name, parseCpuSet(cpus)])));
  return { shared: parseCpuSet(found.defaultCpuSet), assigned };
}

/** Writes cpu_manager_state. */
export async function writeCpuState(file: string, policyName: string, { shared, assigned }: CpuState): Promise<void> {
  const entries = Object.fromEntries(
    [...assigned].map(([pod, containers]) => [
      pod,
      Object.fromEntries([...containers].map(([name, cpus]) => [name, formatCpuSet(cpus)])),
    ]),
  );
  const content = { policyName, defaultCpuSet: formatCpuSet(shared), ...(assigned.size > 0 ? { entries } : {}) };
  await writeCheckpoint(file, { ...content, checksum: checksum(dumped(content)) });
}
