import type { Clock, Timer } from '../../async/index.ts';
import {
  listAddresses,
  messageType,
  type NetlinkMessage,
  NetlinkSocket,
  routeGroup,
  routeMessage,
} from '../../host/netlink/index.ts';
import type { Logger } from '../../log/index.ts';
import { routeProtocol } from '../node-network.ts';

/** Time between looks at what the kernel has told, milliseconds: a look that finds nothing is one system call. */
const lookMs = 200;

/** What changed on the node. */
export interface LinkChange {
  /** Addresses came or went. */
  addresses: boolean;
  /** Links or routes did. */
  routes: boolean;
}

const addressMessages: readonly number[] = [routeMessage.newAddress, routeMessage.delAddress];

const routeMessages: readonly number[] = [routeMessage.newRoute, routeMessage.delRoute];

/** Routes to Services that we add ourselves, by their protocol (struct rtmsg). */
function isOwnRoute({ type, payload }: NetlinkMessage): boolean {
  return routeMessages.includes(type) && payload[5] === routeProtocol;
}

/** Tells of changes of the node's links, addresses and routes, by rtnetlink's notices. */
export class NodeLinks {
  readonly #socket: NetlinkSocket;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onChange: (change: LinkChange) => void;
  #timer: Timer | undefined;

  constructor(onChange: (change: LinkChange) => void, { clock, log }: { clock: Clock; log: Logger }) {
    this.#onChange = onChange;
    this.#clock = clock;
    this.#log = log;
    const { link, ipv4Address, ipv4Route, ipv6Address, ipv6Route } = routeGroup;
    this.#socket = new NetlinkSocket({
      protocol: 'route',
      groups: [link, ipv4Address, ipv4Route, ipv6Address, ipv6Route],
    });
    this.#schedule();
  }

  /** The node's addresses of both families, without the link-local ones. */
  addresses(): string[] {
    using socket = new NetlinkSocket({ protocol: 'route' });
    return listAddresses(socket)
      .filter(({ scope }) => scope !== 253)
      .map(({ address }) => address);
  }
  close(): void {
    this.#timer?.cancel();
    this.#socket.close();
  }

  #schedule(): void {
    this.#timer = this.#clock.after(lookMs, () => {
      this.#look();
      this.#schedule();
    });
  }
  #look(): void {
    try {
      const messages = this.#socket.drain().filter((message) => !isOwnRoute(message));
      if (messages.length === 0) return;
      // Too much at once: anything may have changed.
      const lost = messages.some(({ type }) => type === messageType.overrun);
      const addresses = lost || messages.some(({ type }) => addressMessages.includes(type));
      this.#onChange({ addresses, routes: lost || messages.some(({ type }) => !addressMessages.includes(type)) });
    } catch (error) {
      this.#log.warn('cannot follow links and addresses', { error });
    }
  }
}
