/** How a registry is reached. Rules apply to the registry part of references (`docker.io`, `127.0.0.1:5000`, `*` for all). */
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
  /** An OAuth2 refresh token, exchanged for an access token. */
  identityToken?: string;
  /** A bearer token, sent as it is. */
  registryToken?: string;
}

/** One server that may have an image. */
export interface RegistryEndpoint {
  baseUrl: string;
  config: RegistryConfig | undefined;
  auth: RegistryAuth | undefined;
}

/** The servers to ask for images of a registry, in order. */
export function registryEndpoints(
  registry: string,
  configs: readonly RegistryConfig[],
  auth: RegistryAuth | undefined,
): RegistryEndpoint[] {
  const config = configs.find((one) => one.registry === registry) ?? configs.find((one) => one.registry === '*');
  const own = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const plain = config?.plainHttp ?? isLoopback(registry);
  const credentials = auth ?? config?.auth;
  return [
    ...(config?.mirrors ?? []).map((mirror) => ({ baseUrl: mirror.replace(/\/$/, ''), config, auth: undefined })),
    { baseUrl: `${plain ? 'http' : 'https'}://${own}`, config, auth: credentials },
  ];
}

function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '');
  return host === 'localhost' || /^127\./.test(host) || host === '[::1]';
}

/** `Basic …` for a user and password; undefined when there are none. */
export function basicAuthorization(auth: RegistryAuth | undefined): string | undefined {
  if (auth?.username) return `Basic ${Buffer.from(`${auth.username}:${auth.password ?? ''}`).toString('base64')}`;
  return auth?.auth ? `Basic ${auth.auth}` : undefined;
}
