import type { AdmissionPlugin, AdmissionRequest } from '../apiserver/extension-points.ts';
import { refuse } from './refuse.ts';

type Level = 'privileged' | 'baseline' | 'restricted';

const levelLabel = 'pod-security.kubernetes.io/enforce';
const versionLabel = 'pod-security.kubernetes.io/enforce-version';

const baselineCapabilities = new Set([
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
]);

const safeSysctls = new Set([
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_wmem',
]);

const restrictedVolumes = new Set([
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'image',
  'persistentVolumeClaim',
  'projected',
  'secret',
]);

/** Holds the pods of a namespace to the level that its label names (Pod Security Standards). */
export const podSecurity: AdmissionPlugin = {
  name: 'PodSecurity',
  validate: (request) => {
    const { resource, operation, subresource, object } = request;
    if (resource.group !== '' || resource.plural !== 'pods' || operation === 'DELETE') return;
    if (subresource !== '' && subresource !== 'ephemeralcontainers') return;
    const labels = (request.registry.get('namespaces', '', request.namespace)?.metadata.labels ?? {}) as Record<
      string,
      string
    >;
    const level = labels[levelLabel] as Level | undefined;
    if ((level !== 'baseline' && level !== 'restricted') || !object?.spec) return;
    const found = problems(object, level);
    if (found.length === 0) return;
    const version = labels[versionLabel] ?? 'latest';
    throw refuse(request, `violates PodSecurity "${level}:${version}": ${found.join(', ')}`);
  },
};

const containersOf = (spec: any): any[] => [
  ...(spec.initContainers ?? []),
  ...(spec.containers ?? []),
  ...(spec.ephemeralContainers ?? []),
];

const named = (containers: any[]): string => {
  const list = containers.map(({ name }) => `"${name}"`).join(', ');
  return containers.length === 1 ? `container ${list}` : `containers ${list}`;
};

function problems(pod: AdmissionRequest['object'], level: Level): string[] {
  const found = baselineProblems(pod);
  return level === 'restricted' ? [...found, ...restrictedProblems(pod.spec)] : found;
}

function baselineProblems({ spec }: any): string[] {
  const found: string[] = [];
  const all = containersOf(spec);
  const say = (title: string, wrong: any[], text: string) => {
    if (wrong.length > 0) found.push(`${title} (${named(wrong)} ${text})`);
  };
  const host = ['hostNetwork', 'hostPID', 'hostIPC'].filter((key) => spec[key]);
  if (host.length > 0) found.push(`host namespaces (${host.map((key) => `${key}=true`).join(', ')})`);
  say(
    'privileged',
    all.filter((one) => one.securityContext?.privileged),
    'must not set securityContext.privileged=true',
  );
  const extra = all.filter((one) =>
    one.securityContext?.capabilities?.add?.some(
      (name: string) => !baselineCapabilities.has(name.replace(/^CAP_/, '')),
    ),
  );
  say('non-default capabilities', extra, 'must not include non-default values in securityContext.capabilities.add');
  const paths = (spec.volumes ?? []).filter((volume: any) => volume.hostPath).map(({ name }: any) => `"${name}"`);
  if (paths.length > 0) found.push(`hostPath volumes (volume${paths.length > 1 ? 's' : ''} ${paths.join(', ')})`);
  const ports = all.filter((one) => one.ports?.some((port: any) => port.hostPort));
  say('hostPort', ports, 'use hostPort');
  say(
    'procMount',
    all.filter((one) => one.securityContext?.procMount === 'Unmasked'),
    'must not set securityContext.procMount to "Unmasked"',
  );
  const unconfined = all.filter((one) => one.securityContext?.seccompProfile?.type === 'Unconfined');
  if (spec.securityContext?.seccompProfile?.type === 'Unconfined')
    found.push('seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")');
  say('seccompProfile', unconfined, 'must not set securityContext.seccompProfile.type to "Unconfined"');
  const sysctls = (spec.securityContext?.sysctls ?? [])
    .map(({ name }: any) => name)
    .filter((name: string) => !safeSysctls.has(name));
  if (sysctls.length > 0) found.push(`forbidden sysctls (${sysctls.join(', ')})`);
  return found;
}

function restrictedProblems(spec: any): string[] {
  const found: string[] = [];
  const all = containersOf(spec);
  const say = (title: string, wrong: any[], text: string) => {
    if (wrong.length > 0) found.push(`${title} (${named(wrong)} ${text})`);
  };
  const escalating = all.filter((one) => one.securityContext?.allowPrivilegeEscalation !== false);
  say('allowPrivilegeEscalation != false', escalating, 'must set securityContext.allowPrivilegeEscalation=false');
  const capable = all.filter((one) => {
    const { drop = [], add = [] } = one.securityContext?.capabilities ?? {};
    return !drop.includes('ALL') || add.some((name: string) => name !== 'NET_BIND_SERVICE');
  });
  say('unrestricted capabilities', capable, 'must set securityContext.capabilities.drop=["ALL"]');
  const podNonRoot = spec.securityContext?.runAsNonRoot === true;
  const rootly = all.filter((one) => (one.securityContext?.runAsNonRoot ?? podNonRoot) !== true);
  if (rootly.length > 0)
    found.push(`runAsNonRoot != true (pod or ${named(rootly)} must set securityContext.runAsNonRoot=true)`);
  if (spec.securityContext?.runAsUser === 0) found.push('runAsUser=0 (pod must not set runAsUser=0)');
  say(
    'runAsUser=0',
    all.filter((one) => one.securityContext?.runAsUser === 0),
    'must not set runAsUser=0',
  );
  const profiles = ['RuntimeDefault', 'Localhost'];
  const podProfile = spec.securityContext?.seccompProfile?.type;
  const open = all.filter((one) => !profiles.includes(one.securityContext?.seccompProfile?.type ?? podProfile));
  if (open.length > 0) {
    found.push(
      `seccompProfile (pod or ${named(open)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")`,
    );
  }
  const volumes = (spec.volumes ?? []).filter((volume: any) =>
    Object.keys(volume).some((key) => key !== 'name' && volume[key] != null && !restrictedVolumes.has(key)),
  );
  if (volumes.length > 0)
    found.push(`restricted volume types (volumes ${volumes.map(({ name }: any) => `"${name}"`).join(', ')})`);
  return found;
}
