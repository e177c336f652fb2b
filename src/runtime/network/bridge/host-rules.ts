import { writeFile } from 'node:fs/promises';
import { type PortMapping, Protocol } from '../../../api/cri/index.ts';
import { runProgram } from '../../../host/exec/index.ts';
import { invalid, RuntimeError } from '../../errors.ts';
import type { PodNetworkRequest } from '../pod-network.ts';

interface PodPorts {
  address: string;
  mappings: readonly PortMapping[];
}

/** The bridge's own nftables table: pods to the outside are masqueraded, host ports lead to pods. */
export class HostRules {
  readonly #bridge: string;
  readonly #table: string;
  readonly #pods = new Map<string, PodPorts>();
  #cidr = '';
  #applied = '';

  constructor(bridge: string) {
    this.#bridge = bridge;
    this.#table = `deckhand_${bridge.replace(/\W/g, '_')}`;
  }

  setRange(cidr: string): void {
    this.#cidr = cidr;
  }

  /** Takes over the host ports of pods that are there. */
  adopt(pods: readonly PodNetworkRequest[]): void {
    for (const { sandboxId, attachment, portMappings } of pods)
      this.#set(sandboxId, attachment?.ips[0] ?? '', portMappings);
  }

  /** Sets (or, with an empty list, removes) the host ports of a pod. @throws RuntimeError when a port is taken */
  async setPorts(sandboxId: string, address: string, mappings: readonly PortMapping[]): Promise<void> {
    if (!this.#set(sandboxId, address, mappings)) return;
    await this.apply();
  }

  #set(sandboxId: string, address: string, mappings: readonly PortMapping[]): boolean {
    const wanted = mappings.filter(({ hostPort }) => hostPort > 0);
    if (wanted.length === 0) return this.#pods.delete(sandboxId);
    for (const mapping of wanted) this.#check(sandboxId, mapping);
    this.#pods.set(sandboxId, { address, mappings: wanted });
    return true;
  }

  #check(sandboxId: string, mapping: PortMapping): void {
    if (mapping.protocol === Protocol.SCTP) throw invalid('host ports for SCTP are not supported');
    if (mapping.hostIp.includes(':') && mapping.hostIp !== '::')
      throw invalid(`host port ${mapping.hostPort}: IPv6 host addresses are not supported`);
    for (const [other, { mappings }] of this.#pods) {
      if (other === sandboxId) continue;
      const taken = mappings.some(
        ({ hostPort, protocol, hostIp }) =>
          hostPort === mapping.hostPort && protocol === mapping.protocol && overlaps(hostIp, mapping.hostIp),
      );
      if (taken) throw new RuntimeError('UNKNOWN', `host port ${mapping.hostPort} is used by sandbox ${other}`);
    }
  }

  /** Makes the kernel's table what it should be, in one transaction. */
  async apply(): Promise<void> {
    if (!this.#cidr) return;
    const rules = this.#render();
    if (rules === this.#applied) return;
    if (this.#pods.size > 0) await writeFile(`/proc/sys/net/ipv4/conf/${this.#bridge}/route_localnet`, '1');
    await nft(rules);
    this.#applied = rules;
  }

  async remove(): Promise<void> {
    this.#pods.clear();
    this.#applied = '';
    await nft(`table ip ${this.#table}\ndelete table ip ${this.#table}\n`);
  }

  #render(): string {
    const ports = [...this.#pods.values()].flatMap(({ address, mappings }) =>
      mappings.map((mapping) => ({ ...renderMapping(address, mapping) })),
    );
    return `table ip ${this.#table}
delete table ip ${this.#table}
table ip ${this.#table} {
  chain hostports {
${ports.map(({ forward }) => `    ${forward}`).join('\n')}
  }
  chain guard {
    type filter hook prerouting priority raw;
    iifname "${this.#bridge}" ip daddr 127.0.0.0/8 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    fib daddr type local jump hostports
  }
  chain output {
    type nat hook output priority -100;
    fib daddr type local jump hostports
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "${this.#bridge}" ip saddr 127.0.0.0/8 masquerade
${ports.map(({ hairpin }) => `    ${hairpin}`).join('\n')}
    ip saddr ${this.#cidr} ip daddr != ${this.#cidr} oifname != "${this.#bridge}" masquerade
  }
}
`;
  }
}

function overlaps(one: string, other: string): boolean {
  const any = (ip: string): boolean => ip === '' || ip === '0.0.0.0' || ip === '::';
  return any(one) || any(other) || one === other;
}

function renderMapping(address: string, { protocol, hostIp, hostPort, containerPort }: PortMapping) {
  const name = protocol === Protocol.UDP ? 'udp' : 'tcp';
  const destination = hostIp && hostIp !== '0.0.0.0' && hostIp !== '::' ? `ip daddr ${hostIp} ` : '';
  return {
    forward: `${destination}${name} dport ${hostPort} dnat to ${address}:${containerPort}`,
    hairpin: `ip saddr ${address} ip daddr ${address} ${name} dport ${containerPort} masquerade`,
  };
}

async function nft(rules: string): Promise<void> {
  const { status, stderr } = await runProgram(['nft', '-f', '-'], { input: rules });
  if (status !== 0)
    throw new RuntimeError('UNKNOWN', `nft refused the bridge's rules: ${stderr.toString('utf8').trim()}`);
}
