import type { ClusterAuthorizer } from '../apiserver/authz/index.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { refuse } from './refuse.ts';

const group = 'certificates.k8s.io';

/** Who approves or signs a certificate must be trusted with its signer: by name, or with all of the signer's domain. */
export function certificateApproval(authorizer: ClusterAuthorizer): AdmissionPlugin {
  const may = (request: AdmissionRequest, verb: string): boolean => {
    const signer: string = request.oldObject?.spec?.signerName ?? '';
    return [signer, `${signer.split('/')[0]}/*`].some(
      (name) =>
        authorizer.decide({
          user: request.user,
          verb,
          resource: { group, version: 'v1', plural: 'signers', subresource: '' },
          namespace: '',
          name,
          path: '',
        }).allowed,
    );
  };
  return {
    name: 'CertificateApproval',
    validate: (request) => {
      const { resource, subresource, operation, object, oldObject } = request;
      if (resource.group !== group || resource.plural !== 'certificatesigningrequests' || operation !== 'UPDATE')
        return;
      const signer: string = oldObject?.spec?.signerName ?? '';
      if (subresource === 'approval' && !may(request, 'approve')) {
        throw refuse(request, `user not permitted to approve requests with signerName ${JSON.stringify(signer)}`);
      }
      const signed = object?.status?.certificate && object.status.certificate !== oldObject?.status?.certificate;
      if (subresource === 'status' && signed && !may(request, 'sign')) {
        throw refuse(request, `user not permitted to sign requests with signerName ${JSON.stringify(signer)}`);
      }
    },
  };
}
