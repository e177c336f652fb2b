import type { MachineTopology } from './machine-topology.ts';
import type { MemoryBlock, MemoryState, MemoryTable, NodeMemory } from './memory-state.ts';
import type { Nodes } from './topology-hints.ts';

type Machine = MemoryState['machineState'];

/** The memory of a machine on which no container has any. */
export function defaultMachineState(
  { nodes }: MachineTopology,
  reserved: ReadonlyMap<number, Readonly<Record<string, number>>>,
): Machine {
  return Object.fromEntries(
    nodes.map(({ id, memoryBytes, hugepages }) => {
      const table = (name: string, total: number, less = 0): MemoryTable => {
        const systemReserved = reserved.get(id)?.[name] ?? 0;
        const allocatable = Math.max(0, total - systemReserved - less);
        return { total, systemReserved, allocatable, reserved: 0, free: allocatable };
      };
      const memoryMap = Object.fromEntries(
        Object.entries(hugepages).map(([name, bytes]) => [name, table(name, bytes)]),
      );
      const inPages = Object.values(hugepages).reduce((sum, bytes) => sum + bytes, 0);
      memoryMap['memory'] = table('memory', memoryBytes, inPages);
      return [id, { numberOfAssignments: 0, memoryMap, cells: [id] }];
    }),
  );
}

/** Notes a block: taken from one node after another. False when the machine has no such node or memory. */
export function addBlock(machine: Machine, { numaAffinity, type, size }: MemoryBlock): boolean {
  let left = size;
  for (const id of numaAffinity) {
    const node = machine[id];
    const table = node?.memoryMap[type];
    if (!node || !table) return false;
    node.numberOfAssignments++;
    node.cells = [...numaAffinity];
    const taken = Math.min(left, table.free);
    table.reserved += taken;
    table.free -= taken;
    left -= taken;
  }
  return true;
}

/** Gives a block back. */
export function removeBlock(machine: Machine, { numaAffinity, type, size }: MemoryBlock): void {
  let left = size;
  for (const id of numaAffinity) {
    const node = machine[id]!;
    node.numberOfAssignments--;
    if (node.numberOfAssignments === 0) node.cells = [id];
    const table = node.memoryMap[type]!;
    const given = Math.min(left, table.reserved);
    table.reserved -= given;
    table.free += given;
    left -= given;
  }
}

/** Memory of a kind on these nodes together. */
export function freeOn(machine: Machine, nodes: Nodes, type: string, of: 'free' | 'allocatable' = 'free'): number {
  return nodes.reduce((sum, id) => sum + (machine[id]?.memoryMap[type]?.[of] ?? 0), 0);
}

/** Whether blocks on these nodes go together with those that are there: `apart` when they would mix single and several. */
export function standingOf(machine: Machine, nodes: Nodes): 'together' | 'apart' {
  const cells = (id: number) => machine[id]!.cells;
  const single = nodes.length === 1;
  const bad = nodes.some((id) => {
    if (single) return cells(id).length > 1;
    return (
      machine[id]!.numberOfAssignments > 0 && (cells(id).length === 1 || [...cells(id)].sort().join() !== nodes.join())
    );
  });
  return bad ? 'apart' : 'together';
}

/** Whether a state that was written fits what is expected. Which node of a group holds how much does not matter. */
export function sameMachineState(a: Machine, b: Machine): boolean {
  if (Object.keys(a).join() !== Object.keys(b).join()) return false;
  const sum = (machine: Machine, { cells }: NodeMemory, type: string, of: 'free' | 'reserved') =>
    cells.reduce((total, id) => total + (machine[id]?.memoryMap[type]?.[of] ?? 0), 0);
  return Object.entries(a).every(([id, one]) => {
    const other = b[id]!;
    if (one.numberOfAssignments !== other.numberOfAssignments) return false;
    if ([...one.cells].sort().join() !== [...other.cells].sort().join()) return false;
    const types = Object.keys(one.memoryMap);
    if (types.length !== Object.keys(other.memoryMap).length) return false;
    return types.every((type) => {
      const [mine, theirs] = [one.memoryMap[type]!, other.memoryMap[type]];
      return (
        theirs !== undefined &&
        mine.total === theirs.total &&
        mine.systemReserved === theirs.systemReserved &&
        mine.allocatable === theirs.allocatable &&
        sum(a, one, type, 'free') === sum(b, one, type, 'free') &&
        sum(a, one, type, 'reserved') === sum(b, one, type, 'reserved')
      );
    });
  });
}
