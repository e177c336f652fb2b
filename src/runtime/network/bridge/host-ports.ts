import { type PortMapping, Protocol } from '../../../api/cri/index.ts';
import { isIPv4, isIPv6 } from '../../../host/netlink/index.ts';
import { invalid, RuntimeError } from '../../errors.ts';

/** A port of the node that leads to a pod, in one family. */
export interface HostPort {
  family: 4 | 6;
  protocol: 'tcp' | 'udp' | 'sctp';
  /** One of the node's addresses; empty for all of them. */
  hostAddress: string;
  hostPort: number;
  podAddress: string;
  podPort: number;
}

/** What is known of a pod that has host ports. */
interface Holder {
  /** `namespace/name (sandbox id)`, for errors. */
  title: string;
  ports: readonly HostPort[];
}

const protocols = { [Protocol.TCP]: 'tcp', [Protocol.UDP]: 'udp', [Protocol.SCTP]: 'sctp' } as const;

/**
 * The host ports that port mappings ask for. Without a host address, a port leads to the pod in every family in which the
 * pod has an address. @throws RuntimeError for a mapping that cannot be
 */
export function readHostPorts(mappings: readonly PortMapping[], podAddresses: readonly string[]): HostPort[] {
  return mappings.filter(({ hostPort }) => hostPort !== 0).flatMap((mapping) => readMapping(mapping, podAddresses));
}

function readMapping(mapping: PortMapping, podAddresses: readonly string[]): HostPort[] {
  const { hostPort, containerPort, hostIp } = mapping;
  const protocol = protocols[mapping.protocol as keyof typeof protocols];
  if (!protocol) throw invalid(`host port ${hostPort}: protocol ${mapping.protocol} is none of TCP, UDP and SCTP`);
  if (hostPort < 0 || hostPort > 65535) throw invalid(`host port ${hostPort} is not a number of 1 to 65535`);
  if (containerPort < 1 || containerPort > 65535)
    throw invalid(`host port ${hostPort}: container port ${containerPort} is not a number of 1 to 65535`);
  const asked = hostIp === '' ? undefined : isIPv4(hostIp) ? 4 : isIPv6(hostIp) ? 6 : fail(hostPort, hostIp);
  const ports = podAddresses.flatMap((podAddress) => {
    const family = isIPv4(podAddress) ? 4 : 6;
    if (asked !== undefined && asked !== family) return [];
    const hostAddress = hostIp === '0.0.0.0' || hostIp === '::' ? '' : hostIp;
    return [{ family, protocol, hostAddress, hostPort, podAddress, podPort: containerPort } satisfies HostPort];
  });
  if (ports.length === 0)
    throw invalid(
      `host port ${hostPort} on ${hostIp}: the pod has no IPv${asked} address; give the node such a pod range`,
    );
  return ports;
}

function fail(hostPort: number, hostIp: string): never {
  throw invalid(`host port ${hostPort}: host IP "${hostIp}" is not an IP address`);
}

/** Which pod has which ports of the node. */
export class HostPortBook {
  readonly #holders = new Map<string, Holder>();

  /** All ports. */
  list(): HostPort[] {
    return [...this.#holders.values()].flatMap(({ ports }) => ports);
  }
  /** The ports of a sandbox. */
  of(sandboxId: string): readonly HostPort[] {
    return this.#holders.get(sandboxId)?.ports ?? [];
  }
  /** Gives ports to a sandbox. @throws RuntimeError when another one has one of them; then nothing changes */
  take(sandboxId: string, title: string, ports: readonly HostPort[]): void {
    for (const [index, port] of ports.entries()) {
      if (ports.slice(0, index).some((other) => collide(other, port)))
        throw invalid(`host port ${describe(port)} is asked for twice by pod ${title}`);
      for (const [other, holder] of this.#holders)
        if (other !== sandboxId && holder.ports.some((taken) => collide(taken, port)))
          throw new RuntimeError('UNKNOWN', `host port ${describe(port)} is in use by pod ${holder.title}`);
    }
    if (ports.length > 0) this.#holders.set(sandboxId, { title, ports });
    else this.#holders.delete(sandboxId);
  }
  /** Takes ports as they are, of a pod that runs already. */
  adopt(sandboxId: string, title: string, ports: readonly HostPort[]): void {
    if (ports.length > 0) this.#holders.set(sandboxId, { title, ports });
  }
  /** Takes a sandbox's ports away. Gives what it had. */
  release(sandboxId: string): readonly HostPort[] {
    const ports = this.of(sandboxId);
    this.#holders.delete(sandboxId);
    return ports;
  }
  clear(): void {
    this.#holders.clear();
  }
}

function collide(one: HostPort, other: HostPort): boolean {
  return (
    one.hostPort === other.hostPort &&
    one.protocol === other.protocol &&
    one.family === other.family &&
    (one.hostAddress === '' || other.hostAddress === '' || one.hostAddress === other.hostAddress)
  );
}

function describe({ hostAddress, hostPort, protocol }: HostPort): string {
  const host = hostAddress.includes(':') ? `[${hostAddress}]:` : hostAddress && `${hostAddress}:`;
  return `${host}${hostPort}/${protocol.toUpperCase()}`;
}
