import { join } from 'node:path';

/** Where the files of containers are that belong to this boot. */
export interface StatePaths {
  /** Exit codes, one file per container, written by conmon. */
  exits: string;
  /** The OCI runtime's own records. */
  ociRoot: string;
  /** A container's bundle: config.json and conmon's files. */
  bundle(containerId: string): string;
  /** A sandbox's namespaces and files. */
  sandbox(sandboxId: string): string;
  bundles: string;
  sandboxes: string;
}

/** The layout below the state directory. */
export function statePaths(state: string): StatePaths {
  const [bundles, sandboxes] = [join(state, 'containers'), join(state, 'sandboxes')];
  return {
    exits: join(state, 'exits'),
    ociRoot: join(state, 'oci'),
    bundles,
    sandboxes,
    bundle: (id) => join(bundles, id),
    sandbox: (id) => join(sandboxes, id),
  };
}
