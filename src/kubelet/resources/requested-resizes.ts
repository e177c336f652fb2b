import { type Pod, quantityMilli } from '../../api/index.ts';
import { resizable, resizableContainers } from './pod-resources.ts';

/** One change of what a container asks for, as metrics count it. */
export interface RequestedResize extends Record<string, string> {
  resource: string;
  requirement: 'requests' | 'limits';
  operation: 'add' | 'remove' | 'increase' | 'decrease';
}

/** What of the containers' resources somebody has changed. Cheap where nothing has. */
export function requestedResizes(before: Pod, after: Pod): RequestedResize[] {
  if (before.metadata.generation !== undefined && before.metadata.generation === after.metadata.generation) return [];
  const known = new Map(resizableContainers(before).map((one) => [one.name, one.resources]));
  return resizableContainers(after).flatMap(({ name, resources }) =>
    resizable.flatMap((resource) =>
      (['requests', 'limits'] as const).flatMap((requirement) => {
        const operation = compare(known.get(name)?.[requirement]?.[resource], resources?.[requirement]?.[resource]);
        return operation ? [{ resource, requirement, operation }] : [];
      }),
    ),
  );
}

function compare(before: string | undefined, after: string | undefined): RequestedResize['operation'] | undefined {
  const [old, now] = [quantityMilli(before ?? '0'), quantityMilli(after ?? '0')];
  if (old === now) return undefined;
  if (old === 0) return 'add';
  if (now === 0) return 'remove';
  return now > old ? 'increase' : 'decrease';
}
