import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerEventType, NamespaceMode, type PodSandboxConfig } from '../../api/cri/index.ts';
import { faultPoint, UndoStack } from '../../async/index.ts';
import { createSandboxNamespaces } from '../../host/namespaces/index.ts';
import { changeLink, NetlinkSocket } from '../../host/netlink/index.ts';
import { stage } from '../calls/index.ts';
import { cgroupLimits } from '../containers/spec/resources.ts';
import { ociRuntimeOf, type RuntimeContext } from '../context.ts';
import { invalid, nameTaken, notFound, stepFailed } from '../errors.ts';
import { newId, toNanoseconds } from '../identifiers.ts';
import type { SandboxRecord } from '../store/sandbox-record.ts';
import { networkRequest } from './network-request.ts';
import { startPidHolder } from './pid-holder.ts';
import { publishSandbox } from './publish.ts';
import { releaseSandbox } from './release-sandbox.ts';
import { writeSandboxFiles } from './sandbox-files.ts';

/** Makes a sandbox: namespaces, files, cgroup, network. What fails half-way is undone. Gives its id. */
export async function runSandbox(context: RuntimeContext, config: PodSandboxConfig, handler: string): Promise<string> {
  checkConfig(context, config, handler);
  const name = sandboxName(config);
  const asked = { config, handler };
  return context.flights.sandboxes.join(name, asked, async () => {
    const unclaimed = context.flights.sandboxes.claim(name, asked);
    if (unclaimed && context.store.sandboxes.find(unclaimed)) return unclaimed;
    const taken = context.store.sandboxes.list().find((other) => sandboxName(other.config) === name);
    if (taken) throw nameTaken('sandbox', name, taken.id);
    return createSandbox(context, config, handler);
  });
}

const sandboxName = ({ metadata }: PodSandboxConfig): string =>
  [metadata?.name, metadata?.namespace, metadata?.uid, metadata?.attempt].join('_');

async function createSandbox(context: RuntimeContext, config: PodSandboxConfig, handler: string): Promise<string> {
  const record: SandboxRecord = {
    version: 1,
    id: newId(),
    phase: 'creating',
    config,
    runtimeHandler: handler,
    createdAtNs: toNanoseconds(context.clock.now()),
    cgroupParent: '',
    namespaces: {},
  };
  await using undo = new UndoStack();
  undo.add('record', () => context.store.sandboxes.delete(record.id));
  await stage('write the record', () => context.store.sandboxes.put(record));
  await faultPoint('run-sandbox:recorded');
  undo.add('namespaces, files, network', () => releaseSandbox(context, record));
  const directory = context.paths.sandbox(record.id);
  makeNamespaces(directory, record);
  await faultPoint('run-sandbox:namespaces');
  const network = attachNetwork(context, record);
  // It may fail while nobody waits for it yet.
  network.catch(() => {});
  try {
    await stage('write the sandbox files', () => writeSandboxFiles(directory, record));
    await faultPoint('run-sandbox:files');
    makeCgroup(context, record);
    await faultPoint('run-sandbox:cgroup');
    holdPidNamespace(context, directory, record);
    await faultPoint('run-sandbox:holder');
  } finally {
    await network.catch(() => {});
  }
  await network;
  await faultPoint('run-sandbox:network');
  record.phase = 'ready';
  await stage('write the record', () => context.store.sandboxes.put(record));
  undo.keep();
  await faultPoint('run-sandbox:ready');
  for (const type of [ContainerEventType.CONTAINER_CREATED_EVENT, ContainerEventType.CONTAINER_STARTED_EVENT])
    publishSandbox(context, record, type);
  return record.id;
}

function checkConfig(context: RuntimeContext, config: PodSandboxConfig, handler: string): void {
  if (!config.metadata?.name || !config.metadata.uid || !config.metadata.namespace)
    throw invalid('sandbox metadata needs a name, a namespace and a uid');
  if (handler && !ociRuntimeOf(context, handler)) throw notFound('runtime handler', handler);
  const options = config.linux?.securityContext?.namespaceOptions;
  const { userns_options: _, usernsOptions: userns } = { userns_options: undefined, ...options };
  if (userns && userns.mode !== NamespaceMode.NODE) throw invalid('user namespaces are not supported');
  if (options?.pid === NamespaceMode.TARGET) throw invalid('PID mode TARGET is for containers, not for a sandbox');
  if (config.hostname.length > 64) throw invalid(`hostname "${config.hostname}" is longer than 64 characters`);
}

function makeNamespaces(directory: string, record: SandboxRecord): void {
  const { config } = record;
  const options = config.linux?.securityContext?.namespaceOptions;
  const ownNetwork = options?.network !== NamespaceMode.NODE;
  try {
    record.namespaces = createSandboxNamespaces({
      directory,
      network: ownNetwork,
      ipc: options?.ipc !== NamespaceMode.NODE,
      // A pod in the host's network has the host's name too.
      uts: ownNetwork,
      hostname: config.hostname,
      sysctls: sandboxSysctls(record),
    });
    if (record.namespaces.network) {
      using socket = new NetlinkSocket({ protocol: 'route', namespace: record.namespaces.network });
      const loopback = 1;
      changeLink(socket, loopback, { up: true });
    }
  } catch (cause) {
    throw stepFailed('cannot make the namespaces of the sandbox', cause);
  }
}

/** Those asked for, over what lets unprivileged containers listen on low ports and ping, as other runtimes do. */
function sandboxSysctls({ config }: SandboxRecord): Record<string, string> {
  const options = config.linux?.securityContext?.namespaceOptions;
  const asked = Object.fromEntries(
    Object.entries(config.linux?.sysctls ?? {}).map(([name, value]) => [name.replaceAll('/', '.'), value]),
  );
  for (const name of Object.keys(asked)) {
    const isNetwork = name.startsWith('net.');
    const isIpc = /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(name);
    if (!isNetwork && !isIpc) throw invalid(`sysctl ${name} is not namespaced`);
    if (isNetwork && options?.network === NamespaceMode.NODE)
      throw invalid(`sysctl ${name} needs a network of its own`);
    if (isIpc && options?.ipc === NamespaceMode.NODE) throw invalid(`sysctl ${name} needs an IPC namespace of its own`);
  }
  if (options?.network === NamespaceMode.NODE) return asked;
  return { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647', ...asked };
}

async function attachNetwork(context: RuntimeContext, record: SandboxRecord): Promise<void> {
  if (!record.namespaces.network) return;
  try {
    record.network = await stage('set up the network', () => context.network.attach(networkRequest(record)));
  } catch (cause) {
    throw stepFailed(`failed to set up network for sandbox "${record.id}"`, cause);
  }
}

/** The cgroup below which the sandbox's containers go, with the limits of the whole pod if they came along. */
function makeCgroup(context: RuntimeContext, record: SandboxRecord): void {
  const { linux } = record.config;
  const own = linux?.cgroupParent ? undefined : join(context.settings.cgroupParent, record.id);
  record.cgroupParent = own ?? linux!.cgroupParent;
  try {
    context.cgroups.create(record.cgroupParent);
    if (own && linux?.resources) context.cgroups.apply(own, cgroupLimits(linux.resources));
  } catch (cause) {
    throw stepFailed(`cannot make cgroup ${record.cgroupParent}`, cause);
  }
}

function holdPidNamespace(context: RuntimeContext, directory: string, record: SandboxRecord): void {
  const mode = record.config.linux?.securityContext?.namespaceOptions?.pid ?? NamespaceMode.POD;
  if (mode !== NamespaceMode.POD) return;
  record.namespaces.pid = join(directory, 'pid');
  record.holder = startPidHolder(record.namespaces.pid);
  const cgroup = join(record.cgroupParent, `holder-${record.id.slice(0, 12)}`);
  context.cgroups.create(cgroup);
  context.cgroups.add(cgroup, record.holder.pid);
  writeFileSync(`/proc/${record.holder.pid}/oom_score_adj`, String(Math.max(0, context.kernel.ownOomScoreAdj)));
}
