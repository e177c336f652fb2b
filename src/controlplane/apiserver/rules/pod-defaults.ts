/**
 * What the API fills in when a pod, or a template of pods, leaves it out.
 */
import { setPodLevelDefaults } from './pod-level-resources.ts';

/** Fills a PodSpec; `ofPod` for pods themselves, which get a little more than templates. */
export function setPodSpecDefaults(spec: any, ofPod = false): void {
  spec.restartPolicy ||= 'Always';
  spec.terminationGracePeriodSeconds ??= 30;
  spec.dnsPolicy ||= 'ClusterFirst';
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  else if (spec.serviceAccount) spec.serviceAccountName = spec.serviceAccount;
  spec.securityContext ??= {};
  spec.schedulerName ||= 'default-scheduler';
  for (const volume of spec.volumes ?? []) setVolumeDefaults(volume);
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers]) {
    for (const container of list ?? []) setContainerDefaults(container, ofPod);
  }
  if (ofPod) spec.enableServiceLinks ??= true;
  if (spec.hostNetwork) copyHostPorts(spec);
  if (ofPod) setPodLevelDefaults(spec);
}

/** Fills a PodTemplateSpec. */
export function setTemplateDefaults(template: any): void {
  if (!template) return;
  template.metadata ??= {};
  template.spec ??= {};
  setPodSpecDefaults(template.spec);
}

/** In the host's network a port is a port of the host. */
function copyHostPorts(spec: any): void {
  for (const container of [...(spec.initContainers ?? []), ...(spec.containers ?? [])]) {
    for (const port of container.ports ?? []) port.hostPort ||= port.containerPort;
  }
}

function setContainerDefaults(container: any, ofPod: boolean): void {
  container.imagePullPolicy ||= defaultPullPolicy(container.image ?? '');
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  container.resources ??= {};
  if (ofPod) requestsFromLimits(container.resources);
  for (const port of container.ports ?? []) port.protocol ||= 'TCP';
  for (const { valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef) valueFrom.fieldRef.apiVersion ||= 'v1';
    if (valueFrom?.resourceFieldRef) valueFrom.resourceFieldRef.divisor ??= '0';
  }
  for (const probe of [container.livenessProbe, container.readinessProbe, container.startupProbe]) {
    if (probe) setProbeDefaults(probe);
  }
  for (const hook of [container.lifecycle?.postStart, container.lifecycle?.preStop]) {
    if (hook?.httpGet) setHttpGetDefaults(hook.httpGet);
  }
}

/** What is limited but not requested is requested as much as it is limited. */
function requestsFromLimits(resources: any): void {
  if (!resources.limits) return;
  for (const name of Object.keys(resources.limits)) {
    if (resources.requests?.[name] !== undefined) continue;
    resources.requests ??= {};
    resources.requests[name] = resources.limits[name];
  }
}

/** The latest of a moving tag is always asked for; a named version is not. */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function setProbeDefaults(probe: any): void {
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
  if (probe.httpGet) setHttpGetDefaults(probe.httpGet);
  if (probe.grpc) probe.grpc.service ??= '';
}

function setHttpGetDefaults(action: any): void {
  action.path ||= '/';
  action.scheme ||= 'HTTP';
}

/** Whether a volume names where it comes from. */
const hasSource = (volume: any): boolean => Object.keys(volume).some((key) => key !== 'name' && volume[key] != null);

function setVolumeDefaults(volume: any): void {
  if (!hasSource(volume)) volume.emptyDir = {};
  for (const kind of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    if (volume[kind]) volume[kind].defaultMode ??= 0o644;
  }
  setDownwardDefaults(volume.downwardAPI);
  for (const source of volume.projected?.sources ?? []) {
    if (source.serviceAccountToken) source.serviceAccountToken.expirationSeconds ??= 3600;
    setDownwardDefaults(source.downwardAPI);
  }
  if (volume.hostPath) volume.hostPath.type ??= '';
  if (volume.image) volume.image.pullPolicy ||= defaultPullPolicy(volume.image.reference ?? '');
  if (volume.ephemeral?.volumeClaimTemplate?.spec) {
    volume.ephemeral.volumeClaimTemplate.spec.volumeMode ||= 'Filesystem';
  }
  if (volume.iscsi) volume.iscsi.iscsiInterface ||= 'default';
  if (volume.rbd) {
    volume.rbd.pool ||= 'rbd';
    volume.rbd.user ||= 'admin';
    volume.rbd.keyring ||= '/etc/ceph/keyring';
  }
}

function setDownwardDefaults(source: any): void {
  for (const item of source?.items ?? []) {
    if (item.fieldRef) item.fieldRef.apiVersion ||= 'v1';
    if (item.resourceFieldRef) item.resourceFieldRef.divisor ??= '0';
  }
}
