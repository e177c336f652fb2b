import { createPublicKey } from 'node:crypto';
import type * as X509 from '@peculiar/x509';

/** The certificate library. It is large, and most starts sign nothing: it is loaded when something is to be signed. */
export async function x509Library(): Promise<typeof X509> {
  await import('reflect-metadata');
  const library = await import('@peculiar/x509');
  library.cryptoProvider.set(globalThis.crypto as never);
  return library;
}

/** Keys of our own certificates: ECDSA over P-256. */
export const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** How somebody's key (PEM, SPKI) signs: ECDSA over its own curve, RSA, Ed25519. @throws Error for other kinds */
export function algorithmOf(publicKey: string): { name: string; namedCurve?: string; hash: string } {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPublicKey(publicKey);
  if (type === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  if (type === 'ed25519') return { name: 'Ed25519', hash: 'SHA-512' };
  const curve = (
    { prime256v1: ['P-256', 'SHA-256'], secp384r1: ['P-384', 'SHA-384'], secp521r1: ['P-521', 'SHA-512'] } as const
  )[details?.namedCurve as 'prime256v1'];
  if (type !== 'ec' || !curve) throw new Error(`keys of the kind ${type} ${details?.namedCurve ?? ''} are not signed`);
  return { name: 'ECDSA', namedCurve: curve[0], hash: curve[1] };
}
