import { join } from 'node:path';

/** How cgroups are named: as directories (`kubepods/burstable/poduid`) or as systemd's slices. */
export type CgroupDriver = 'cgroupfs' | 'systemd';

/** A cgroup by its steps from the root of all cgroups of pods: `['kubepods', 'burstable', 'pod1']`. */
export type CgroupSteps = readonly string[];

/** Names of cgroups for one driver. */
export interface CgroupNames {
  /** Where it is in the trees. */
  path(steps: CgroupSteps): string;
  /** What a runtime is told as `cgroup_parent`. */
  parent(steps: CgroupSteps): string;
  /** The uid of the pod whose cgroup a directory is, or undefined. */
  podUid(directory: string): string | undefined;
}

/** The names below a root: a path, or (systemd) a slice or a path whose steps become slices. */
export function cgroupNames(driver: CgroupDriver, root: string): CgroupNames {
  const rootSteps = root.split('/').filter(Boolean);
  if (driver === 'cgroupfs') {
    const path = (steps: CgroupSteps) => join('/', ...rootSteps, ...steps);
    return { path, parent: path, podUid: (directory) => /^pod(.+)$/.exec(directory)?.[1] };
  }
  const base = rootSteps.flatMap((step) => step.replace(/\.slice$/, '').split(step.endsWith('.slice') ? '-' : '\0'));
  const slice = (steps: CgroupSteps) => `${[...base, ...steps].map(escapeStep).join('-')}.slice`;
  return {
    path: (steps) => slicePath(slice(steps)),
    parent: slice,
    podUid: (directory) => /-pod([^-]+)\.slice$/.exec(directory)?.[1]?.replaceAll('_', '-'),
  };
}

/** A dash means a level below in the name of a slice. */
function escapeStep(step: string): string {
  return step.replaceAll('-', '_');
}

/** Where systemd has a slice: `a-b.slice` is `/a.slice/a-b.slice`. */
export function slicePath(slice: string): string {
  const parts = slice.replace(/\.slice$/, '').split('-');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('');
}
