import type { Pod } from '../../api/index.ts';
import { PodError } from '../errors.ts';

/** The names of a pod: its host name, and the domain it is in when it has a subdomain. */
export interface PodHostname {
  hostname: string;
  domain: string;
  /** What the kernel is told: the host name, or with setHostnameAsFQDN the whole. */
  kernelName: string;
}

/** Longest host name that the kernel takes. */
const kernelLimit = 64;

/** Names a pod by its spec. @throws PodError CreatePodSandboxConfigError when the kernel could not hold the name */
export function podHostname(pod: Pod, clusterDomain: string): PodHostname {
  const { hostname: wanted, hostnameOverride, subdomain, setHostnameAsFQDN } = pod.spec!;
  if (hostnameOverride) return { hostname: hostnameOverride, domain: '', kernelName: hostnameOverride };
  const hostname = wanted || pod.metadata.name!.slice(0, 63).replace(/[-.]+$/, '');
  const domain = subdomain ? `${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}` : '';
  if (!setHostnameAsFQDN || !domain) return { hostname, domain, kernelName: hostname };
  const full = `${hostname}.${domain}`;
  if (full.length > kernelLimit) {
    throw new PodError(
      'CreatePodSandboxConfigError',
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${full} is too long (${kernelLimit} characters is the max, ${full.length} characters requested)`,
    );
  }
  return { hostname, domain, kernelName: full };
}

/** The content of a pod's /etc/hosts. `hostFile` is the node's, for pods in the host's network. */
export function hostsFile(pod: Pod, names: PodHostname, podIps: string[], hostFile: string): string {
  const aliases = (pod.spec!.hostAliases ?? [])
    .filter(({ hostnames }) => hostnames?.length)
    .map(({ ip, hostnames }) => `${ip}\t${hostnames!.join('\t')}\n`)
    .join('');
  const added = aliases ? `\n# Entries added by HostAliases.\n${aliases}` : '';
  if (pod.spec!.hostNetwork) return `# Kubernetes-managed hosts file (host network).\n${hostFile}${added}`;
  const own = names.domain ? `${names.hostname}.${names.domain}\t${names.hostname}` : names.hostname;
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...podIps.map((ip) => `${ip}\t${own}`),
    added,
  ].join('\n');
}
