import type { AdmissionRequest } from '../apiserver/extension-points.ts';
import { StatusError } from '../apiserver/status-error.ts';

/** A 403 for the object of a request: `pods "web" is forbidden: why`. */
export function refuse(
  request: AdmissionRequest,
  why: string,
  extra: { causes?: { reason: string; message: string }[] } = {},
): StatusError {
  const { group, plural } = request.resource;
  const kind = group ? `${plural}.${group}` : plural;
  const name = request.name || request.object?.metadata?.generateName || '';
  return new StatusError(403, 'Forbidden', `${kind} "${name}" is forbidden: ${why}`, {
    ...(name ? { name } : {}),
    ...(group ? { group } : {}),
    kind: plural,
    ...extra,
  });
}

/** Whether the request writes the pod itself (not a subresource). */
export function isPodCreate(request: AdmissionRequest): boolean {
  const { resource, subresource, operation } = request;
  return operation === 'CREATE' && resource.group === '' && resource.plural === 'pods' && subresource === '';
}

/** A pod that stands in the API for one that a node was told of directly. */
export const isMirrorPod = (pod: any): boolean =>
  pod?.metadata?.annotations?.['kubernetes.io/config.mirror'] !== undefined;
