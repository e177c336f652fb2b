/** How a registry is reached, as the runtime's own settings say it. Rules apply to the registry part of references (`docker.io`, `127.0.0.1:5000`, `*` for all). */
export interface RegistryConfig {
  registry: string;
  /** Tried in this order before the registry itself; `http://host:port` or `https://host[:port]`, with an optional path. */
  mirrors?: readonly string[];
  /** Talk HTTP instead of HTTPS to the registry itself. Registries on loopback are tried over HTTP anyway. */
  plainHttp?: boolean;
  insecureSkipTlsVerify?: boolean;
  /** PEM. */
  ca?: string;
  cert?: string;
  key?: string;
  auth?: RegistryAuth;
  /** More header fields for every request. */
  headers?: Readonly<Record<string, string>>;
}

/** Credentials, as the CRI carries them. */
export interface RegistryAuth {
  username?: string;
  password?: string;
  /** base64 of `username:password`. */
  auth?: string;
  /** The server that they are for; when it is not that of the image, they are not used. */
  serverAddress?: string;
  /** An OAuth2 refresh token, exchanged for an access token. */
  identityToken?: string;
  /** A bearer token, sent as it is. */
  registryToken?: string;
}

/** One server that may have an image, and how it is asked. */
export interface RegistryEndpoint {
  /** `https://host[:port][/path]`; `/v2` comes after it unless `overridePath`. */
  baseUrl: string;
  /** The path is where the API is, `/v2` included. */
  overridePath?: boolean;
  /** What the repository is called there. */
  repository: string;
  /** The registry that a mirror for many is asked for (`?ns=` of containerd). */
  namespace?: string;
  /** Whether it may say what a tag stands for, and whether it may be asked for what has a digest. */
  mayResolve: boolean;
  mayPull: boolean;
  /** PEM of certificates that may have signed the server's, beside those that the machine trusts. */
  ca?: string;
  cert?: string;
  key?: string;
  insecureSkipTlsVerify?: boolean;
  headers?: Readonly<Record<string, string>>;
  auth?: RegistryAuth;
  /** Time to connect and to get the header of an answer, milliseconds. Default 30 s. */
  answerTimeoutMs?: number;
  /** What made the rule: a file, or `settings`; for people. */
  rule: string;
}

/** Whether a registry is on this machine: then it is talked to without TLS unless a rule says otherwise. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '');
  return host === 'localhost' || /^127\./.test(host) || host === '[::1]';
}

/** Host and port of the server behind a registry's name. */
export function serverOf(registry: string): string {
  return registry === 'docker.io' ? 'registry-1.docker.io' : registry;
}

/** `Basic …` for a user and password; undefined when there are none. */
export function basicAuthorization(auth: RegistryAuth | undefined): string | undefined {
  if (auth?.username) return `Basic ${Buffer.from(`${auth.username}:${auth.password ?? ''}`).toString('base64')}`;
  // Some tools fill the decoded form up with NULs.
  const decoded = auth?.auth ? Buffer.from(auth.auth, 'base64').toString().replaceAll('\0', '') : '';
  return decoded.includes(':') ? `Basic ${Buffer.from(decoded).toString('base64')}` : undefined;
}

/** Credentials that a request carries, as far as they are meant for the registry that is asked. */
export function authFor(registry: string, auth: RegistryAuth | undefined): RegistryAuth | undefined {
  if (!auth?.serverAddress) return hasAny(auth) ? auth : undefined;
  return hostOfAddress(auth.serverAddress) === hostOfAddress(registry) && hasAny(auth) ? auth : undefined;
}

/** The registry that an address stands for, in any of the forms that credential files have. */
export function hostOfAddress(address: string): string {
  const host = address.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return ['index.docker.io', 'registry-1.docker.io'].includes(host) ? 'docker.io' : host;
}

function hasAny(auth: RegistryAuth | undefined): boolean {
  return Boolean(auth?.username || auth?.auth || auth?.identityToken || auth?.registryToken);
}
