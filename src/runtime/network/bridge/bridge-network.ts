import { closeSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { faultPoint } from '../../../async/index.ts';
import {
  addAddress,
  addRoute,
  changeLink,
  createLink,
  deleteLink,
  findLink,
  ipToBytes,
  isNetlinkError,
  listLinks,
  NetlinkSocket,
} from '../../../host/netlink/index.ts';
import type { Logger } from '../../../log/index.ts';
import { stepFailed } from '../../errors.ts';
import type { PodAttachment, PodNetwork, PodNetworkRequest } from '../pod-network.ts';
import { AddressPool } from './address-pool.ts';
import { HostRules } from './host-rules.ts';

const podLink = 'eth0';

/** How the built-in bridge is. */
export interface BridgeOptions {
  name: string;
  mtu: number;
  log: Logger;
}

/**
 * The built-in pod network, all over netlink:
 *
 * ```
 *   pod 10.88.0.7/32 ── eth0 ═══ dh<id> ─┐
 *   pod 10.88.0.8/32 ── eth0 ═══ dh<id> ─┴─ bridge 10.88.0.1/24 ── routing, conntrack, Services ── outside (masqueraded)
 * ```
 *
 * A pod knows nobody but the gateway: its address has no network around it, so packets between two pods of a node are
 * routed too, and Service rules apply to them without bridge netfilter. Ports are not isolated: where bridge netfilter is
 * on, it hands a packet that was sent to a Service straight to the port of the chosen pod, which isolation would forbid.
 */
export class BridgeNetwork implements PodNetwork {
  readonly #options: BridgeOptions;
  readonly #rules: HostRules;
  #pool: AddressPool | undefined;
  #cidr = '';
  /** Addresses of adopted pods, which a range that is told later must not give again. */
  #adopted: string[] = [];
  #bridgeIndex = 0;

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#rules = new HostRules(options.name);
  }

  /** Sets the range of pod addresses, if it is not set yet; the pods that are there keep theirs. */
  setRange(cidr: string): void {
    if (this.#pool) return;
    this.#pool = new AddressPool(cidr);
    for (const address of this.#adopted) this.#pool.adopt(address);
    this.#cidr = cidr;
  }

  async problem(): Promise<string | undefined> {
    if (!this.#pool) return 'no range of pod addresses is set yet, and there is no CNI configuration';
    try {
      await this.#ensureBridge();
      return undefined;
    } catch (cause) {
      return `bridge ${this.#options.name}: ${(cause as Error).message}`;
    }
  }

  async attach(request: PodNetworkRequest): Promise<PodAttachment> {
    await this.#ensureBridge();
    const pool = this.#pool!;
    const address = pool.take();
    try {
      await faultPoint('bridge-attach:address');
      this.#link(request, address, pool.gateway);
      await faultPoint('bridge-attach:link');
      await this.#rules.setPorts(request.sandboxId, address, request.portMappings);
      await faultPoint('bridge-attach:ports');
    } catch (cause) {
      await this.detach({ ...request, attachment: this.#attachment(address) });
      throw stepFailed(`cannot attach to bridge ${this.#options.name}`, cause);
    }
    return this.#attachment(address);
  }

  async detach({ sandboxId, attachment }: PodNetworkRequest): Promise<void> {
    using socket = new NetlinkSocket({ protocol: 'route' });
    deleteLink(socket, linkName(sandboxId));
    await faultPoint('bridge-detach:link');
    await this.#rules.setPorts(sandboxId, '', []);
    await faultPoint('bridge-detach:ports');
    for (const address of attachment?.ips ?? []) this.#pool?.release(address);
  }

  async collect(known: readonly PodNetworkRequest[]): Promise<void> {
    this.#adopted = known.flatMap(({ attachment }) => attachment?.ips ?? []);
    for (const address of this.#adopted) this.#pool?.adopt(address);
    this.#rules.adopt(known.filter(({ attachment }) => attachment?.kind === 'bridge'));
    using socket = new NetlinkSocket({ protocol: 'route' });
    const bridge = findLink(socket, this.#options.name);
    if (!bridge) return;
    const wanted = new Set(known.map(({ sandboxId }) => linkName(sandboxId)));
    const stray = listLinks(socket).filter(({ master, name }) => master === bridge.index && !wanted.has(name));
    if (stray.length > 0) this.#options.log.info('links of forgotten sandboxes removed', { count: stray.length });
    for (const { name } of stray) deleteLink(socket, name);
    await this.#rules.apply();
  }

  async remove(): Promise<void> {
    using socket = new NetlinkSocket({ protocol: 'route' });
    deleteLink(socket, this.#options.name);
    this.#bridgeIndex = 0;
    await this.#rules.remove();
  }

  #attachment(address: string): PodAttachment {
    return { kind: 'bridge', networkName: this.#options.name, ips: [address], interfaceName: podLink };
  }

  /** Makes the pair of links and everything inside the pod; about 2 ms. */
  #link({ sandboxId, namespacePath }: PodNetworkRequest, address: string, gateway: string): void {
    const name = linkName(sandboxId);
    const { mtu } = this.#options;
    using host = new NetlinkSocket({ protocol: 'route' });
    const namespaceFd = openSync(namespacePath, 'r');
    try {
      const peer = { name: podLink, mtu, namespaceFd };
      createLink(host, { kind: 'veth', name, master: this.#bridgeIndex, mtu, up: true, peer });
    } finally {
      closeSync(namespaceFd);
    }
    using pod = new NetlinkSocket({ protocol: 'route', namespace: namespacePath });
    const index = findLink(pod, podLink)!.index;
    addAddress(pod, index, `${address}/32`);
    changeLink(pod, index, { up: true });
    addRoute(pod, { link: index, destination: `${gateway}/32` });
    addRoute(pod, { link: index, gateway });
  }

  async #ensureBridge(): Promise<void> {
    const pool = this.#pool;
    if (!pool) throw new Error('no range of pod addresses is set yet');
    using socket = new NetlinkSocket({ protocol: 'route' });
    const existing = findLink(socket, this.#options.name);
    if (existing?.up && existing.index === this.#bridgeIndex) return;
    const hardware = Buffer.concat([Buffer.from([0x02, 0x42]), ipToBytes(pool.gateway)]);
    const address = hardware.toString('hex').match(/../g)!.join(':');
    const { name, mtu } = this.#options;
    try {
      // A hardware address of its own, so that it does not change with its ports.
      createLink(socket, { kind: 'bridge', name, mtu, address, up: true });
    } catch (error) {
      if (!isNetlinkError(error, 'EEXIST')) throw error;
    }
    const { index } = findLink(socket, name)!;
    addAddress(socket, index, `${pool.gateway}/${pool.prefixLength}`, { replace: true });
    changeLink(socket, index, { up: true });
    const settings: [string, string][] = [
      ['ip_forward', '1'],
      // Packets between pods leave by the link on which they came; the kernel would tell the pods of a shorter way.
      ['conf/all/send_redirects', '0'],
      [`conf/${name}/send_redirects`, '0'],
    ];
    for (const [key, value] of settings) await writeFile(`/proc/sys/net/ipv4/${key}`, value);
    this.#rules.setRange(this.#cidr);
    await this.#rules.apply();
    this.#bridgeIndex = index;
  }
}

/** The name of a pod's link on the host: at most 15 characters. */
const linkName = (sandboxId: string): string => `dh${sandboxId.slice(0, 12)}`;
