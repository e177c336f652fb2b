import type { ResourceInfo } from '../resource-table.ts';

/** Puts back everything that a write through this subresource may not change (all but status for `status`, status otherwise). */
export function keepOutsideSubresource(info: ResourceInfo, subresource: string, next: any, old: any): void {
  switch (subresource) {
    case '':
      if (info.storage.hasStatus) keep(next, old, 'status');
      return;
    case 'status':
      keepAllBut(next, old, 'status');
      next.metadata = { ...next.metadata, labels: old.metadata.labels, ownerReferences: old.metadata.ownerReferences };
      dropUndefined(next.metadata);
      return;
    case 'finalize': {
      const finalizers = next.spec?.finalizers;
      keepAllBut(next, old, '');
      next.spec = { ...old.spec, finalizers };
      dropUndefined(next.spec);
      return;
    }
    case 'approval': {
      const conditions = next.status?.conditions;
      keepAllBut(next, old, '');
      next.status = { ...old.status, conditions };
      dropUndefined(next.status);
      return;
    }
    case 'ephemeralcontainers': {
      const ephemeralContainers = next.spec?.ephemeralContainers;
      keepAllBut(next, old, '');
      next.spec = { ...old.spec, ephemeralContainers };
      dropUndefined(next.spec);
      return;
    }
    case 'resize':
      keepResources(next, old);
      return;
  }
}

function keep(next: any, old: any, key: string): void {
  if (old[key] === undefined) delete next[key];
  else next[key] = old[key];
}

function keepAllBut(next: any, old: any, key: string): void {
  for (const one of new Set([...Object.keys(next), ...Object.keys(old)])) {
    if (one !== key && one !== 'metadata') keep(next, old, one);
  }
}

function dropUndefined(object: any): void {
  for (const key of Object.keys(object)) if (object[key] === undefined) delete object[key];
}

/**
 * A resize changes the resources of containers and of the pod as a whole, and nothing else. Containers that were added,
 * removed, renamed or reordered stay in what is asked for, so that validation can say so.
 */
function keepResources(next: any, old: any): void {
  const wanted = next.spec ?? {};
  keepAllBut(next, old, '');
  const spec = { ...old.spec, resources: wanted.resources };
  for (const list of ['containers', 'initContainers']) {
    const [now = [], before = []]: [any[], any[]] = [wanted[list], old.spec[list]];
    const same = now.length === before.length && now.every(({ name }, index) => name === before[index].name);
    spec[list] = same
      ? old.spec[list]?.map((container: any, index: number) => {
          const { resources, resizePolicy } = now[index];
          const changed = { ...container, resources, resizePolicy };
          dropUndefined(changed);
          return changed;
        })
      : wanted[list];
  }
  dropUndefined(spec);
  next.spec = spec;
}
