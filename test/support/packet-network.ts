import {
  endpointNames,
  endpointPort,
  type From,
  gateways,
  type HostFacts,
  hosts,
  nodeAddresses,
  nodeProgramPort,
  otherEndpointPort,
  otherNodeAddresses,
} from '../../src/proxy/testing/packet-network.ts';
import { NetworkNamespace } from './network-namespace.ts';
import { PacketLab } from './packet-lab.ts';

/** The network of src/proxy/testing/packet-network.ts, made of network namespaces without a way out. */
export interface PacketNetwork extends AsyncDisposable {
  node: NetworkNamespace;
  lab: PacketLab;
  /** Whether the kernel has SCTP sockets. */
  sctp: boolean;
  /** Whether the kernel has IPv6. */
  ipv6: boolean;
  /** The namespace, by path, in which packets from there start. */
  place(from: From): string;
}

/** Builds it, with a server on every endpoint and one on the node. */
export async function createPacketNetwork(): Promise<PacketNetwork> {
  const stack = new AsyncDisposableStack();
  try {
    const node = stack.use(await NetworkNamespace.create('node'));
    const ipv6 = (await node.run(['test', '-e', '/proc/sys/net/ipv6'])).status === 0;
    await node.output(['sh', '-ec', nodeScript(ipv6)]);
    const spaces = new Map<string, NetworkNamespace>();
    for (const [name, facts] of Object.entries(hosts) as [string, HostFacts][]) {
      const host = stack.use(await NetworkNamespace.create(name));
      spaces.set(name, host);
      await node.output(['sh', '-ec', cableScript(facts, host.name, name, ipv6)]);
      await host.output(['sh', '-ec', hostScript(facts, name, ipv6)]);
    }
    await node.output(['sh', '-ec', defaultRouteScript(ipv6)]);
    const lab = stack.use(new PacketLab());
    const path = (space: NetworkNamespace) => `/run/netns/${space.name}`;
    let sctp = true;
    for (const name of endpointNames)
      for (const port of [endpointPort, otherEndpointPort])
        for (const protocol of ['TCP', 'UDP', 'SCTP'] as const)
          sctp = lab.serve(path(spaces.get(name)!), protocol, port, name) && sctp;
    lab.serve(path(node), 'TCP', nodeProgramPort, 'node');
    const owned = stack.move();
    return {
      node,
      lab,
      sctp,
      ipv6,
      place: (from) => path(from === 'node' || from === 'loopback' ? node : spaces.get(from)!),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

const forIpv6 = (ipv6: boolean, lines: string): string => (ipv6 ? lines : '');

function nodeScript(ipv6: boolean): string {
  const { link } = hosts.bridged;
  return `echo 1 > /proc/sys/net/ipv4/ip_forward
    for each in all default; do echo 0 > /proc/sys/net/ipv4/conf/$each/send_redirects; done
    for each in all default; do echo 0 > /proc/sys/net/ipv4/conf/$each/rp_filter; done
    echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range
    # What is refused is told at once, however many packets come.
    echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
    for each in icmp_msgs_per_sec icmp_msgs_burst; do echo 100000 > /proc/sys/net/ipv4/$each || true; done 2>/dev/null
    ${forIpv6(
      ipv6,
      `echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
       echo 0 > /proc/sys/net/ipv6/icmp/ratelimit`,
    )}
    ip link add ${link} type bridge
    ip addr add ${gateways[4]}/32 dev ${link}
    ip link set ${link} up
    ${forIpv6(
      ipv6,
      `ip -6 addr add fe80::1/64 dev ${link} nodad
       ip -6 addr add ${gateways[6]}/128 dev ${link} nodad`,
    )}`;
}

/** The node's end of a cable. There is no switch: what goes from host to host passes through the node. */
function cableScript(facts: HostFacts, space: string, name: string, ipv6: boolean): string {
  const link = facts.bridge ? 'port-0' : facts.link;
  const outside = name === 'outside';
  const own = outside ? nodeAddresses : gateways;
  const more = outside ? otherNodeAddresses : undefined;
  const addresses = facts.bridge
    ? ''
    : `ip addr add ${own[4]}/32 dev ${link}
       ${more ? `ip addr add ${more[4]}/32 dev ${link}` : ''}
       ${forIpv6(
         ipv6,
         `ip -6 addr add fe80::1/64 dev ${link} nodad
          ip -6 addr add ${own[6]}/128 dev ${link} nodad
          ${more ? `ip -6 addr add ${more[6]}/128 dev ${link} nodad` : ''}`,
       )}`;
  return `ip link add ${link} type veth peer name eth0 netns ${space}
    ${facts.bridge ? `ip link set ${link} master ${facts.link}` : ''}
    ${addresses}
    ip link set ${link} up
    ip route add ${facts[4]}/32 dev ${facts.link} src ${own[4]}
    ${forIpv6(ipv6, `ip -6 route add ${facts[6]}/128 dev ${facts.link}`)}`;
}

function hostScript(facts: HostFacts, name: string, ipv6: boolean): string {
  const gateway = name === 'outside' ? nodeAddresses[4] : gateways[4];
  return `ip addr add ${facts[4]}/32 dev eth0
    ip link set eth0 up
    ip route add ${gateway}/32 dev eth0
    ip route add default via ${gateway}
    echo '0 2147483647' > /proc/sys/net/ipv4/ping_group_range
    ${forIpv6(
      ipv6,
      `ip -6 addr add ${facts[6]}/128 dev eth0 nodad
       ip -6 route add default via fe80::1 dev eth0`,
    )}`;
}

/** As on a real node, what is no one's leads to another machine. That one drops it. */
function defaultRouteScript(ipv6: boolean): string {
  return `ip route add default via ${hosts.outside[4]} dev up0 onlink src ${nodeAddresses[4]}
    ${forIpv6(ipv6, `ip -6 route add default via ${hosts.outside[6]} dev up0 onlink`)}`;
}
