import { isIPv4, isIPv6 } from '../../host/netlink/index.ts';
import type { IpFamily, Protocol } from '../model/types.ts';
import type { Frontend, ServicePortPlan } from '../plan/types.ts';

/** What `--to` says: an address, or the name of a Service or host. */
export interface Target {
  /** An IP address; else `service` or `host` is given. */
  address?: string;
  /** `namespace/name`. */
  service?: string;
  /** A name to be looked up in the DNS. */
  host?: string;
  /** A number, or the name of a Service's port. */
  port?: string;
  protocol?: Protocol;
}

/** A `--to` or `--from` that cannot be understood. */
export class TargetError extends Error {}

/**
 * Reads `ADDRESS[:PORT][/PROTOCOL]` (IPv6 in brackets when a port follows), `[NAMESPACE/]SERVICE[:PORT]`, and names:
 * `SERVICE.NAMESPACE.svc[.DOMAIN]` is a Service, any other name with a dot is a host. @throws TargetError
 */
export function parseTarget(text: string, namespace: string): Target {
  const slash = /^(.+)\/(tcp|udp|sctp)$/i.exec(text);
  const protocol = slash?.[2]?.toUpperCase() as Protocol | undefined;
  const rest = slash?.[1] ?? text;
  const more = protocol ? { protocol } : {};
  if (isIPv6(rest)) return { address: rest, ...more };
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::([\w-]+))?$/.exec(rest) ?? [];
  const what = bracketed ?? plain;
  if (what === undefined)
    throw new TargetError(`${JSON.stringify(text)} is neither ADDRESS:PORT, nor NAMESPACE/SERVICE:PORT, nor a name`);
  const place = { ...(port === undefined ? {} : { port }), ...more };
  if (isIPv4(what) || isIPv6(what)) return { address: what, ...place };
  if (bracketed !== undefined) throw new TargetError(`${JSON.stringify(bracketed)} is not an IPv6 address`);
  const dns = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.|$)/i.exec(what);
  if (dns) return { service: `${dns[2]}/${dns[1]}`, ...place };
  if (what.includes('/')) {
    if (!/^[a-z0-9-]+\/[a-z0-9-]+$/.test(what))
      throw new TargetError(`${JSON.stringify(what)} is not NAMESPACE/SERVICE`);
    return { service: what, ...place };
  }
  return what.includes('.') ? { host: what, ...place } : { service: `${namespace}/${what}`, ...place };
}

/** The cluster IP and port that a target's Service is called by. @throws TargetError saying which ports there are */
export function frontendOf(target: Target, plans: readonly ServicePortPlan[], family: IpFamily): Frontend {
  const all = plans.flatMap((plan) =>
    plan.frontends
      .filter((frontend) => frontend.kind === 'cluster-ip')
      .map((frontend) => ({ name: plan.name.split(':')[1] ?? '', frontend })),
  );
  if (all.length === 0)
    throw new TargetError(
      `there is no Service ${target.service} with an IPv${family} cluster IP (headless and ExternalName ones have none)`,
    );
  return choose(target, all, `Service ${target.service}`);
}

/** The port that is meant by a target with an address alone. @throws TargetError saying which ports there are */
export function frontendAt(target: Target, plans: readonly ServicePortPlan[]): Frontend {
  const all = plans.flatMap((plan) =>
    plan.frontends
      .filter((frontend) => frontend.address === target.address)
      .map((frontend) => ({ name: plan.name.split(':')[1] ?? '', frontend })),
  );
  if (all.length === 0)
    throw new TargetError(`no Service has ${target.address}: say a port, as in ${target.address}:80`);
  return choose(target, all, target.address!);
}

function choose(
  { port, protocol }: Target,
  all: readonly { name: string; frontend: Frontend }[],
  subject: string,
): Frontend {
  const fitting = all.filter(
    ({ name, frontend }) =>
      (port === undefined || name === port || String(frontend.port) === port) &&
      (protocol === undefined || frontend.protocol === protocol),
  );
  if (fitting.length === 1) return fitting[0]!.frontend;
  const tcp = fitting.filter(({ frontend }) => frontend.protocol === 'TCP');
  if (tcp.length === 1 && port !== undefined) return tcp[0]!.frontend;
  const number = Number(port);
  // A port that the Service does not have may be asked about too.
  if (fitting.length === 0 && Number.isInteger(number) && number > 0 && number < 65_536)
    return { ...all[0]!.frontend, port: number, protocol: protocol ?? 'TCP' };
  const ports = all.map(({ name, frontend }) => `${frontend.port}/${frontend.protocol}${name ? ` (${name})` : ''}`);
  throw new TargetError(`${subject}: say which port, of ${ports.join(', ')}`);
}
