import type { MessageInitShape } from '@bufbuild/protobuf';
import { type PodSandboxConfigSchema, Protocol } from '../../api/cri/index.ts';
import type { Pod } from '../../api/index.ts';
import { normalizedSysctl } from '../admission/sysctls.ts';
import { sandboxResources } from './container-resources.ts';
import { podResolver, readResolver } from './dns.ts';
import { podHostname } from './hostname.ts';
import type { PodKit } from './kit.ts';
import { podLabels } from './names.ts';
import type { PreparedPod } from './pod-record.ts';
import { everyContainer, sandboxSecurityContext } from './security-context.ts';

const protocols: Record<string, Protocol> = { TCP: Protocol.TCP, UDP: Protocol.UDP, SCTP: Protocol.SCTP };

/** What the runtime is told about a pod's sandbox. @throws PodError CreatePodSandboxConfigError */
export async function makeSandboxConfig(
  kit: PodKit,
  pod: Pod,
  attempt: number,
  prepared: Pick<PreparedPod, 'cgroupParent' | 'logDirectory'>,
  runtimeHandler: string,
): Promise<MessageInitShape<typeof PodSandboxConfigSchema>> {
  const { configuration } = kit.settings;
  const { name, namespace, uid, labels = {}, annotations = {} } = pod.metadata;
  const host = await readResolver(configuration.resolvConf);
  const cluster = { servers: configuration.clusterDNS, domain: configuration.clusterDomain };
  const { resolver, warnings } = podResolver(pod, host, cluster);
  for (const { reason, message } of warnings) kit.events.warning(pod, reason, message);
  const hostNetwork = pod.spec!.hostNetwork ?? false;
  const users = await kit.users.of(pod, runtimeHandler);
  return {
    metadata: { name: name!, namespace: namespace!, uid: uid!, attempt },
    hostname: hostNetwork ? '' : podHostname(pod, configuration.clusterDomain).kernelName,
    logDirectory: prepared.logDirectory,
    dnsConfig: resolver,
    portMappings: hostNetwork ? [] : portMappings(pod),
    labels: { ...labels, ...podLabels(pod) },
    annotations,
    linux: {
      cgroupParent: prepared.cgroupParent,
      sysctls: Object.fromEntries(
        (pod.spec!.securityContext?.sysctls ?? []).map((one) => [normalizedSysctl(one.name), one.value]),
      ),
      securityContext: sandboxSecurityContext(pod, users),
      ...sandboxResources(pod, (one) => kit.cgroups.limits(one)),
    },
  };
}

/** The part of the settings that resources need. */
export function resourceDefaults(kit: PodKit) {
  return {
    ...kit.memory,
    cpuQuota: kit.settings.configuration.cpuCFSQuota,
    cpuQuotaPeriodUs: kit.settings.cpuQuotaPeriodUs,
  };
}

/** The part of the settings that security contexts need. */
export function securityDefaults(kit: PodKit) {
  return {
    seccompDefault: kit.settings.configuration.seccompDefault,
    seccompDirectory: `${kit.settings.rootDirectory}/seccomp`,
  };
}

function portMappings(pod: Pod) {
  return everyContainer(pod).flatMap(({ ports = [] }) =>
    ports.map(({ containerPort, hostPort = 0, hostIP = '', protocol = 'TCP' }) => ({
      containerPort,
      hostPort,
      hostIp: hostIP,
      protocol: protocols[protocol] ?? Protocol.TCP,
    })),
  );
}
