import { createHash, createPrivateKey, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';

/** What a service-account token says. */
export interface TokenClaims {
  iss: string;
  sub: string;
  aud: string[];
  /** Seconds since 1970. */
  exp: number;
  iat: number;
  nbf: number;
  jti: string;
  'kubernetes.io': {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    secret?: { name: string; uid: string };
    node?: { name: string; uid: string };
  };
}

const verifiedLimit = 2_000;
const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signs and checks service-account tokens (JWT, ES256 or RS256 by the kind of key). */
export class TokenSigner {
  readonly issuer: string;
  readonly #private: KeyObject;
  readonly #public: KeyObject;
  readonly #keyId: string;
  readonly #algorithm: 'ES256' | 'RS256';
  /** Tokens whose signature was found good; what they name is looked at on every use. */
  readonly #verified = new Map<string, TokenClaims>();

  /** @param privateKey PEM */
  constructor(privateKey: string, issuer: string) {
    this.issuer = issuer;
    this.#private = createPrivateKey(privateKey);
    this.#public = createPublicKey(this.#private);
    this.#algorithm = this.#private.asymmetricKeyType === 'rsa' ? 'RS256' : 'ES256';
    const der = this.#public.export({ type: 'spki', format: 'der' });
    this.#keyId = createHash('sha256').update(der).digest('base64url');
  }

  /** How tokens are signed. */
  get algorithm(): 'ES256' | 'RS256' {
    return this.#algorithm;
  }

  /** Makes a token. */
  issue(claims: Omit<TokenClaims, 'iss' | 'jti' | 'iat' | 'nbf'>, nowMs: number): string {
    const now = Math.floor(nowMs / 1000);
    const payload: TokenClaims = { iss: this.issuer, jti: randomUUID(), iat: now, nbf: now, ...claims };
    const text = `${base64url({ alg: this.#algorithm, kid: this.#keyId })}.${base64url(payload)}`;
    const signature = sign('sha256', Buffer.from(text), { key: this.#private, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }

  /** The claims of a token of ours; undefined when it is not. Says nothing about its time. */
  verify(token: string): TokenClaims | undefined {
    const known = this.#verified.get(token);
    if (known) return known;
    const parts = token.split('.');
    if (parts.length !== 3) return undefined;
    const header = decode(parts[0]!);
    const claims = decode(parts[1]!) as TokenClaims | undefined;
    if (header?.['alg'] !== this.#algorithm || claims?.iss !== this.issuer) return undefined;
    const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
    const key = { key: this.#public, dsaEncoding: 'ieee-p1363' as const };
    if (!verify('sha256', signed, key, Buffer.from(parts[2]!, 'base64url'))) return undefined;
    if (this.#verified.size >= verifiedLimit) this.#verified.delete(this.#verified.keys().next().value!);
    this.#verified.set(token, claims);
    return claims;
  }

  /** The public key as a JSON Web Key Set. */
  keySet(): { keys: object[] } {
    const key = this.#public.export({ format: 'jwk' });
    return { keys: [{ use: 'sig', alg: this.#algorithm, kid: this.#keyId, ...key }] };
  }
}

function decode(part: string): Record<string, any> | undefined {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString());
  } catch {
    return undefined;
  }
}
