import { type Clock, faultPoint, type Timer } from '../../../async/index.ts';
import {
  changeLink,
  deleteLinkOnThread,
  findLink,
  isNetlinkError,
  listAddresses,
  listLinks,
  NetlinkSocket,
  setNeighbour,
} from '../../../host/netlink/index.ts';
import type { Logger } from '../../../log/index.ts';
import { stepFailed } from '../../errors.ts';
import { readBandwidth } from '../bandwidth.ts';
import type { PodAttachment, PodNetwork, PodNetworkRequest } from '../pod-network.ts';
import { canUseLoopback6, ensureBridgeLink, isOurs, setSysctl } from './bridge-link.ts';
import type { RuleWriter } from './bridge-rules.ts';
import { allowForwarding, type Forwarding, forgetForwarding } from './forwarding.ts';
import { HostPortBook, readHostPorts } from './host-ports.ts';
import { IptablesRules } from './iptables-rules.ts';
import { NetworkFile } from './network-file.ts';
import { NftablesRules } from './nftables-rules.ts';
import {
  type BridgeEnd,
  createPodLink,
  hardwareAddressOf,
  hostLinkName,
  podLinkName,
  releasePodLink,
  shapePodLink,
  shaperName,
} from './pod-link.ts';
import { PodRanges } from './pod-ranges.ts';
import { forgetFlows } from './stale-flows.ts';
import { removeStrayLinks } from './stray-links.ts';

const sweepAfterMs = 2000;

/** How the built-in bridge is. */
export interface BridgeOptions {
  name: string;
  /** Default: that of the way to the outside, else 1500. */
  mtu?: number;
  /** Configured ranges of pod addresses, `10.88.0.0/24,fd00:88::/64`; the first is the primary family's. */
  podCidr?: string;
  /** What rules are written with. Default: nftables where the kernel has it. */
  rules?: 'nftables' | 'iptables';
  /** A file for what a next run must know. */
  file: string;
  log: Logger;
  clock: Clock;
}

/**
 * The built-in pod network, all over netlink:
 *
 * ```
 *   pod 10.88.0.7/32, fd00::7/128 ── eth0 ═══ dh<id> ─┐
 *   pod 10.88.0.8/32, fd00::8/128 ── eth0 ═══ dh<id> ─┴─ bridge 10.88.0.1/24, fd00::1/64 ── routing, conntrack, Services ── outside (masqueraded)
 * ```
 *
 * A pod knows nobody but the gateway: its address has no network around it, so packets between two pods of a node are
 * routed too, and Service rules apply to them without bridge netfilter. Ports are not isolated: where bridge netfilter is
 * on, it hands a packet that was sent to a Service straight to the port of the chosen pod, which isolation would forbid.
 */
export class BridgeNetwork implements PodNetwork {
  readonly #options: BridgeOptions;
  readonly #file: NetworkFile;
  readonly #ranges = new PodRanges();
  readonly #book = new HostPortBook();
  /** Addresses of the pods that are attached. */
  readonly #pods = new Map<string, readonly string[]>();
  #rules: RuleWriter | undefined;
  #bridge: BridgeEnd | undefined;
  /** What the bridge was last made for. */
  #made = '';
  #applying: Promise<void> = Promise.resolve();
  #sweeping: Timer | undefined;

  private constructor(options: BridgeOptions, file: NetworkFile) {
    this.#options = options;
    this.#file = file;
  }

  /** @throws Error for configured ranges that cannot be used */
  static async open(options: BridgeOptions): Promise<BridgeNetwork> {
    const { log } = options;
    const file = await NetworkFile.open(options.file, (error) => log.warn('network notes not kept', { error }));
    const network = new BridgeNetwork(options, file);
    const configured = options.podCidr ?? '';
    network.#ranges.set(splitRanges(configured));
    // What was told counts until the configuration changes.
    const { told } = file.notes;
    if (told && file.notes.configured === configured) network.#restoreTold(told);
    network.#ranges.restore(file.notes.positions);
    return network;
  }

  #restoreTold(told: string): void {
    try {
      this.#ranges.set(splitRanges(told));
    } catch (error) {
      this.#options.log.warn('pod ranges that were told earlier cannot be used', { ranges: told, error });
    }
  }

  /** Sets the ranges of pod addresses (UpdateRuntimeConfig); pods that are there keep theirs. @throws Error for bad ones */
  tellRanges(cidrs: readonly string[]): void {
    if (!this.#ranges.set(cidrs)) return;
    this.#ranges.restore(this.#file.notes.positions);
    this.#file.note({ told: cidrs.join(','), configured: this.#options.podCidr ?? '' });
    this.#options.log.info('pod ranges', { ranges: cidrs.join(',') });
  }
  /** The ranges in force, for the verbose status. */
  get ranges(): string[] {
    return this.#ranges.current.map(({ cidr }) => cidr);
  }

  async problem(): Promise<string | undefined> {
    if (!this.#ranges.known) return 'no range of pod addresses is set yet, and there is no CNI configuration';
    try {
      await this.#ensureBridge();
      return undefined;
    } catch (cause) {
      return `bridge ${this.#options.name}: ${(cause as Error).message}`;
    }
  }

  async attach(request: PodNetworkRequest): Promise<PodAttachment> {
    const { sandboxId, namespacePath } = request;
    try {
      const bandwidth = readBandwidth(request.annotations);
      if (!this.#ranges.known) throw new Error('no range of pod addresses is set yet');
      const bridge = await this.#ensureBridge();
      const ips = this.#ranges.take();
      this.#pods.set(sandboxId, ips);
      await faultPoint('bridge-attach:address');
      this.#takePorts(request, ips);
      const addresses = ips.map((address) => ({ address, gateway: this.#ranges.gatewayOf(address) }));
      createPodLink(bridge, { sandboxId, namespacePath, addresses });
      if (bandwidth) shapePodLink(sandboxId, bandwidth);
      await faultPoint('bridge-attach:link');
      await this.#applyPorts(sandboxId);
      await faultPoint('bridge-attach:ports');
      this.#file.note({ positions: { ...this.#file.notes.positions, ...this.#ranges.positions() } });
      return { kind: 'bridge', networkName: this.#options.name, ips, interfaceName: podLinkName };
    } catch (cause) {
      await this.detach(request).catch((error: unknown) =>
        this.#options.log.warn('pod link not undone', { id: sandboxId, error }),
      );
      throw stepFailed(`cannot attach to bridge ${this.#options.name}`, cause);
    }
  }

  async detach({ sandboxId, annotations }: PodNetworkRequest): Promise<void> {
    // Only what this pod still has: a second call must not take away what another pod was given meanwhile.
    const ips = this.#pods.get(sandboxId) ?? [];
    releasePodLink(sandboxId, ips, this.#bridge?.index ?? 0);
    if ('kubernetes.io/egress-bandwidth' in annotations) await deleteLinkOnThread(shaperName(sandboxId));
    this.#sweep();
    await faultPoint('bridge-detach:link');
    const ports = this.#book.release(sandboxId);
    if (ports.length > 0) {
      await this.#apply();
      forgetFlows(ports, 'to pods');
    }
    await faultPoint('bridge-detach:ports');
    if (this.#pods.delete(sandboxId)) this.#ranges.release(ips);
  }

  async collect(known: readonly PodNetworkRequest[]): Promise<void> {
    using socket = new NetlinkSocket({ protocol: 'route' });
    const bridge = findLink(socket, this.#options.name);
    const own = bridge ? listAddresses(socket, undefined, bridge.index) : [];
    const others = own.map(({ address, prefixLength }) => `${address}/${prefixLength}`);
    for (const request of known) {
      const ips = request.attachment?.ips ?? [];
      this.#pods.set(request.sandboxId, ips);
      this.#ranges.adopt(ips, others);
      this.#adoptPorts(request, ips);
    }
    if (!bridge && known.length === 0) return;
    await removeStrayLinks(socket, { bridge, pods: this.#pods, log: this.#options.log });
    if (this.#ranges.all.length === 0) return;
    // What is wrong is told by the condition NetworkReady, too; pods that run go on.
    await this.#ensureBridge().catch((error: unknown) =>
      this.#options.log.error('the bridge cannot be put in order', { bridge: this.#options.name, error }),
    );
  }

  #adoptPorts(request: PodNetworkRequest, ips: readonly string[]): void {
    try {
      this.#book.adopt(request.sandboxId, titleOf(request), readHostPorts(request.portMappings, ips));
    } catch (error) {
      this.#options.log.warn('host ports of a pod cannot be adopted', { sandbox: request.sandboxId, error });
    }
  }

  async remove(): Promise<void> {
    using socket = new NetlinkSocket({ protocol: 'route' });
    const bridge = findLink(socket, this.#options.name);
    this.#sweeping?.cancel();
    this.#pods.clear();
    await removeStrayLinks(socket, { bridge, pods: this.#pods, log: this.#options.log });
    if (bridge && isOurs(bridge)) await deleteLinkOnThread(bridge.index);
    this.#bridge = undefined;
    this.#made = '';
    this.#book.clear();
    await this.#applying.catch(() => {});
    if (bridge || this.#rules) {
      await this.#ruleWriter().remove();
      await forgetForwarding({ ...this.#forwarding(), families: [4, 6] }).catch((error: unknown) =>
        this.#options.log.warn('rules in FORWARD not removed', { error }),
      );
    }
    await this.#file.settled();
  }

  #takePorts(request: PodNetworkRequest, ips: readonly string[]): void {
    this.#book.take(request.sandboxId, titleOf(request), readHostPorts(request.portMappings, ips));
  }
  async #applyPorts(sandboxId: string): Promise<void> {
    const ports = this.#book.of(sandboxId);
    if (ports.length === 0) return;
    await this.#apply();
    forgetFlows(ports, 'to the node');
  }

  /** Writes the rules as they should be now, one writing after another. */
  #apply(): Promise<void> {
    const write = async () => {
      const { name } = this.#options;
      const ports = this.#book.list();
      if (ports.some(({ family }) => family === 4)) setSysctl(`/proc/sys/net/ipv4/conf/${name}/route_localnet`, '1');
      const ranges = this.#ranges.all.map(({ family, cidr }) => ({ family, cidr }));
      await this.#ruleWriter().apply({ bridge: name, ranges, ports, loopback6: canUseLoopback6() });
    };
    this.#applying = this.#applying.then(write, write);
    return this.#applying;
  }

  /** A little later, takes away links whose namespaces live on: somebody is in there. */
  #sweep(): void {
    const { clock, log, name } = this.#options;
    const sweep = async () => {
      this.#sweeping = undefined;
      using socket = new NetlinkSocket({ protocol: 'route' });
      await removeStrayLinks(socket, { bridge: findLink(socket, name), pods: this.#pods, log });
    };
    this.#sweeping ??= clock.after(sweepAfterMs, () => {
      sweep().catch((error: unknown) => log.warn('links not removed', { error }));
    });
  }

  #forwarding(): Forwarding {
    const families = [...new Set(this.#ranges.all.map(({ family }) => family))];
    return { bridge: this.#options.name, families, clock: this.#options.clock };
  }

  #ruleWriter(): RuleWriter {
    if (this.#rules) return this.#rules;
    const { name, rules, log, clock } = this.#options;
    try {
      this.#rules = rules === 'iptables' ? new IptablesRules(name, clock) : new NftablesRules(name);
    } catch (error) {
      if (rules === 'nftables') throw error;
      log.info('the kernel has no nftables: rules of the bridge are written by iptables', { error });
      this.#rules = new IptablesRules(name, clock, 'legacy');
    }
    return this.#rules;
  }

  async #ensureBridge(): Promise<BridgeEnd> {
    const { name, mtu } = this.#options;
    const pools = this.#ranges.all;
    const loopback6 = canUseLoopback6();
    const wanted = JSON.stringify([pools.map(({ cidr }) => cidr), loopback6]);
    using socket = new NetlinkSocket({ protocol: 'route' });
    const existing = findLink(socket, name);
    const bridge = this.#bridge;
    const intact = await this.#rules?.intact();
    if (bridge && existing?.up && existing.index === bridge.index && wanted === this.#made && intact) return bridge;
    const link = ensureBridgeLink(socket, { name, mtu, pools, loopback6 });
    const made = { index: link.index, hardwareAddress: link.address, mtu: link.mtu };
    if (this.#pods.size > 0) this.#plugIn(socket, made);
    if (intact === false) await this.#rules?.remove();
    this.#bridge = made;
    await this.#apply();
    await allowForwarding(this.#forwarding()).catch((error: unknown) =>
      this.#options.log.warn('the host forwards nothing, and that could not be changed for pods', { error }),
    );
    this.#made = wanted;
    return made;
  }

  /** Puts the links of all pods into the bridge, which may be a new one. */
  #plugIn(socket: NetlinkSocket, bridge: BridgeEnd): void {
    const links = new Map(listLinks(socket).map((link) => [link.name, link]));
    for (const [sandboxId, ips] of this.#pods) {
      const link = links.get(hostLinkName(sandboxId));
      if (!link) continue;
      try {
        if (link.master !== bridge.index) changeLink(socket, link.index, { master: bridge.index, up: true });
      } catch (error) {
        // It has gone meanwhile, with its namespace.
        if (!isNetlinkError(error, 'ENODEV')) throw error;
      }
      const hardwareAddress = hardwareAddressOf(ips[0] ?? '0.0.0.0');
      for (const address of ips) setNeighbour(socket, { link: bridge.index, address, hardwareAddress });
    }
  }
}

const titleOf = ({ namespace, name, sandboxId }: PodNetworkRequest): string =>
  `${namespace}/${name} (sandbox ${sandboxId.slice(0, 12)})`;

/** `a,b` as a list. */
export function splitRanges(text: string): string[] {
  return text
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean);
}
