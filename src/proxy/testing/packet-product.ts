import type { PacketCase, Target } from './packet-case.ts';
import type { From, SettingsName } from './packet-network.ts';
import { type EndpointCase, everyProtocol, type ServiceCase } from './service-cases.ts';
import { promisedOutcome } from './specification.ts';

/** How a sentence calls who sends. */
export const callers: Record<From, string> = {
  client: 'a pod',
  p1: 'an endpoint here',
  p2: 'the other endpoint here',
  bridged: 'a pod on the bridge',
  remote: "another node's pod",
  r1: 'an endpoint of another node',
  outside: 'somebody outside',
  node: 'the node',
  loopback: 'the node, over its loopback,',
};

const policies: [string, Record<string, string>][] = [
  ['', {}],
  ['internal policy Local', { internalTrafficPolicy: 'Local' }],
  ['external policy Local', { externalTrafficPolicy: 'Local' }],
  ['both policies Local', { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' }],
];

const at = (name: EndpointCase['at'], state: EndpointCase['state'] = 'ready'): EndpointCase => ({ at: name, state });

const states: [string, EndpointCase[]][] = [
  ['endpoints here and elsewhere', [at('p1'), at('p2'), at('r1')]],
  ['one endpoint, here', [at('p1')]],
  ['endpoints elsewhere only', [at('r1')]],
  ['no endpoints', []],
  ['one of two is not ready yet', [at('p1', 'starting'), at('p2')]],
  ['conditions that say nothing', [at('p1', 'unsaid'), at('r1', 'unsaid')]],
  ['all terminating', [at('p1', 'terminating'), at('r1', 'terminating')]],
  ['one of two terminating', [at('p1', 'terminating'), at('p2')]],
  ['terminating here, ready elsewhere', [at('p1', 'terminating'), at('r1')]],
  ['terminating and no longer serving', [at('p1', 'finished')]],
  ['ready here, terminating elsewhere', [at('p1'), at('r1', 'terminating')]],
];

/** Services of every policy with every state of endpoints. */
export const productServices: readonly ServiceCase[] = policies.flatMap(([policy, spec], first) =>
  states.map(([state, endpoints], second) => ({
    name: [policy, state].filter(Boolean).join(', '),
    number: 1 + first * states.length + second,
    endpoints,
    ports: everyProtocol,
    spec,
  })),
);

const targets: [string, Target][] = [
  ['the cluster IP', { address: 'cluster-ip', port: 'service' }],
  ['the external IP', { address: 'external-ip', port: 'service' }],
  ["the load balancer's address", { address: 'load-balancer', port: 'service' }],
  ['the node port', { address: 'node', port: 'node-port' }],
];

const sources: From[] = ['client', 'p1', 'remote', 'node', 'outside'];

/** Every source with every address of every Service, in both families, over every protocol. */
export function productCases(): PacketCase[] {
  const cases: PacketCase[] = [];
  for (const service of productServices)
    for (const from of sources)
      for (const [place, to] of targets)
        for (const family of [4, 6] as const)
          for (const protocol of ['TCP', 'UDP', 'SCTP'] as const)
            cases.push(promised('standard', service, from, place, to, family, protocol));
  return cases;
}

function promised(
  settings: SettingsName,
  service: ServiceCase,
  from: From,
  place: string,
  to: Target,
  family: 4 | 6,
  protocol: PacketCase['protocol'],
): PacketCase {
  const name = `${callers[from]} calls ${place} over ${protocol}, IPv${family}: ${service.name}`;
  const question = { settings, service, family, from, to, protocol };
  return { name, ...question, outcome: promisedOutcome(question) };
}

const nodePortPlaces: [string, Target][] = [
  ["a node port on the node's second address", { address: 'other-node-address', port: 'node-port' }],
  ["a node port on the pods' gateway", { address: 'gateway', port: 'node-port' }],
];
const onLoopback: [string, Target] = ['a node port on the loopback', { address: 'loopback', port: 'node-port' }];

/** Other settings of the proxy change what masquerading and node ports do. */
export function settingsCases(): PacketCase[] {
  const cases: PacketCase[] = [];
  const plainServices = productServices.filter((_, index) => index % states.length === 0);
  const names: SettingsName[] = ['standard', 'pods by link name', 'pods by bridge', 'pods unknown', 'masquerade all'];
  for (const settings of names)
    for (const service of plainServices)
      for (const family of [4, 6] as const) {
        const add = (from: From, [place, to]: [string, Target]) => {
          const one = promised(settings, service, from, place, to, family, 'TCP');
          cases.push({ ...one, name: settings === 'standard' ? one.name : `${settings}: ${one.name}` });
        };
        if (settings !== 'standard')
          for (const from of ['client', 'bridged', 'remote', 'node', 'outside'] as const)
            for (const target of targets) add(from, target);
        for (const from of ['client', 'node', 'outside'] as const)
          for (const target of nodePortPlaces) add(from, target);
        add('loopback', onLoopback);
      }
  return cases;
}
