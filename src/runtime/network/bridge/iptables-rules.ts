import type { Clock } from '../../../async/index.ts';
import {
  findIptables,
  type Iptables,
  IptablesError,
  type IptablesTable,
  type IptablesVariant,
} from '../../../host/iptables/index.ts';
import type { BridgeRules, RuleWriter } from './bridge-rules.ts';
import type { HostPort } from './host-ports.ts';

/** Chains of ours and what jumps to them. */
interface Chains {
  ports: string;
  masquerade: string;
  guard: string;
}

const lookMs = 5000;

/** Rules by the iptables programs, for kernels without nf_tables. All of our chains are written anew at each change. */
export class IptablesRules implements RuleWriter {
  readonly kind = 'iptables';
  readonly #chains: Chains;
  readonly #clock: Clock;
  readonly #only: IptablesVariant | undefined;
  readonly #found = new Map<4 | 6, Promise<Iptables | undefined>>();
  #applied = '';
  /** Families whose tables have chains of ours. */
  readonly #written = new Set<4 | 6>();
  #lookedMs = 0;

  /** `only` for a kernel in which the other variant cannot work. */
  constructor(bridge: string, clock: Clock, only?: IptablesVariant) {
    this.#chains = { ports: `DH-PORTS-${bridge}`, masquerade: `DH-MASQ-${bridge}`, guard: `DH-GUARD-${bridge}` };
    this.#clock = clock;
    this.#only = only;
  }

  async apply(rules: BridgeRules): Promise<void> {
    const text = JSON.stringify(rules);
    if (text === this.#applied) return;
    for (const family of [4, 6] as const) {
      const needed = rules.ranges.some((range) => range.family === family);
      if (!needed && !this.#written.has(family)) continue;
      const iptables = await this.#programs(family, needed);
      if (!iptables) continue;
      this.#written.add(family);
      for (const [table, chains] of Object.entries(renderTables(this.#chains, rules, family)))
        await iptables.restore(await this.#script(iptables, table as IptablesTable, chains));
    }
    this.#applied = text;
  }

  /** Looks no more often than every few seconds: it takes a program. */
  async intact(): Promise<boolean> {
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#lookedMs < lookMs) return true;
    this.#lookedMs = nowMs;
    for (const family of this.#written) {
      const lines = (await (await this.#programs(family, true))?.save('nat')) ?? [];
      const { ports, masquerade } = this.#chains;
      for (const chain of [ports, masquerade])
        if (!lines.some((line) => line.startsWith('-A ') && line.endsWith(`-j ${chain}`))) return false;
    }
    return true;
  }

  async remove(): Promise<void> {
    for (const family of [4, 6] as const) {
      const iptables = await this.#programs(family, false);
      if (!iptables) continue;
      for (const table of ['nat', 'mangle'] as const) {
        const ours = Object.values(this.#chains);
        const lines = await iptables.save(table);
        const jumps = lines.filter(
          (line) => line.startsWith('-A ') && ours.some((chain) => line.endsWith(`-j ${chain}`)),
        );
        const own = ours.filter((chain) => lines.some((line) => line.startsWith(`:${chain} `)));
        const script = [
          `*${table}`,
          ...jumps.map((line) => line.replace(/^-A/, '-D')),
          ...own.map((chain) => `-F ${chain}`),
          ...own.map((chain) => `-X ${chain}`),
          'COMMIT',
        ];
        if (own.length > 0) await iptables.restore(`${script.join('\n')}\n`);
      }
    }
    this.#applied = '';
    this.#written.clear();
  }

  /** Our chains from scratch, and the jumps to them that are not there yet. */
  async #script(iptables: Iptables, table: IptablesTable, chains: Record<string, Chain>): Promise<string> {
    const there = new Set(await iptables.save(table));
    const lines = [`*${table}`];
    for (const name of Object.keys(chains)) lines.push(`:${name} - [0:0]`);
    for (const [name, { rules, jumps }] of Object.entries(chains)) {
      lines.push(...rules.map((rule) => `-A ${name} ${rule}`));
      for (const jump of jumps) if (!there.has(`-A ${jump} -j ${name}`)) lines.push(`-A ${jump} -j ${name}`);
    }
    return `${[...lines, 'COMMIT'].join('\n')}\n`;
  }

  /** The programs of a family; without IPv6 pods, their absence is no error. */
  async #programs(family: 4 | 6, needed: boolean): Promise<Iptables | undefined> {
    let found = this.#found.get(family);
    if (!found) {
      found = findIptables(family, this.#clock, this.#only).catch((error: unknown) => {
        if (error instanceof IptablesError && error.code === 'NOT_FOUND') return undefined;
        throw error;
      });
      this.#found.set(family, found);
    }
    const programs = await found;
    if (programs || !needed) return programs;
    throw new Error(
      `the kernel has no nftables, and ${family === 4 ? 'iptables' : 'ip6tables'} is not installed: install the package iptables`,
    );
  }
}

interface Chain {
  rules: string[];
  /** Rules of built-in chains, without their target. */
  jumps: string[];
}

/** The chains of each table, as iptables-save would print their rules. Pure. */
export function renderTables(names: Chains, rules: BridgeRules, family: 4 | 6): Record<string, Record<string, Chain>> {
  const { bridge } = rules;
  const ports = rules.ports.filter((port) => port.family === family);
  const loopback = family === 4 ? '127.0.0.0/8' : '::1/128';
  const multicast = family === 4 ? '224.0.0.0/4' : 'ff00::/8';
  const self = [...new Set(ports.map(({ podAddress }) => podAddress))];
  const nat: Record<string, Chain> = {
    [names.ports]: {
      rules: [
        // The kernel has no way back to [::1] while bridges filter.
        ...(family === 6 && !rules.loopback6 ? ['-d ::1/128 -j RETURN'] : []),
        ...ports.filter(({ hostAddress }) => hostAddress !== '').map(renderPort),
        ...ports.filter(({ hostAddress }) => hostAddress === '').map(renderPort),
      ],
      jumps: ['PREROUTING -m addrtype --dst-type LOCAL', 'OUTPUT -m addrtype --dst-type LOCAL'],
    },
    [names.masquerade]: {
      rules: [
        `-s ${loopback} -o ${bridge} -j MASQUERADE`,
        ...self.map((address) => `-s ${address} -d ${address} -j MASQUERADE`),
        ...rules.ranges
          .filter((range) => range.family === family)
          .map(({ cidr }) => `-s ${cidr} ! -d ${multicast} ! -o ${bridge} -j MASQUERADE`),
      ],
      jumps: ['POSTROUTING'],
    },
  };
  if (family === 6) return { nat };
  return {
    nat,
    // After connection tracking, before translation: the addresses are those on the wire.
    mangle: { [names.guard]: { rules: [`-d ${loopback} -i ${bridge} -j DROP`], jumps: ['PREROUTING'] } },
  };
}

function renderPort({ family, hostAddress, protocol, hostPort, podAddress, podPort }: HostPort): string {
  const to = family === 4 ? `${podAddress}:${podPort}` : `[${podAddress}]:${podPort}`;
  return `${hostAddress && `-d ${hostAddress} `}-p ${protocol} -m ${protocol} --dport ${hostPort} -j DNAT --to-destination ${to}`;
}
