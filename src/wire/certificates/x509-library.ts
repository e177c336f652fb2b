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
