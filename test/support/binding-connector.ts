/** The pods/binding subresource in its simplest form, for servers that have nothing plugged in. */
import type { Pod } from '../../src/api/index.ts';
import { type Extensions, StatusError } from '../../src/controlplane/index.ts';

/** Writes the target of a Binding into its pod. */
export const bindingConnector: Extensions['connectors'][string] = async (request) => {
  let taken = false;
  await request.registry.update<Pod>('pods', request.namespace, request.name, (pod) => {
    taken = Boolean(pod.spec.nodeName);
    return taken ? undefined : { ...pod, spec: { ...pod.spec, nodeName: request.body.target.name } };
  });
  if (taken) throw new StatusError(409, 'Conflict', 'pod is already assigned to a node');
  return {
    kind: 'object',
    status: 201,
    object: { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Success' } as never,
  };
};
