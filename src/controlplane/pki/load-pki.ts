import { join } from 'node:path';
import { readOptional } from './files.ts';
import { PkiError } from './pki-error.ts';

/** What an API server needs of a certificate directory, PEM. */
export interface ApiServerPki {
  tls: { cert: string; key: string; clientCa: string };
  /** How the API server presents itself to kubelets, and who signs their certificates. */
  kubeletClient: { cert: string; key: string; ca: string };
  /** Private key that signs service-account tokens. */
  serviceAccountKey: string;
}

/** Reads the API server's part of a directory made by ensurePki. @throws PkiError naming the file that is missing */
export async function loadApiServerPki(directory: string): Promise<ApiServerPki> {
  const read = async (name: string): Promise<string> => {
    const text = await readOptional(join(directory, name));
    if (text === undefined) throw new PkiError('MISSING', `${join(directory, name)} is missing`);
    return text;
  };
  const [cert, key, ca, clientCert, clientKey, serviceAccountKey] = await Promise.all(
    [
      'apiserver.crt',
      'apiserver.key',
      'ca.crt',
      'apiserver-kubelet-client.crt',
      'apiserver-kubelet-client.key',
      'sa.key',
    ].map(read),
  );
  return {
    tls: { cert: cert!, key: key!, clientCa: ca! },
    kubeletClient: { cert: clientCert!, key: clientKey!, ca: ca! },
    serviceAccountKey: serviceAccountKey!,
  };
}
