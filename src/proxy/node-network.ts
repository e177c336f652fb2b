import {
  addRoute,
  deleteRoute,
  findLink,
  listAddresses,
  listLinks,
  listRoutes,
  NetlinkSocket,
} from '../host/netlink/index.ts';

/** Marks our routes, so that they can be told from others'. */
export const routeProtocol = 0x64;

/**
 * Routes to cluster IPs for nodes without a default route. The node's own programs need some route to a Service before
 * the rules can turn the packet round; with a default route there is one. They lead to a link with an address of the
 * node: what is refused on its way to the loopback link, the kernel does not report to the program.
 */
export class ServiceRoutes {
  readonly #socket = new NetlinkSocket({ protocol: 'route' });
  readonly #wanted = new Set<string>();
  #link = 0;
  #hasDefault = false;

  constructor() {
    this.#look();
    for (const address of this.#ownRoutes().keys()) this.#wanted.add(address);
  }

  /** Looks again at links and routes, and puts right what is no longer so. */
  refresh(): void {
    this.#look();
    if (this.#hasDefault) return;
    const there = this.#ownRoutes();
    for (const address of this.#wanted) if (there.get(address) !== this.#link) this.#write(address);
  }
  /** A Service has this cluster IP. Links are not looked at: whoever hears of their changes calls refresh(). */
  add(address: string): void {
    if (address.includes(':') || this.#wanted.has(address)) return;
    this.#wanted.add(address);
    if (this.#hasDefault) return;
    try {
      this.#write(address);
    } catch {
      // The link has gone since the last look.
      this.refresh();
    }
  }
  /** No Service has it any more. */
  delete(address: string): void {
    if (!this.#wanted.delete(address)) return;
    deleteRoute(this.#socket, { destination: `${address}/32`, protocol: routeProtocol });
  }
  /** Leaves only the routes of these addresses. */
  retain(addresses: ReadonlySet<string>): void {
    for (const address of [...this.#wanted]) if (!addresses.has(address)) this.delete(address);
  }
  close(): void {
    this.#socket.close();
  }

  get #loopback(): number {
    return findLink(this.#socket, 'lo')?.index ?? 1;
  }
  #look(): void {
    this.#hasDefault = listRoutes(this.#socket).some((route) => route.destination === undefined);
    const links = listLinks(this.#socket).filter((link) => link.up && !link.loopback);
    const addressed = new Set(
      listAddresses(this.#socket, 4)
        .filter((one) => one.scope === 0)
        .map((one) => one.link),
    );
    // Bridges first: links of pods come and go.
    const usable = links.filter((link) => addressed.has(link.index));
    this.#link = (usable.find((link) => link.kind === 'bridge') ?? usable[0])?.index ?? this.#loopback;
  }
  #ownRoutes(): Map<string, number> {
    const own = listRoutes(this.#socket).filter((route) => route.protocol === routeProtocol);
    return new Map(own.map((route) => [route.destination?.replace(/\/32$/, '') ?? '', route.link ?? 0]));
  }
  #write(address: string): void {
    const route = { destination: `${address}/32`, link: this.#link, protocol: routeProtocol };
    addRoute(this.#socket, route, { replace: true });
  }
}
