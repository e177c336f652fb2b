import { isAtLeast, isKnownVersion } from './cni-version.ts';

/** An interface of a result. With a sandbox it is the pod's. */
export interface CniInterface {
  name: string;
  mac?: string;
  sandbox?: string;
  [key: string]: unknown;
}

/** A result in the form of version 1.0 and later. */
export interface CniResult {
  cniVersion: string;
  interfaces?: CniInterface[];
  ips?: { address: string; gateway?: string; interface?: number; [key: string]: unknown }[];
  routes?: { dst: string; gw?: string; [key: string]: unknown }[];
  dns?: object;
  [key: string]: unknown;
}

/** An address of the first versions. */
interface OldAddress {
  ip: string;
  gateway?: string;
  routes?: { dst: string; gw?: string }[];
}

/**
 * Reads what a plugin answered to ADD, whatever version it is in. An empty answer is an empty result.
 * @throws Error when it cannot be understood
 */
export function parseCniResult(text: string): CniResult {
  if (text.trim() === '') return { cniVersion: '' };
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new Error(`it is not JSON: ${JSON.stringify(text.trim().slice(0, 200))}`, { cause });
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw new Error('it is not a JSON object');
  const result = raw as CniResult & { ip4?: OldAddress; ip6?: OldAddress };
  const { cniVersion = '0.1.0' } = result;
  if (cniVersion !== '' && !isKnownVersion(cniVersion)) throw new Error(`its version ${cniVersion} is not known`);
  const { ip4, ip6, ...rest } = result;
  if (!ip4 && !ip6) {
    for (const { address } of result.ips ?? [])
      if (typeof address !== 'string') throw new Error('an address of its "ips" is not a text');
    return { ...rest, cniVersion };
  }
  const old = [ip4, ip6].filter((one) => one !== undefined);
  return {
    ...rest,
    cniVersion,
    ips: old.map(({ ip, gateway }) => ({ address: ip, ...(gateway ? { gateway } : {}) })),
    routes: old.flatMap(({ routes = [] }) => routes),
  };
}

/** A result as it is written in a version. */
export function convertCniResult(result: CniResult, version: string): object {
  const { interfaces, ips = [], routes = [], ...rest } = result;
  const isSix = (address: string) => address.includes(':');
  if (isAtLeast(version, '0.3.0')) {
    const listed = ips.map(({ version: _, ...ip }) =>
      isAtLeast(version, '1.0.0') ? ip : { version: isSix(ip.address) ? '6' : '4', ...ip },
    );
    return {
      ...rest,
      cniVersion: version,
      ...(interfaces ? { interfaces } : {}),
      ...(ips.length > 0 ? { ips: listed } : {}),
      ...(routes.length > 0 ? { routes } : {}),
    };
  }
  const old = (six: boolean) => {
    const first = ips.find(({ address }) => isSix(address) === six);
    if (!first) return undefined;
    const own = routes.filter(({ dst }) => isSix(dst) === six).map(({ dst, gw }) => ({ dst, ...(gw ? { gw } : {}) }));
    const { address, gateway } = first;
    return { ip: address, ...(gateway ? { gateway } : {}), ...(own.length > 0 ? { routes: own } : {}) };
  };
  const [ip4, ip6] = [old(false), old(true)];
  return {
    ...(rest.dns ? { dns: rest.dns } : {}),
    cniVersion: version,
    ...(ip4 ? { ip4 } : {}),
    ...(ip6 ? { ip6 } : {}),
  };
}

/**
 * The addresses of a pod's own link, IPv4 first. Results may name other links too: on the host, or further ones of the
 * pod; addresses that name no link are the pod's.
 */
export function podAddresses({ interfaces = [], ips = [] }: CniResult, interfaceName: string): string[] {
  const own = ips.filter(({ interface: index }) => {
    const link = index === undefined ? undefined : interfaces[index];
    return link === undefined || (link.name === interfaceName && link.sandbox !== '' && link.sandbox !== undefined);
  });
  return own
    .map(({ address }) => address.split('/')[0]!)
    .sort((one, other) => Number(one.includes(':')) - Number(other.includes(':')));
}
