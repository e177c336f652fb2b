import { ConfigurationError } from '../errors.ts';
import { checksum, type Dumped, map, readCheckpoint, text, writeCheckpoint } from './checkpoint.ts';

/** Memory of one kind on one NUMA node, bytes. */
export interface MemoryTable {
  total: number;
  systemReserved: number;
  allocatable: number;
  reserved: number;
  free: number;
}

/** A NUMA node as far as its memory goes. */
export interface NodeMemory {
  /** How many blocks lie on it. */
  numberOfAssignments: number;
  /** By resource: `memory`, `hugepages-2Mi`. */
  memoryMap: Record<string, MemoryTable>;
  /** The nodes that blocks are on together with this one. */
  cells: number[];
}

/** Memory of a container. */
export interface MemoryBlock {
  numaAffinity: number[];
  type: string;
  size: number;
}

/** Whose memory is where. */
export interface MemoryState {
  machineState: Record<string, NodeMemory>;
  /** By pod and container. */
  entries: Record<string, Record<string, MemoryBlock[]>>;
}

const numbers = (values: readonly number[]): Dumped => ({
  type: '[]int',
  items: values.map((value) => text('int', value)),
});

const tableFields = ['total', 'systemReserved', 'allocatable', 'reserved', 'free'] as const;
const tableNames = ['TotalMemSize', 'SystemReserved', 'Allocatable', 'Reserved', 'Free'] as const;

const dumpedTable = (table: MemoryTable): Dumped => ({
  type: 'state.MemoryTable',
  pointer: true,
  fields: tableNames.map((name, at) => [name, text('uint64', table[tableFields[at]!])] as const),
});

const dumpedNode = (node: NodeMemory): Dumped => ({
  type: 'state.NUMANodeState',
  pointer: true,
  fields: [
    ['NumberOfAssignments', text('int', node.numberOfAssignments)],
    ['MemoryMap', map('map[v1.ResourceName]*state.MemoryTable', node.memoryMap, dumpedTable)],
    ['Cells', numbers(node.cells)],
  ],
});

const dumpedBlock = (block: MemoryBlock): Dumped => ({
  type: 'state.Block',
  fields: [
    ['NUMAAffinity', numbers(block.numaAffinity)],
    ['Type', text('v1.ResourceName', block.type)],
    ['Size', text('uint64', block.size)],
  ],
});

/** The file's fields as upstream's checksum sees them. */
function dumped(policyName: string, { machineState, entries }: MemoryState): Dumped {
  return {
    type: 'state.MemoryManagerCheckpoint',
    pointer: true,
    fields: [
      ['PolicyName', text('string', policyName)],
      ['MachineState', map('state.NUMANodeMap', machineState, dumpedNode)],
      [
        'Entries',
        map('state.ContainerMemoryAssignments', entries, (pod) =>
          map('map[string][]state.Block', pod, (blocks) => ({ type: '[]state.Block', items: blocks.map(dumpedBlock) })),
        ),
      ],
      ['Checksum', text('checksum.Checksum', 0)],
    ],
  };
}

interface MemoryFile extends Partial<MemoryState> {
  policyName: string;
  checksum: number;
}

/** Reads memory_manager_state; undefined when there is none. @throws ConfigurationError when it is broken or of another policy */
export async function readMemoryState(file: string, policy: string): Promise<MemoryState | undefined> {
  const found = await readCheckpoint<MemoryFile>(file);
  if (!found) return undefined;
  const state = { machineState: found.machineState ?? {}, entries: found.entries ?? {} };
  const remedy = 'drain the node and remove the file';
  if (found.checksum !== 0 && checksum(dumped(found.policyName, state)) !== found.checksum)
    throw new ConfigurationError('memoryManagerPolicy', `${file} is corrupt (its checksum does not fit): ${remedy}`);
  if (found.policyName !== policy)
    throw new ConfigurationError(
      'memoryManagerPolicy',
      `configured policy "${policy}" differs from policy "${found.policyName}" in ${file}: ${remedy}`,
    );
  return state;
}

/** Writes memory_manager_state. */
export async function writeMemoryState(file: string, policyName: string, state: MemoryState): Promise<void> {
  const { machineState, entries } = state;
  const more = Object.keys(entries).length > 0 ? { entries } : {};
  await writeCheckpoint(file, { policyName, machineState, ...more, checksum: checksum(dumped(policyName, state)) });
}
