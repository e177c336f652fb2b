import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import {
  addRoute,
  deleteRoute,
  findLink,
  listAddresses,
  listLinks,
  listRoutes,
  NetlinkSocket,
} from '../host/netlink/index.ts';
import type { Logger } from '../log/index.ts';
import type { ConntrackSettings } from './configuration.ts';

/** Marks our routes, so that they can be told from others'. */
const routeProtocol = 0x64;

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
  /** A Service has this cluster IP. */
  add(address: string): void {
    if (address.includes(':') || this.#wanted.has(address)) return;
    this.#wanted.add(address);
    if (this.#hasDefault) return;
    const before = this.#link;
    if (before === this.#loopback) this.#look();
    if (this.#link === before) this.#write(address);
    else this.refresh();
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

/** Sets what connection tracking is to hold and how long. What cannot be set (in a namespace, the size) is logged. */
export async function applyConntrackSettings(settings: ConntrackSettings, log: Logger): Promise<void> {
  const base = '/proc/sys/net/netfilter/nf_conntrack_';
  const { maxPerCore = 0, minimum = 0 } = settings;
  const wanted = maxPerCore > 0 ? Math.min(1_048_576, Math.max(minimum, maxPerCore * cpus().length)) : 0;
  if (wanted > 0) await raise(`${base}max`, wanted, log);
  const seconds = (ms: number | undefined) => (ms ? String(Math.round(ms / 1000)) : undefined);
  const values: [string, string | undefined][] = [
    ['tcp_timeout_established', seconds(settings.tcpEstablishedTimeoutMs)],
    ['tcp_timeout_close_wait', seconds(settings.tcpCloseWaitTimeoutMs)],
    ['tcp_be_liberal', settings.tcpBeLiberal ? '1' : undefined],
    ['udp_timeout', seconds(settings.udpTimeoutMs)],
    ['udp_timeout_stream', seconds(settings.udpStreamTimeoutMs)],
  ];
  for (const [name, value] of values) if (value !== undefined) await setSysctl(`${base}${name}`, value, log);
}

async function raise(path: string, wanted: number, log: Logger): Promise<void> {
  const now = Number(await readFile(path, 'utf8').catch(() => '0'));
  if (now > 0 && now < wanted) await setSysctl(path, String(wanted), log);
}

/** Writes a sysctl unless it has the value. Gives whether it has it now. */
export async function setSysctl(path: string, value: string, log: Logger): Promise<boolean> {
  try {
    if ((await readFile(path, 'utf8')).trim() === value) return true;
    await writeFile(path, value);
    return true;
  } catch (error) {
    log.info('sysctl not set', { path, value, error });
    return false;
  }
}
