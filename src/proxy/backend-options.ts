import type { BackendOptions, PodDetector } from './backends/backend.ts';
import type { ProxySettings } from './configuration.ts';
import type { IpFamily } from './model/types.ts';
import type { NodeFacts } from './node-facts.ts';

/** What a backend is told, from the settings and from what is known of the node. */
export function backendOptions(settings: ProxySettings, node: NodeFacts, family: IpFamily): BackendOptions {
  const { masqueradeAll, masqueradeBit, localhostNodePorts, detectLocal, nodePortAddresses, ipvs } = settings;
  const pods: PodDetector = detectLocal.kind === 'node-cidr' ? { kind: 'cidr', cidrs: node.podCidrs } : detectLocal;
  const own = node.addresses.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  const addresses = nodePortAddresses.flatMap((one) => (one === 'primary' ? own : [one]));
  return { family, pods, masqueradeAll, masqueradeBit, localhostNodePorts, nodePortAddresses: addresses, ipvs };
}
