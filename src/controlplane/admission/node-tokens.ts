import type { ClusterAuthorizer } from '../apiserver/authz/index.ts';
import type { AdmissionRequest } from '../apiserver/extension-points.ts';
import { refuse } from './refuse.ts';

/** A node asks for tokens of the accounts of its own pods, bound to the pod, for audiences that the pod names. */
export function checkToken(request: AdmissionRequest, node: string, authorizer: ClusterAuthorizer | undefined): void {
  if (request.operation !== 'CREATE' || request.subresource !== 'token') return;
  const { boundObjectRef: reference, audiences = [] } = request.object?.spec ?? {};
  if (reference?.kind !== 'Pod' || !reference.name) throw refuse(request, 'node requested token not bound to a pod');
  if (!reference.uid) throw refuse(request, 'node requested token with a pod binding without a uid');
  const pod: any = request.registry.get('pods', request.namespace, reference.name);
  if (pod && pod.metadata.uid !== reference.uid) {
    const why = 'The object might have been deleted and then recreated';
    throw refuse(
      request,
      `the UID in the bound object reference (${reference.uid}) does not match the UID in record. ${why}`,
    );
  }
  if (pod?.spec?.nodeName !== node)
    throw refuse(request, 'node requested token bound to a pod scheduled on a different node');
  if (audiences.length > 1) throw refuse(request, 'node may only request 0 or 1 audiences');
  const audience: string = audiences[0] ?? '';
  if (namesAudience(request, pod, audience) || mayAsk(request, audience, authorizer)) return;
  const who = request.user.username;
  const text = `audience "${audience}" not found in pod spec volume, ${who} is not authorized to request tokens for this audience`;
  throw refuse(request, text);
}

/** Whether a volume of the pod, or the driver of one, has tokens of the audience. */
function namesAudience({ registry, namespace }: AdmissionRequest, pod: any, audience: string): boolean {
  const driverOfClaim = (name: string): string | undefined => {
    const claim: any = registry.get('persistentvolumeclaims', namespace, name);
    const volume: any = registry.get('persistentvolumes', '', claim?.spec?.volumeName ?? '');
    return volume?.spec?.csi?.driver;
  };
  return (pod.spec.volumes ?? []).some((volume: any) => {
    const sources: any[] = volume.projected?.sources ?? [];
    if (sources.some((one) => one.serviceAccountToken && (one.serviceAccountToken.audience ?? '') === audience))
      return true;
    const driverName: string | undefined =
      volume.csi?.driver ??
      (volume.persistentVolumeClaim ? driverOfClaim(volume.persistentVolumeClaim.claimName) : undefined) ??
      (volume.ephemeral ? driverOfClaim(`${pod.metadata.name}-${volume.name}`) : undefined);
    const driver: any = driverName ? registry.get('storage.k8s.io/csidrivers', '', driverName) : undefined;
    return (driver?.spec?.tokenRequests ?? []).some((one: any) => (one.audience ?? '') === audience);
  });
}

/** Credential providers' audiences are in no pod: who runs the cluster allows them to nodes. */
function mayAsk(request: AdmissionRequest, audience: string, authorizer: ClusterAuthorizer | undefined): boolean {
  const resource = { group: '', version: 'v1', plural: audience, subresource: '' };
  const { user, namespace, name } = request;
  const verb = 'request-serviceaccounts-token-audience';
  return authorizer?.decide({ user, verb, resource, namespace, name, path: '' }).allowed ?? false;
}
