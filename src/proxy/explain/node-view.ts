import { listLinks, lookUpRoute, NetlinkSocket } from '../../host/netlink/index.ts';
import type { NodeView } from '../tracer/packet.ts';

/** What the kernel's routes say of addresses: which are the node's own, and by which link packets come from others. */
export class KernelNodeView implements NodeView {
  readonly #socket: NetlinkSocket;
  readonly #local = new Map<string, boolean>();

  /** @throws NetlinkError */
  constructor(options: { namespace?: string | number } = {}) {
    this.#socket = new NetlinkSocket({ protocol: 'route', ...options });
  }
  isLocal(address: string): boolean {
    let local = this.#local.get(address);
    if (local === undefined) this.#local.set(address, (local = lookUpRoute(this.#socket, address).type === 'local'));
    return local;
  }
  /** The name of the link by which the node reaches an address, so by which packets from there come in; undefined without a route. */
  linkTo(address: string): string | undefined {
    const { link } = lookUpRoute(this.#socket, address);
    return link === undefined ? undefined : listLinks(this.#socket).find((one) => one.index === link)?.name;
  }
  /** The source address that a program of the node would call with; undefined without a route. */
  sourceFor(address: string): string | undefined {
    return lookUpRoute(this.#socket, address).source;
  }
  close(): void {
    this.#socket.close();
  }
}
