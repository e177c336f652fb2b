import { createHash, type Hash } from 'node:crypto';
import { ImageError } from './image-error.ts';

const sizes: Record<string, number> = { sha256: 64, sha384: 96, sha512: 128 };

/** Begins a hash of the algorithm that a digest names. @throws ImageError when it is not a digest that we can check */
export function hashFor(digest: string): Hash {
  const [algorithm = '', hex = ''] = digest.split(':');
  if (sizes[algorithm] !== hex.length || !/^[0-9a-f]+$/.test(hex))
    throw new ImageError('INVALID_ARGUMENT', `unsupported or malformed digest ${JSON.stringify(digest)}`);
  return createHash(algorithm);
}

/** Compares what was hashed with what was promised. @throws ImageError DATA_LOSS when they differ */
export function checkDigest(hash: Hash, digest: string, what: string): void {
  const algorithm = digest.split(':')[0];
  const actual = `${algorithm}:${hash.digest('hex')}`;
  if (actual !== digest)
    throw new ImageError('DATA_LOSS', `${what}: unexpected digest ${actual}, expected ${digest}: failed precondition`);
}

/** `sha256:…` of some bytes. */
export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
