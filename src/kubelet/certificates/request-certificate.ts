import { createHash } from 'node:crypto';
import { type CertificateSigningRequest, resources } from '../../api/index.ts';
import type { Clock } from '../../async/index.ts';
import { type ApiClient, createInformer, isAlreadyExists } from '../../client/index.ts';
import type { Logger } from '../../log/index.ts';
import { createSigningRequest, publicKeyOf } from '../../wire/certificates/index.ts';

/** Whom a certificate is to name. */
export interface CertificateSubject {
  commonName: string;
  organizations: string[];
  dnsNames?: string[];
  ipAddresses?: string[];
}

/** What to ask an API server for. */
export interface CertificateWish {
  subject: CertificateSubject;
  signerName: 'kubernetes.io/kube-apiserver-client-kubelet' | 'kubernetes.io/kubelet-serving';
  usages: string[];
  /** PEM. */
  key: string;
  /** The request has a name that follows from the key, so that a kubelet that begins anew finds it. */
  named?: boolean;
}

/** The request was denied, or could not be signed. */
export class CertificateRefused extends Error {}

/** Longest wait for somebody to approve, milliseconds; then it is asked anew. */
const patienceMs = 15 * 60_000;

/**
 * Asks for a certificate by a CertificateSigningRequest and waits until it is approved and signed.
 * @returns the certificate, PEM
 * @throws CertificateRefused, or the API server's error
 */
export async function requestCertificate(
  client: ApiClient,
  wish: CertificateWish,
  context: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<string> {
  const { subject, signerName, usages, key } = wish;
  const { request } = await createSigningRequest(subject, key);
  const spec = { request: Buffer.from(request).toString('base64'), signerName, usages };
  const name = wish.named ? nameOf(wish) : undefined;
  const draft = { metadata: name ? { name } : { generateName: 'csr-' }, spec };
  let made: CertificateSigningRequest;
  try {
    made = await client.create(resources.certificatesigningrequests, draft as never, { signal: context.signal });
  } catch (error) {
    if (!name || !isAlreadyExists(error)) throw error;
    made = await client.get(resources.certificatesigningrequests, name, { signal: context.signal });
  }
  context.log.info('waits for a certificate', { request: made.metadata.name, signer: signerName });
  return waitForCertificate(client, made.metadata.name, context);
}

async function waitForCertificate(
  client: ApiClient,
  name: string,
  { clock, log, signal }: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<string> {
  const end = new AbortController();
  const both = AbortSignal.any([signal, end.signal]);
  try {
    return await new Promise<string>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      const timer = clock.after(patienceMs, () => reject(new Error(`nobody has decided about the request ${name}`)));
      both.addEventListener('abort', () => timer.cancel(), { once: true });
      const informer = createInformer(client, resources.certificatesigningrequests, {
        fieldSelector: `metadata.name=${name}`,
        log,
        clock,
        onChange: (_key, now) => {
          const problem = problemOf(name, now);
          if (problem) reject(problem);
          else if (now?.status?.certificate) resolve(Buffer.from(now.status.certificate, 'base64').toString());
        },
      });
      informer.start(both);
    });
  } finally {
    end.abort();
  }
}

function problemOf(name: string, request: CertificateSigningRequest | undefined): Error | undefined {
  if (!request) return new CertificateRefused(`the request ${name} was deleted`);
  const bad = request.status?.conditions?.find(
    ({ type, status }) => ['Denied', 'Failed'].includes(type) && status !== 'False',
  );
  return (
    bad && new CertificateRefused(`the request ${name}: ${bad.type}: ${bad.reason ?? ''} ${bad.message ?? ''}`.trim())
  );
}

/** A name that is the same for the same key and wish. */
function nameOf({ key, subject, signerName, usages }: CertificateWish): string {
  const text = JSON.stringify([publicKeyOf(key), subject, signerName, usages]);
  return `node-csr-${createHash('sha256').update(text).digest('base64url').replaceAll(/[-_]/g, 'x').toLowerCase().slice(0, 43)}`;
}
