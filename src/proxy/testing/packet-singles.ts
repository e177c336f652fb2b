import type { Outcome, PacketCase, Target } from './packet-case.ts';
import { type EndpointName, type From, otherEndpointPort } from './packet-network.ts';
import { type EndpointCase, everyProtocol, ownAddresses, type ServiceCase } from './service-cases.ts';

const everyone: readonly EndpointCase[] = [
  { at: 'p1', state: 'ready' },
  { at: 'p2', state: 'ready' },
  { at: 'r1', state: 'ready' },
];
let last = 99;
function service(name: string, more: Partial<ServiceCase> = {}): ServiceCase {
  return { name, number: ++last, endpoints: everyone, ports: everyProtocol, spec: {}, ...more };
}

const clusterIp: Target = { address: 'cluster-ip', port: 'service' };
const externalIp: Target = { address: 'external-ip', port: 'service' };
const balancer: Target = { address: 'load-balancer', port: 'service' };
const nodePort: Target = { address: 'node', port: 'node-port' };
const all: readonly EndpointName[] = ['p1', 'p2', 'r1'];
const plainly = (...to: EndpointName[]): Outcome => ({ to, masquerade: false });
const masqueraded = (...to: EndpointName[]): Outcome => ({ to, masquerade: true });

/** Both families, TCP, standard settings. */
function both(
  name: string,
  one: ServiceCase,
  from: From,
  to: Target,
  outcome: Outcome,
  protocol: PacketCase['protocol'] = 'TCP',
): PacketCase[] {
  return ([4, 6] as const).map((family) => only(family, name, one, from, to, outcome, protocol));
}
function only(
  family: 4 | 6,
  name: string,
  one: ServiceCase,
  from: From,
  to: Target,
  outcome: Outcome,
  protocol: PacketCase['protocol'] = 'TCP',
): PacketCase {
  const sentence = `${name} (${protocol === 'TCP' ? '' : `${protocol}, `}IPv${family})`;
  return { name: sentence, settings: 'standard', service: one, family, from, to, protocol, outcome };
}

const plain = service('plain');
const ranged = (name: string, loadBalancerSourceRanges: string[], more: Partial<ServiceCase> = {}) =>
  service(name, { ...more, spec: { loadBalancerSourceRanges, ...more.spec } });

function typeCases(): PacketCase[] {
  const inside = service('type ClusterIP', { spec: { type: 'ClusterIP', externalIPs: undefined } });
  const open = service('type NodePort', { spec: { type: 'NodePort', externalIPs: undefined } });
  const proxied = service('ipMode Proxy', {
    ingress: [
      { ip: '198.19.1.200', ipMode: 'Proxy' },
      { ip: '2001:db8:b::200', ipMode: 'Proxy' },
    ],
  });
  const named = service('a host name of the load balancer', { ingress: [{ hostname: 'lb.example.com' }] });
  const other = service('another proxy', { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } });
  const own = service("the node's own address as external IP", { spec: { externalIPs: ownAddresses } });
  const program: Outcome = { to: ['node'], masquerade: false };
  return [
    ...both('a Service of type ClusterIP has its cluster IP', inside, 'client', clusterIp, plainly(...all)),
    ...both('a Service of type ClusterIP has no load balancer', inside, 'client', balancer, 'no-answer'),
    ...both('a Service of type NodePort has its cluster IP', open, 'client', clusterIp, plainly(...all)),
    ...both('a Service of type NodePort has its node port', open, 'outside', nodePort, masqueraded(...all)),
    ...both('a Service of type NodePort has no load balancer', open, 'outside', balancer, 'no-answer'),
    ...both(
      'an address of a load balancer that is itself a proxy is not taken',
      proxied,
      'client',
      balancer,
      'no-answer',
    ),
    ...both('a Service whose load balancer has a host name works', named, 'client', clusterIp, plainly(...all)),
    ...both("another proxy's Service is left alone", other, 'client', clusterIp, 'no-answer'),
    ...both("another proxy's node port is left alone", other, 'outside', nodePort, 'no-answer'),
    ...both(
      "an external IP may be the node's own",
      own,
      'outside',
      { address: 'node', port: 'service' },
      masqueraded(...all),
    ),
    ...both(
      "an external IP that is the node's own leaves the node reachable",
      own,
      'outside',
      { address: 'node', port: 'program' },
      program,
    ),
    ...both(
      "an external IP that is the node's own, from the node",
      own,
      'node',
      { address: 'node', port: 'service' },
      masqueraded(...all),
    ),
  ];
}

function addressCases(): PacketCase[] {
  const lone = service('nobody to send to', { endpoints: [] });
  const unused: Target = { address: 'cluster-ip', port: 'unused' };
  return [
    ...both('a port of a cluster IP that no Service has is refused', plain, 'client', unused, 'reject'),
    ...both('a port of a cluster IP that no Service has is refused to the node', plain, 'node', unused, 'reject'),
    ...both('a UDP port of a cluster IP that no Service has is refused', plain, 'client', unused, 'reject', 'UDP'),
    ...both(
      'a cluster IP that no Service has leads nowhere',
      plain,
      'client',
      { address: 'unallocated', port: 'service' },
      'drop',
    ),
    ...both(
      'a cluster IP that no Service has leads nowhere, from the node',
      plain,
      'node',
      { address: 'unallocated', port: 'service' },
      'drop',
    ),
    ...both('a cluster IP answers no ping', plain, 'client', clusterIp, 'no-answer', 'ICMP'),
    ...both('a cluster IP answers the node no ping', plain, 'node', clusterIp, 'no-answer', 'ICMP'),
    ...both("a load balancer's address answers no ping", plain, 'outside', balancer, 'no-answer', 'ICMP'),
    ...both('a node port is on no cluster IP', plain, 'client', { address: 'cluster-ip', port: 'node-port' }, 'reject'),
    ...both(
      "a node port is on no load balancer's address",
      plain,
      'outside',
      { address: 'load-balancer', port: 'node-port' },
      'no-answer',
    ),
    ...both(
      'programs of the node are not reached by a cluster IP',
      plain,
      'client',
      { address: 'cluster-ip', port: 'program' },
      'reject',
    ),
    ...both(
      'programs of the node are not reached by the node by a cluster IP',
      plain,
      'node',
      { address: 'cluster-ip', port: 'program' },
      'reject',
    ),
    ...both(
      "programs of the node are not reached by a load balancer's address",
      plain,
      'outside',
      { address: 'load-balancer', port: 'program' },
      'no-answer',
    ),
    ...both(
      'programs of the node are not reached by an external IP',
      plain,
      'outside',
      { address: 'external-ip', port: 'program' },
      'no-answer',
    ),
    ...both(
      'programs of the node are not reached by a cluster IP without endpoints',
      lone,
      'client',
      { address: 'cluster-ip', port: 'program' },
      'reject',
    ),
    ...both(
      'programs of the node are reached by its own address',
      plain,
      'outside',
      { address: 'node', port: 'program' },
      { to: ['node'], masquerade: false },
    ),
  ];
}

function rangeCases(): PacketCase[] {
  const here = ranged('ranges with the source in them', [
    '192.168.50.2/32',
    '10.9.0.0/16',
    '2001:db8:50::2/128',
    'fd00:9::/32',
  ]);
  const elsewhere = ranged('ranges elsewhere', ['10.9.0.0/16', 'fd00:9::/32']);
  const blank = ranged('ranges with blanks', [' 192.168.50.0/24', '2001:db8:50::/64 ']);
  const open = ranged('a range over everything', ['10.9.0.0/16', '0.0.0.0/0', 'fd00:9::/32', '::/0']);
  const four = ranged('ranges of IPv4 only', ['192.168.50.0/24']);
  const six = ranged('ranges of IPv6 only', ['2001:db8:50::/64']);
  const zero = ranged('everything of IPv4 only', ['0.0.0.0/0']);
  const nested = ranged('ranges inside one another', [
    '192.168.0.0/16',
    '192.168.50.0/24',
    '2001:db8:50::/64',
    '2001:db8::/32',
  ]);
  const pods = ranged('ranges of pods', ['10.244.0.0/16', 'fd00:10:244::/48']);
  const local = ranged('ranges and external policy Local', ['192.168.50.0/24', '2001:db8:50::/64'], {
    spec: { externalTrafficPolicy: 'Local' },
  });
  const sticky = ranged('ranges and affinity', ['192.168.50.0/24', '2001:db8:50::/64'], {
    spec: { sessionAffinity: 'ClientIP' },
  });
  const nobody = ranged('ranges and no endpoints', ['192.168.50.0/24', '2001:db8:50::/64'], { endpoints: [] });
  return [
    ...both('a source in the ranges may use the load balancer', here, 'outside', balancer, masqueraded(...all)),
    ...both('a source in the ranges, over UDP', here, 'outside', balancer, masqueraded(...all), 'UDP'),
    ...both('a source in the ranges, over SCTP', here, 'outside', balancer, masqueraded(...all), 'SCTP'),
    ...both('the node is not in the ranges', here, 'node', balancer, 'drop'),
    ...both('a source outside the ranges is dropped', elsewhere, 'outside', balancer, 'drop'),
    ...both('a pod outside the ranges is dropped', elsewhere, 'client', balancer, 'drop'),
    ...both('a source outside the ranges is dropped over UDP', elsewhere, 'outside', balancer, 'drop', 'UDP'),
    ...both('ranges do not guard node ports', elsewhere, 'outside', nodePort, masqueraded(...all)),
    ...both('ranges do not guard external IPs', elsewhere, 'outside', externalIp, masqueraded(...all)),
    ...both('ranges do not guard the cluster IP', elsewhere, 'client', clusterIp, plainly(...all)),
    ...both('blanks around a range do not matter', blank, 'outside', balancer, masqueraded(...all)),
    ...both('a range over everything is no restriction', open, 'outside', balancer, masqueraded(...all)),
    only(4, 'ranges of IPv4 let their sources in', four, 'outside', balancer, masqueraded(...all)),
    only(6, 'ranges of IPv4 only let nobody in', four, 'outside', balancer, 'drop'),
    only(4, 'ranges of IPv6 only let nobody in', six, 'outside', balancer, 'drop'),
    only(6, 'ranges of IPv6 let their sources in', six, 'outside', balancer, masqueraded(...all)),
    only(4, 'everything of IPv4', zero, 'outside', balancer, masqueraded(...all)),
    only(6, 'everything of IPv4 is nobody of IPv6', zero, 'outside', balancer, 'drop'),
    ...both('ranges may lie inside one another', nested, 'outside', balancer, masqueraded(...all)),
    ...both('a node inside the ranges may use the load balancer', nested, 'node', balancer, masqueraded(...all)),
    ...both('a pod inside the ranges may', pods, 'client', balancer, masqueraded(...all)),
    ...both('a pod inside the ranges may reach itself', pods, 'p1', balancer, masqueraded(...all)),
    ...both('outside the ranges of pods', pods, 'outside', balancer, 'drop'),
    ...both('ranges under external policy Local', local, 'outside', balancer, plainly('p1', 'p2')),
    ...both('ranges under external policy Local, a pod outside them', local, 'client', balancer, 'drop'),
    ...both('ranges with affinity', sticky, 'outside', balancer, { to: all, masquerade: true, sticky: true }),
    ...both('ranges and affinity, a pod outside them', sticky, 'client', balancer, 'drop'),
    ...both('no endpoints: refused to who may come', nobody, 'outside', balancer, 'reject'),
  ];
}

function affinityCases(): PacketCase[] {
  const sticky = (...to: EndpointName[]): Outcome => ({ to, masquerade: false, sticky: true });
  const external: Outcome = { to: all, masquerade: true, sticky: true };
  const sometimes = service('affinity for a minute', {
    spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } },
  });
  const affine = service('affinity', { spec: { sessionAffinity: 'ClientIP' } });
  const local = service('affinity and external policy Local', {
    spec: { sessionAffinity: 'ClientIP', externalTrafficPolicy: 'Local' },
  });
  const inner = service('affinity and internal policy Local', {
    spec: { sessionAffinity: 'ClientIP', internalTrafficPolicy: 'Local' },
  });
  const [a, b] = ['10.9.0.0/16', 'fd00:9::/32'];
  const guarded = ranged('affinity behind ranges elsewhere', [a!, b!], { spec: { sessionAffinity: 'ClientIP' } });
  return [
    ...both('a client stays with its endpoint', affine, 'client', clusterIp, sticky(...all)),
    ...both('a client stays with its endpoint over UDP', affine, 'client', clusterIp, sticky(...all), 'UDP'),
    ...both('a client stays with its endpoint over SCTP', affine, 'client', clusterIp, sticky(...all), 'SCTP'),
    ...both('an endpoint stays with its endpoint', affine, 'p1', clusterIp, sticky(...all)),
    ...both('the node stays with its endpoint', affine, 'node', clusterIp, external),
    ...both('a client of a node port stays', affine, 'outside', nodePort, external),
    ...both('a client of a UDP node port stays', affine, 'outside', nodePort, external, 'UDP'),
    ...both('a client of an external IP stays', affine, 'outside', externalIp, external),
    ...both('a client of a load balancer stays', affine, 'outside', balancer, external),
    ...both('a client stays for the time that was asked for', sometimes, 'client', clusterIp, sticky(...all)),
    ...both('a client stays under external policy Local', local, 'outside', nodePort, sticky('p1', 'p2')),
    ...both('a pod stays under external policy Local', local, 'client', balancer, sticky(...all)),
    ...both('a client stays under internal policy Local', inner, 'client', clusterIp, sticky('p1', 'p2')),
    ...both('affinity lets nobody past the ranges', guarded, 'outside', balancer, 'drop'),
  ];
}

function hintCases(): PacketCase[] {
  const with3 = (
    name: string,
    p1: Partial<EndpointCase>,
    p2: Partial<EndpointCase>,
    r1: Partial<EndpointCase>,
    spec = {},
  ) =>
    service(name, {
      endpoints: [
        { at: 'p1', state: 'ready', ...p1 },
        { at: 'p2', state: 'ready', ...p2 },
        { at: 'r1', state: 'ready', ...r1 },
      ],
      spec,
    });
  const [a, b] = [{ zones: ['zone-a'] }, { zones: ['zone-b'] }];
  const zones = with3('zones', a, b, b);
  const several = with3('several zones', { zones: ['zone-a', 'zone-b'] }, b, { zones: ['zone-c', 'zone-a'] });
  const missing = with3('one without a hint', a, b, {});
  const strange = with3('hints for other zones', b, b, b);
  const nodes = with3('node hints', { nodes: ['node-b'] }, { nodes: ['node-a'] }, { nodes: ['node-b'] });
  const nodesFirst = with3(
    'node and zone hints',
    { ...a, nodes: ['node-b'] },
    { ...b, nodes: ['node-a'] },
    { ...a, nodes: ['node-b'] },
  );
  const otherNodes = with3(
    'node hints for others',
    { ...a, nodes: ['node-b'] },
    { ...b, nodes: ['node-b'] },
    { ...b, nodes: ['node-b'] },
  );
  const someNodes = with3('node hints on some', { ...a, nodes: ['node-a'] }, b, b);
  const terminating = with3('a hint on a terminating one', { ...a, state: 'terminating' }, b, b);
  const unhinted = with3('one without a hint that is not ready', a, b, { state: 'starting' });
  const local = with3('hints and external policy Local', b, b, a, { externalTrafficPolicy: 'Local' });
  const inner = with3('hints and internal policy Local', a, b, a, { internalTrafficPolicy: 'Local' });
  return [
    ...both('endpoints for the zone are preferred', zones, 'client', clusterIp, plainly('p1')),
    ...both('endpoints for the zone are preferred by node ports', zones, 'outside', nodePort, masqueraded('p1')),
    ...both('an endpoint may be for several zones', several, 'client', clusterIp, plainly('p1', 'r1')),
    ...both('hints count only when every endpoint has one', missing, 'client', clusterIp, plainly(...all)),
    ...both('hints that match nobody do not count', strange, 'client', clusterIp, plainly(...all)),
    ...both('endpoints for the node are preferred', nodes, 'client', clusterIp, plainly('p2')),
    ...both('node hints go before zone hints', nodesFirst, 'client', clusterIp, plainly('p2')),
    ...both('node hints for others leave it to the zones', otherNodes, 'client', clusterIp, plainly('p1')),
    ...both('node hints that are not everywhere leave it to the zones', someNodes, 'client', clusterIp, plainly('p1')),
    ...both('hints of endpoints that terminate do not count', terminating, 'client', clusterIp, plainly('p2', 'r1')),
    ...both('who is not ready needs no hint', unhinted, 'client', clusterIp, plainly('p1')),
    ...both('external policy Local knows no hints', local, 'outside', nodePort, plainly('p1', 'p2')),
    ...both('external policy Local knows hints for pods', local, 'client', nodePort, plainly('r1')),
    ...both('internal policy Local knows no hints', inner, 'client', clusterIp, plainly('p1', 'p2')),
  ];
}

function sliceCases(): PacketCase[] {
  const ports: ServiceCase['ports'] = [
    { name: 'http', protocol: 'TCP', port: 80 },
    { name: 'more', protocol: 'TCP', port: 443 },
    { name: 'dns', protocol: 'UDP', port: 443 },
  ];
  const many = service('several ports', { ports });
  const split = service('a port number of its own in every slice', {
    endpoints: [
      { at: 'p1', state: 'ready' },
      { at: 'p2', state: 'ready', port: otherEndpointPort },
      { at: 'r1', state: 'ready', port: otherEndpointPort },
    ],
  });
  const splitPorts = { p2: otherEndpointPort, r1: otherEndpointPort };
  const twice = service('an endpoint that two slices list', {
    endpoints: [
      { at: 'p1', state: 'terminating', slice: 0 },
      { at: 'p1', state: 'ready', slice: 1 },
      { at: 'r1', state: 'ready', slice: 1 },
    ],
  });
  const twiceTheOtherWay = service('an endpoint that two slices list, the other way round', {
    endpoints: [
      { at: 'p1', state: 'ready', slice: 0 },
      { at: 'p1', state: 'terminating', slice: 1 },
    ],
  });
  const nameless = service('one port without a name', { ports: [{ name: '', protocol: 'TCP', port: 80 }] });
  const unsaid = service('slice ports without a name', {
    ports: [{ name: '', protocol: 'TCP', port: 80 }],
    namelessSlicePorts: true,
  });
  const headless = service('slices of a headless Service', { sliceLabels: { 'service.kubernetes.io/headless': '' } });
  const early = service('publishNotReadyAddresses', {
    // The slice controller says ready for those, whatever the pod says.
    endpoints: [{ at: 'p1', state: 'unsaid' }],
    spec: { publishNotReadyAddresses: true },
  });
  const second = (port: Target): Target => ({ ...port, index: 1 });
  return [
    ...both('the first of several ports', many, 'client', clusterIp, plainly(...all)),
    ...both('the second of several ports', many, 'client', second(clusterIp), plainly(...all)),
    ...both('the second node port of several', many, 'outside', second(nodePort), masqueraded(...all)),
    ...both('one number with two protocols', many, 'client', clusterIp, plainly(...all), 'UDP'),
    ...both('a named target port has the number of its slice', split, 'client', clusterIp, {
      to: all,
      masquerade: false,
      ports: splitPorts,
    }),
    ...both(
      'a named target port over UDP',
      split,
      'client',
      clusterIp,
      { to: all, masquerade: false, ports: splitPorts },
      'UDP',
    ),
    ...both(
      'of an endpoint in two slices the one that does not terminate counts',
      twice,
      'client',
      clusterIp,
      plainly('p1', 'r1'),
    ),
    ...both('of an endpoint in two slices, whatever their order', twiceTheOtherWay, 'client', clusterIp, plainly('p1')),
    ...both('a port without a name', nameless, 'client', clusterIp, plainly(...all)),
    ...both('slice ports that say no name', unsaid, 'client', clusterIp, plainly(...all)),
    ...both('slices of a headless Service are not read', headless, 'client', clusterIp, 'reject'),
    ...both('endpoints that are published before they are ready', early, 'client', clusterIp, plainly('p1')),
  ];
}

function familyCases(): PacketCase[] {
  const four = service('IPv4 only', {
    spec: { ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack', clusterIPs: undefined },
  });
  return [
    only(4, 'a Service of one family answers in it', four, 'client', clusterIp, plainly(...all)),
    only(6, 'a Service of one family does not answer in the other', four, 'client', clusterIp, 'no-answer'),
    only(4, 'a Service of one family has its node port in it', four, 'outside', nodePort, masqueraded(...all)),
    only(6, 'a Service of one family has no node port in the other', four, 'outside', nodePort, 'no-answer'),
  ];
}

/** Cases that are said one by one. */
export const singleCases: readonly PacketCase[] = [
  ...typeCases(),
  ...addressCases(),
  ...rangeCases(),
  ...affinityCases(),
  ...hintCases(),
  ...sliceCases(),
  ...familyCases(),
];
