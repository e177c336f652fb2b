import type { Container, Pod } from '../../api/index.ts';

/** The text of an event about a resize: a headline, and the resources as JSON. */
export function resizeMessage(headline: string, pod: Pod, generation: number | undefined, error?: string): string {
  const list = (containers: Container[] | undefined) =>
    (containers ?? []).map(({ name, resources = {} }) => ({ name, resources }));
  const [initContainers, containers] = [list(pod.spec.initContainers), list(pod.spec.containers)];
  const summary = {
    ...(initContainers.length > 0 ? { initContainers } : {}),
    ...(containers.length > 0 ? { containers } : {}),
    generation: generation ?? 0,
    ...(error ? { error } : {}),
  };
  return `${headline}: ${JSON.stringify(summary)}`;
}
