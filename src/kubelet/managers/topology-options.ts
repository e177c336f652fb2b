import { parseBoolean } from './cpu-options.ts';

/** Options of the topology manager. */
export interface TopologyOptions {
  /** Of sets of NUMA nodes of one size, the one whose nodes are nearest to each other. */
  preferClosest: boolean;
  /** Machines with more NUMA nodes are refused: every set of them is looked at. */
  maximumNodes: number;
}

const defaultMaximum = 8;

/** Reads topologyManagerPolicyOptions. @throws Error */
export function parseTopologyOptions(given: Readonly<Record<string, unknown>>): TopologyOptions {
  const options: TopologyOptions = { preferClosest: false, maximumNodes: defaultMaximum };
  for (const [name, value] of Object.entries(given)) {
    if (name === 'prefer-closest-numa-nodes') options.preferClosest = parseBoolean(name, value);
    else if (name === 'max-allowable-numa-nodes') {
      const count = Number(value);
      if (!Number.isInteger(count) || count < defaultMaximum)
        throw new Error(`option ${name}: must be a number of at least ${defaultMaximum}, not ${JSON.stringify(value)}`);
      options.maximumNodes = count;
    } else
      throw new Error(
        `unknown option ${JSON.stringify(name)}: there are prefer-closest-numa-nodes, max-allowable-numa-nodes`,
      );
  }
  return options;
}
