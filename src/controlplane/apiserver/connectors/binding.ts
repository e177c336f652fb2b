import type { Clock } from '../../../async/index.ts';
import type { Connector, ConnectRequest } from '../extension-points.ts';
import { notFound, StatusError } from '../status-error.ts';
import { badRequest, methodNotAllowed, success, toTime } from './answers.ts';

/** pods/binding and bindings: gives a pod to a node. */
export function createBinding(clock: Clock): Connector {
  return async (request) => {
    const { method, body } = request;
    if (method !== 'POST') throw methodNotAllowed();
    const name: string = request.subresource ? request.name : (body?.metadata?.name ?? '');
    if (request.subresource && body?.metadata?.name && body.metadata.name !== name) {
      throw badRequest('name in URL does not match name in Binding object');
    }
    const { target } = body ?? {};
    if (!target?.name || (target.kind && target.kind !== 'Node' && target.kind !== 'Minion')) {
      const message = target?.name
        ? `Unsupported value: "${target.kind}": supported values: "Node", "<empty>"`
        : 'Required value';
      const field = target?.name ? 'target.kind' : 'target.name';
      throw new StatusError(422, 'Invalid', `Binding "${name}" is invalid: ${field}: ${message}`, {
        name,
        kind: 'Binding',
        causes: [{ reason: target?.name ? 'FieldValueNotSupported' : 'FieldValueRequired', message, field }],
      });
    }
    if (request.dryRun) return success();
    const bound = await request.registry.update<any>('pods', request.namespace, name, (pod) =>
      bind(pod, request, target.name, clock.now()),
    );
    if (!bound) throw notFound('', 'pods', name);
    return success();
  };
}

/** The pod on its node. @throws StatusError 409 when it cannot go there */
function bind(pod: any, { body }: ConnectRequest, node: string, now: number): any {
  const { name, uid, deletionTimestamp } = pod.metadata;
  const conflict = (why: string) =>
    new StatusError(409, 'Conflict', `Operation cannot be fulfilled on pods/binding "${name}": ${why}`, {
      name,
      kind: 'pods/binding',
    });
  const wanted: string | undefined = body.metadata?.uid;
  if (wanted && wanted !== uid) {
    throw conflict(`Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${uid}`);
  }
  if (deletionTimestamp) throw conflict(`pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec.nodeName) throw conflict(`pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if (pod.spec.schedulingGates?.length > 0) throw conflict(`pod ${name} has non-empty .spec.schedulingGates`);
  const conditions = (pod.status?.conditions ?? []).filter(({ type }: any) => type !== 'PodScheduled');
  const scheduled = { type: 'PodScheduled', status: 'True', lastProbeTime: null, lastTransitionTime: toTime(now) };
  const annotations = { ...pod.metadata.annotations, ...body.metadata?.annotations };
  return {
    ...pod,
    metadata: { ...pod.metadata, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) },
    spec: { ...pod.spec, nodeName: node },
    status: { ...pod.status, conditions: [...conditions, scheduled] },
  };
}
