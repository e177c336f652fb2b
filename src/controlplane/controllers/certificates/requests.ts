import type { CertificateSigningRequest } from '../../../api/index.ts';
import { type KeyUsage, readSigningRequest, type SigningRequest } from '../../../wire/certificates/index.ts';

/** Signers that Kubernetes' own controllers sign for. */
export const signers = {
  apiServerClient: 'kubernetes.io/kube-apiserver-client',
  kubeletClient: 'kubernetes.io/kube-apiserver-client-kubelet',
  kubeletServing: 'kubernetes.io/kubelet-serving',
  legacyUnknown: 'kubernetes.io/legacy-unknown',
} as const;

const nodesGroup = 'system:nodes';
const nodePrefix = 'system:node:';

/** Whether a condition is there and true (an older one may have no status). */
export function hasCondition(request: CertificateSigningRequest, type: 'Approved' | 'Denied' | 'Failed'): boolean {
  return request.status?.conditions?.some((one) => one.type === type && one.status !== 'False') ?? false;
}

/** Reads what is in a request object. @throws Error when it is no request */
export function readRequest(request: CertificateSigningRequest): Promise<SigningRequest> {
  return readSigningRequest(Buffer.from(request.spec.request, 'base64').toString());
}

const sameSet = (left: readonly string[], right: readonly string[]): boolean =>
  new Set(left).size === new Set(right).size && right.every((one) => left.includes(one));

/** Uses with and without the one that only RSA keys have. */
const isFor = (usages: readonly string[], kind: 'client auth' | 'server auth'): boolean =>
  sameSet(usages, ['digital signature', kind]) || sameSet(usages, ['digital signature', 'key encipherment', kind]);

/** Why a request is none for the client certificate of a kubelet; undefined when it is one. */
export function kubeletClientProblem(read: SigningRequest, usages: readonly string[]): string | undefined {
  if (!sameSet(read.organizations, [nodesGroup]) || read.organizations.length !== 1)
    return 'subject organization is not system:nodes';
  if (read.dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
  if (read.emails.length > 0) return 'Email subjectAltNames are not allowed';
  if (read.ipAddresses.length > 0) return 'IP subjectAltNames are not allowed';
  if (read.uris.length > 0) return 'URI subjectAltNames are not allowed';
  if (!read.commonName.startsWith(nodePrefix)) return 'subject common name does not begin with system:node:';
  if (!isFor(usages, 'client auth')) return 'usages did not match [client auth digital signature key encipherment]';
  return undefined;
}

/** Why a request is none for the serving certificate of a kubelet; undefined when it is one. */
export function kubeletServingProblem(read: SigningRequest, usages: readonly string[]): string | undefined {
  if (!sameSet(read.organizations, [nodesGroup]) || read.organizations.length !== 1)
    return 'subject organization is not system:nodes';
  if (read.dnsNames.length === 0 && read.ipAddresses.length === 0) return 'DNS or IP subjectAltName is required';
  if (read.emails.length > 0) return 'Email subjectAltNames are not allowed';
  if (read.uris.length > 0) return 'URI subjectAltNames are not allowed';
  if (!isFor(usages, 'server auth')) return 'usages did not match [digital signature key encipherment server auth]';
  if (!read.commonName.startsWith(nodePrefix)) return 'subject common name does not begin with system:node:';
  return undefined;
}

/** Why a signer cannot sign a request; undefined when it can. */
export function signerProblem(signer: string, read: SigningRequest, usages: readonly string[]): string | undefined {
  if (signer === signers.kubeletClient) return kubeletClientProblem(read, usages);
  if (signer === signers.kubeletServing) return kubeletServingProblem(read, usages);
  if (signer !== signers.apiServerClient) return undefined;
  const allowed = ['digital signature', 'key encipherment', 'client auth'];
  if (!usages.includes('client auth') || usages.some((one) => !allowed.includes(one)))
    return `usages did not match [${allowed.toSorted().join(' ')}]`;
  return undefined;
}

const keyUsages: readonly KeyUsage[] = [
  'digital signature',
  'content commitment',
  'key encipherment',
  'data encipherment',
  'key agreement',
];

/** Uses as certificates have them. `signing` is another name of digital signature. */
export function splitUsages(usages: readonly string[]): { keyUsages: KeyUsage[]; usages: ('server' | 'client')[] } {
  const named = usages.map((one) => (one === 'signing' ? 'digital signature' : one));
  return {
    keyUsages: keyUsages.filter((one) => named.includes(one)),
    usages: (['server', 'client'] as const).filter((one) => named.includes(`${one} auth`) || named.includes('any')),
  };
}
