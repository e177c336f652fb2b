import { readSigningRequest } from '../../wire/certificates/index.ts';
import type { AdmissionPlugin } from '../apiserver/extension-points.ts';
import { refuse } from './refuse.ts';

/** Nobody becomes a master by asking for a certificate that says so. */
export const certificateSubject: AdmissionPlugin = {
  name: 'CertificateSubjectRestriction',
  validate: async (request) => {
    const { resource, subresource, operation, object } = request;
    const isRequest = resource.group === 'certificates.k8s.io' && resource.plural === 'certificatesigningrequests';
    if (!isRequest || operation !== 'CREATE' || subresource !== '') return;
    if (object.spec?.signerName !== 'kubernetes.io/kube-apiserver-client') return;
    const pem = Buffer.from(object.spec.request ?? '', 'base64').toString();
    const read = await readSigningRequest(pem).catch((error: unknown) => {
      throw refuse(request, `unable to parse csr: ${(error as Error).message}`);
    });
    if (read.organizations.includes('system:masters')) {
      const text = 'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed';
      throw refuse(request, text);
    }
  },
};
