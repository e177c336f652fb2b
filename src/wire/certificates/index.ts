export {
  type CertificateAuthority,
  type CertificateRequest,
  createCertificateAuthority,
  issueCertificate,
  type KeyUsage,
  signPublicKey,
} from './issue-certificate.ts';
export {
  type CertificateDetails,
  generateKey,
  generateRsaKey,
  isSignedBy,
  type KeyAndCertificate,
  publicKeyOf,
  readCertificate,
} from './keys.ts';
export { createSigningRequest, readSigningRequest, type SigningRequest, signRequest } from './signing-request.ts';
