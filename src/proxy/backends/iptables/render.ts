import type { Destination, Frontend, ServicePortPlan } from '../../plan/types.ts';
import type { BackendOptions } from '../backend.ts';
import { endpointChain, serviceChain } from './chain-names.ts';
import { chains, comment, probability, type Rule, type RuleSet } from './rules.ts';

/** What rules of Services depend on besides the plan. */
export type RenderOptions = BackendOptions & {
  /** Whether the kernel has the `recent` match; without it there is no session affinity. */
  recent: boolean;
  /** Whether rules in the chains of Services say whose they are. Comments cost iptables as much as the rules. */
  comments: boolean;
};

/** Renders one Service port with upstream's chains. Pure. */
export function renderPlan(plan: ServicePortPlan, options: RenderOptions): RuleSet {
  return new PlanRenderer(plan, options).render();
}

class PlanRenderer {
  readonly #plan: ServicePortPlan;
  readonly #options: RenderOptions;
  readonly #protocol: string;
  readonly #bits: number;
  readonly #set: RuleSet = { rules: [], chains: [] };

  constructor(plan: ServicePortPlan, options: RenderOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#protocol = plan.protocol.toLowerCase();
    this.#bits = options.family === 4 ? 32 : 128;
  }

  render(): RuleSet {
    const { cluster, local, frontends } = this.#plan;
    const external = frontends.filter((one) => one.kind !== 'cluster-ip');
    const internal = frontends.filter((one) => one.kind === 'cluster-ip');
    const wantsLocal = frontends.some((one) => one.policy === 'local') && local.length > 0;
    if (cluster.length > 0) this.#balance('SVC', cluster, internal);
    if (wantsLocal) this.#balance('SVL', local, internal);
    const used = wantsLocal ? [...cluster, ...local] : cluster;
    for (const [name, one] of new Map(used.map((one) => [this.#endpointChain(one), one]))) this.#endpoint(name, one);
    for (const frontend of internal) this.#internal(frontend);
    if (external.length > 0 && (cluster.length > 0 || local.length > 0)) this.#externalChain(external[0]!.policy);
    for (const frontend of external) this.#external(frontend);
    return this.#set;
  }

  #add(table: Rule['table'], chain: string, text: string): void {
    this.#set.rules.push({ table, chain, text });
  }
  #chain(kind: 'SVC' | 'SVL' | 'EXT' | 'FW'): string {
    return serviceChain(kind, this.#plan.name, this.#plan.protocol);
  }
  #open(name: string): string {
    this.#set.chains.push({ table: 'nat', name });
    return name;
  }
  #endpointChain(one: Destination): string {
    return endpointChain(this.#plan.name, this.#plan.protocol, this.#text(one));
  }
  #text({ address, port }: Destination): string {
    return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  }
  /** A comment in a Service's own chain, with a space behind it; nothing when there are too many rules for comments. */
  #note(text: string): string {
    return this.#options.comments ? `${comment(text)} ` : '';
  }
  /** Matches packets to a frontend, with a comment in between as iptables-save puts it. */
  #to(frontend: Frontend, what: string): string {
    const note = comment(`${this.#plan.name} ${what}`);
    const address = frontend.address === '' ? '' : `-d ${frontend.address}/${this.#bits} `;
    const local = frontend.address === '' && what.startsWith('has no') ? ' -m addrtype --dst-type LOCAL' : '';
    return `${address}-p ${this.#protocol} ${note}${local} -m ${this.#protocol} --dport ${frontend.port}`;
  }

  /** The same in the Service's own chain. */
  #toAddress(frontend: Frontend): string {
    const note = this.#note(`${this.#plan.name} cluster IP`);
    const address = `-d ${frontend.address}/${this.#bits}`;
    return `${address} -p ${this.#protocol} ${note}-m ${this.#protocol} --dport ${frontend.port}`;
  }

  #balance(kind: 'SVC' | 'SVL', destinations: readonly Destination[], internal: readonly Frontend[]): void {
    const chain = this.#open(this.#chain(kind));
    for (const frontend of internal) {
      if ((frontend.policy === 'local') !== (kind === 'SVL')) continue;
      const test = this.#options.masqueradeAll ? '' : this.#notFromPods();
      if (test !== undefined)
        this.#add('nat', chain, `${merge(test, this.#toAddress(frontend))} -j ${chains.markMasquerade}`);
    }
    const { affinitySeconds, name } = this.#plan;
    if (affinitySeconds > 0 && this.#options.recent)
      for (const one of destinations) {
        const sep = this.#endpointChain(one);
        const mask = this.#options.family === 4 ? '255.255.255.255' : 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
        const recent = `-m recent --rcheck --seconds ${affinitySeconds} --reap --name ${sep} --mask ${mask} --rsource`;
        this.#add('nat', chain, `${this.#note(name)}${recent} -j ${sep}`);
      }
    destinations.forEach((one, index) => {
      const left = destinations.length - index;
      const chance = left === 1 ? '' : `-m statistic --mode random --probability ${probability(1 / left)} `;
      const note = this.#note(`${name} -> ${this.#text(one)}`);
      this.#add('nat', chain, `${note}${chance}-j ${this.#endpointChain(one)}`);
    });
  }

  #endpoint(chain: string, one: Destination): void {
    this.#open(chain);
    const note = this.#note(this.#plan.name);
    const mask = this.#options.family === 4 ? '255.255.255.255' : 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
    const sticky = this.#plan.affinitySeconds > 0 && this.#options.recent;
    const recent = sticky ? `-m recent --set --name ${chain} --mask ${mask} --rsource ` : '';
    this.#add('nat', chain, `-s ${one.address}/${this.#bits} ${note}-j ${chains.markMasquerade}`);
    this.#add(
      'nat',
      chain,
      `-p ${this.#protocol} ${note}${recent}-m ${this.#protocol} -j DNAT --to-destination ${this.#text(one)}`,
    );
  }

  #internal(frontend: Frontend): void {
    const { cluster, local } = this.#plan;
    const list = frontend.policy === 'local' ? local : cluster;
    if (list.length > 0) {
      const target = this.#chain(frontend.policy === 'local' ? 'SVL' : 'SVC');
      return this.#add('nat', chains.services, `${this.#to(frontend, 'cluster IP')} -j ${target}`);
    }
    this.#refuse(chains.services, frontend, cluster.length === 0 && local.length === 0 ? undefined : 'DROP');
  }

  #external(frontend: Frontend): void {
    const { cluster, local } = this.#plan;
    if (cluster.length === 0 && local.length === 0) return this.#refuse(chains.external, frontend);
    if (frontend.policy === 'local' && local.length === 0) this.#refuse(chains.external, frontend, 'DROP');
    if (frontend.policy === 'cluster' && cluster.length === 0) return this.#refuse(chains.external, frontend);
    const what = {
      'load-balancer': 'loadbalancer IP',
      'external-ip': 'external IP',
      'node-port': 'nodePort',
      'cluster-ip': '',
    };
    const to = this.#to(frontend, what[frontend.kind]);
    if (frontend.kind === 'node-port')
      return this.#add(
        'nat',
        chains.nodePorts,
        `-p ${this.#protocol} ${comment(`${this.#plan.name} nodePort`)} -m ${this.#protocol} --dport ${frontend.port} -j ${this.#chain('EXT')}`,
      );
    const guarded = frontend.sourceRanges.length > 0;
    this.#add('nat', chains.services, `${to} -j ${this.#chain(guarded ? 'FW' : 'EXT')}`);
    if (!guarded) return;
    this.#firewall(frontend.sourceRanges);
    this.#add('filter', chains.proxyFirewall, `${this.#to(frontend, 'traffic not accepted by source ranges')} -j DROP`);
  }

  #firewall(ranges: readonly string[]): void {
    const chain = this.#chain('FW');
    if (this.#set.chains.some((one) => one.name === chain)) return;
    this.#open(chain);
    for (const range of ranges)
      this.#add('nat', chain, `-s ${range} ${comment(`${this.#plan.name} loadbalancer IP`)} -j ${this.#chain('EXT')}`);
  }

  #externalChain(policy: Frontend['policy']): void {
    const { cluster, local, name } = this.#plan;
    const chain = this.#open(this.#chain('EXT'));
    const toAll = cluster.length > 0 ? ` -j ${this.#chain('SVC')}` : undefined;
    if (policy === 'cluster') {
      this.#add(
        'nat',
        chain,
        `${comment(`masquerade traffic for ${name} external destinations`)} -j ${chains.markMasquerade}`,
      );
      if (toAll) this.#add('nat', chain, toAll.trim());
      return;
    }
    if (toAll) {
      for (const test of this.#fromPods())
        this.#add('nat', chain, `${test} ${comment(`pod traffic for ${name} external destinations`)}${toAll}`);
      const here = '-m addrtype --src-type LOCAL';
      this.#add(
        'nat',
        chain,
        `${comment(`masquerade LOCAL traffic for ${name} external destinations`)} ${here} -j ${chains.markMasquerade}`,
      );
      this.#add('nat', chain, `${comment(`route LOCAL traffic for ${name} external destinations`)} ${here}${toAll}`);
    }
    if (local.length > 0) this.#add('nat', chain, `-j ${this.#chain('SVL')}`);
  }

  #refuse(chain: string, frontend: Frontend, how?: 'DROP'): void {
    const target =
      how ?? `REJECT --reject-with ${this.#options.family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`;
    const what = how ? 'has no local endpoints' : 'has no endpoints';
    this.#add('filter', chain, `${this.#to(frontend, what)} -j ${target}`);
  }

  /** The test that a packet is from outside the cluster; undefined when nobody can be told. */
  #notFromPods(): string | undefined {
    const { pods } = this.#options;
    if (pods.kind === 'bridge') return `! -i ${pods.name} `;
    if (pods.kind === 'interface-prefix') return `! -i ${pods.prefix}+ `;
    const [cidr] = this.#cidrs();
    return cidr === undefined ? undefined : `! -s ${cidr} `;
  }
  #fromPods(): string[] {
    const { pods } = this.#options;
    if (pods.kind === 'bridge') return [`-i ${pods.name}`];
    if (pods.kind === 'interface-prefix') return [`-i ${pods.prefix}+`];
    return this.#cidrs().map((cidr) => `-s ${cidr}`);
  }
  #cidrs(): string[] {
    const { pods, family } = this.#options;
    return pods.kind === 'cidr' ? pods.cidrs.filter((cidr) => cidr.includes(':') === (family === 6)) : [];
  }
}

/** Puts an interface test where iptables-save prints it: behind addresses, before the protocol. */
function merge(test: string, rule: string): string {
  return test.includes('-i ') ? rule.replace(/-p /, `${test}-p `) : `${test}${rule}`;
}
