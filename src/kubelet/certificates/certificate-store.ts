import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type KeyAndCertificate, readCertificate } from '../../wire/certificates/index.ts';

/** A pair that was found good, with its time. */
export interface StoredCertificate extends KeyAndCertificate {
  /** Milliseconds since 1970. */
  notBefore: number;
  notAfter: number;
}

/**
 * Certificates with their keys in a directory, as upstream keeps them: each in a file of its own with its time in the name
 * (`kubelet-client-2026-01-31-12-00-00.pem`, certificate before key), the newest under `kubelet-client-current.pem`, a link.
 */
export class CertificateStore {
  readonly directory: string;
  readonly name: string;

  constructor(directory: string, name: 'kubelet-client' | 'kubelet-server') {
    this.directory = directory;
    this.name = name;
  }

  /** The link to the newest. */
  get currentPath(): string {
    return join(this.directory, `${this.name}-current.pem`);
  }

  /** The newest pair; undefined when there is none, or it is damaged. */
  async read(): Promise<StoredCertificate | undefined> {
    const text = await readFile(this.currentPath, 'utf8').catch(() => '');
    return parsePair(text, text);
  }

  /** Keeps a new pair and makes it the newest. Nobody but the owner may read it. */
  async write({ cert, key }: KeyAndCertificate, now: number): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o755 });
    const stamp = new Date(now).toISOString().slice(0, 19).replaceAll(/[T:]/g, '-');
    const file = `${this.name}-${stamp}.pem`;
    const path = join(this.directory, file);
    await writeFile(`${path}.new`, `${cert.trimEnd()}\n${key.trimEnd()}\n`, { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
    const link = `${this.currentPath}.new`;
    await rm(link, { force: true });
    await symlink(file, link);
    await rename(link, this.currentPath);
  }
}

/** Reads a certificate (with those of its chain) and its key from PEM texts, which may be one. */
export function parsePair(certText: string, keyText: string): StoredCertificate | undefined {
  try {
    const certs = certText.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g);
    const key = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]+?-----END \1-----/.exec(keyText)?.[0];
    if (!certs || !key || !new X509Certificate(certs[0]!).checkPrivateKey(createPrivateKey(key))) return undefined;
    const { notBefore, notAfter } = readCertificate(certs[0]!);
    return { cert: `${certs.join('\n')}\n`, key: `${key}\n`, notBefore, notAfter };
  } catch {
    return undefined;
  }
}
